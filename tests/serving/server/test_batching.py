"""Dynamic batching, on a model that only records what it is given."""

import asyncio
import threading

import numpy as np
import pytest

from zoo.serving.formats.batching_config import BatchingParameters, read_batching
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


def test_a_failed_batch_fails_all_its_requests_and_no_other():
    def fail(x):
        if 3 in x:
            raise ValueError("three")
        return {"y": 2 * x}

    model = Doubler(held=True, answer=fail)
    results = run(one_thread(max_batch_size=2), model, [("s", [n]) for n in range(5)], model.let_go)
    assert results[:3] == [[0], [2], [4]] and all(isinstance(result, ValueError) for result in results[3:])


def test_outputs_without_a_row_per_input_are_an_error():
    for words, answer in {
        "has 0 dimensions": lambda x: {"y": x.sum()},
        "0th dimension": lambda x: {"y": x[:1]},
    }.items():
        model = Doubler(held=True, answer=answer)
        *_, error = run(one_thread(), model, [("s", [1, 1]), ("s", [2]), ("s", [3])], model.let_go)
        assert error.code.name == "FAILED_PRECONDITION" and words in str(error)


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
