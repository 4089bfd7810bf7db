"""Dynamic batching, on a model that only records what it is given."""

import asyncio
import threading
import time

import numpy as np
import pytest

from zoo.serving.formats.batching_config import BatchingParameters, read_batching
from zoo.serving.loader.library import TensorFlowError
from zoo.serving.server.batching import Batcher
from zoo.serving.server.errors import ServingError


class Doubler:
    """Doubles `x`, once it is let go; remembers the rows of each run."""

    def __init__(self, held=False, answer=lambda x: {"y": 2 * x}):
        self.sizes, self.inputs, self._answer, self._go = [], [], answer, threading.Event()
        if not held:
            self._go.set()

    def let_go(self):
        self._go.set()

    def predict(self, signature, inputs, outputs, seconds):
        assert self._go.wait(10)
        self.sizes.append(len(inputs["x"]))
        self.inputs.append(inputs["x"].tolist())
        return self._answer(inputs["x"])


def run(parameters, model, requests, between=lambda: None, seconds=10):
    """Send requests at the same time; return what each got, exceptions included."""

    async def everything():
        batcher = Batcher(parameters)
        tasks = []
        for signature, x in requests:
            tasks.append(asyncio.create_task(batcher.run(model, signature, {"x": np.array(x)}, None, seconds)))
            await asyncio.sleep(0)  # it is in the queue now
        between()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return [result if isinstance(result, BaseException) else result["y"].tolist() for result in results]

    return asyncio.run(everything())


def one_thread(**options):
    return BatchingParameters(num_batch_threads=1, max_enqueued_batches=100, **options)


def test_what_waits_together_runs_together_and_each_gets_its_own():
    model = Doubler(held=True)
    requests = [("s", [n, n]) for n in range(5)]
    assert run(one_thread(), model, requests, model.let_go) == [[2 * n, 2 * n] for n in range(5)]
    assert model.sizes == [2, 8]  # the first ran at once, by itself


def test_a_batch_is_never_larger_than_allowed():
    model = Doubler(held=True)
    requests = [("s", [n] * 3) for n in range(6)]
    assert run(one_thread(max_batch_size=7), model, requests, model.let_go) == [[2 * n] * 3 for n in range(6)]
    assert model.sizes == [3, 6, 6, 3]
    with pytest.raises(ServingError, match="Task size 8 is larger than maximum input batch size 7"):
        (error,) = run(one_thread(max_batch_size=7), model, [("s", [0] * 8)])
        raise error


def test_signatures_shapes_and_dtypes_keep_apart():
    model = Doubler(held=True)
    requests = [("s", [1]), ("s", [1]), ("t", [1]), ("s", [[1]]), ("s", [1.0]), ("s", [2])]
    assert run(one_thread(), model, requests, model.let_go) == [[2], [2], [2], [[2]], [2.0], [4]]
    assert sorted(model.sizes) == [1, 1, 1, 1, 2]


def test_a_request_waits_for_company_as_long_as_it_should():
    model = Doubler()
    assert run(one_thread(batch_timeout_micros=100_000), model, [("s", [1]), ("s", [2])]) == [[2], [4]]
    assert model.sizes == [2]
    model = Doubler()  # a full batch waits for nobody
    run(one_thread(batch_timeout_micros=10**9, max_batch_size=2), model, [("s", [1]), ("s", [2])])
    assert model.sizes == [2]


def test_padding_to_an_allowed_size():
    model = Doubler(held=True)
    parameters = one_thread(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert run(parameters, model, [("s", [1]), ("s", [2, 3]), ("s", [4, 5, 6])], model.let_go) == [
        [2],
        [4, 6],
        [8, 10, 12],
    ]
    assert model.inputs == [[1, 1, 1, 1], [2, 3, 4, 5, 6, 4, 4, 4]]


def test_a_full_queue_refuses():
    model = Doubler(held=True)
    parameters = BatchingParameters(num_batch_threads=1, max_enqueued_batches=2, max_batch_size=2)
    results = run(parameters, model, [("s", [n]) for n in range(6)], model.let_go)
    assert results[:5] == [[0], [2], [4], [6], [8]]
    assert results[5].code.name == "UNAVAILABLE" and "queue to which this task was submitted is full" in str(results[5])


def fails_for(bad):
    """A model that refuses a batch with any of some rows, as TensorFlow does for one file that is no image."""

    def answer(x):
        if set(x.tolist()) & set(bad):
            raise ValueError(f"refused {sorted(set(x.tolist()) & set(bad))}")
        return {"y": 2 * x}

    return answer


@pytest.mark.parametrize("sizes", [(), (16,)])
def test_a_bad_row_fails_alone(sizes):
    """What a client gets is what it would get if it was alone, as without batching; with padding too."""
    model = Doubler(held=True, answer=fails_for([3, 6]))
    parameters = one_thread(max_batch_size=16, allowed_batch_sizes=sizes)
    results = run(parameters, model, [("s", [n]) for n in range(9)], model.let_go)
    for number, result in enumerate(results):
        assert str(result) == f"refused [{number}]" if number in (3, 6) else result == [2 * number]


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: {"y": 2 * x} if len(x) <= 2 else 1 / 0,  # memory that runs out
        lambda x: {"y": 2 * x[x != 3]},  # a row without an answer, which shifts those behind it
    ],
)
def test_an_error_of_the_whole_batch_is_no_error_of_its_requests(answer):
    model = Doubler(held=True, answer=answer)
    results = run(one_thread(), model, [("s", [n]) for n in (0, 1, 2, 3, 4)], model.let_go)
    assert [results[n] for n in (0, 1, 2, 4)] == [[0], [2], [4], [8]]
    assert results[3] == [6] or "0th dimension" in str(results[3])


def test_a_batch_that_failed_is_not_run_again_for_who_is_late():
    def answer(x):
        time.sleep(0.3)
        raise ValueError("no")

    model = Doubler(held=True, answer=answer)
    results = run(one_thread(), model, [("s", [n]) for n in range(4)], model.let_go, seconds=0.4)
    assert all(isinstance(result, ValueError | TimeoutError) for result in results)
    assert (
        model.sizes[:2] == [1, 3] and len(model.sizes) <= 2 + 1
    )  # of the batch, at most one is run before all are late


def test_outputs_without_a_row_per_input_are_an_error():
    for words, answer in {
        "has 0 dimensions": lambda x: {"y": x.sum()},
        "0th dimension": lambda x: {"y": x[:1]},
    }.items():
        model = Doubler(held=True, answer=answer)
        *_, error = run(one_thread(), model, [("s", [1, 1]), ("s", [2, 2]), ("s", [3, 3])], model.let_go)
        assert error.code.name == "FAILED_PRECONDITION" and words in str(error)


def test_what_was_quick_does_not_hold_others_up_when_it_is_slow():
    """A run that takes long is handed to a thread, though the last one was over at once; the event loop goes on."""
    pauses = []

    class Slow(Doubler):
        def predict(self, signature, inputs, outputs, seconds):
            steps = int(inputs["x"][0])
            if steps:
                time.sleep(min(seconds, 1.5))
                if seconds < 1.5:
                    raise TensorFlowError("failed", 4, "Timed out waiting for notification")
            return super().predict(signature, inputs, outputs, seconds)

    async def everything():
        batcher, model, loop = Batcher(one_thread()), Slow(), asyncio.get_running_loop()
        assert (await batcher.run(model, "s", {"x": np.array([0])}, None, 10))["y"].tolist() == [0]
        answer = asyncio.create_task(batcher.run(model, "s", {"x": np.array([1])}, None, 10))
        while not answer.done():
            last = loop.time()
            await asyncio.sleep(0.001)
            pauses.append(loop.time() - last)
        batcher.close()
        return (await answer)["y"].tolist()

    assert asyncio.run(everything()) == [2]
    assert max(pauses) < 1.2 and len(pauses) > 20


def test_who_gives_up_costs_nothing():
    model = Doubler(held=True)
    timer = threading.Timer(0.3, model.let_go)
    timer.start()
    results = run(one_thread(), model, [("s", [1]), ("s", [2]), ("s", [3])], seconds=0.1)
    assert all(isinstance(result, TimeoutError) for result in results)
    timer.join()
    assert model.sizes in ([], [1])  # the first had begun; the others were dropped


def test_batching_config(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: [4, 8] pad_variable_length_inputs: true")
    assert read_batching(path) == BatchingParameters(8, allowed_batch_sizes=(4, 8), pad_variable_length_inputs=True)
    for words, text in {
        "does not parse as BatchingParameters": "max_batch_size: 8",
        "num_batch_threads must be at least 1. Received: 0": "num_batch_threads { value: 0 }",
        "must go up and end in max_batch_size, 8": "max_batch_size { value: 8 } allowed_batch_sizes: 9",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_batching(path)
