"""Dynamic batching: requests to one signature that wait at the same time run as one."""

import asyncio
import collections
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from grpc import StatusCode

from zoo.serving.server.errors import ServingError, invalid

# A run shorter than this many seconds ends sooner on the event loop's own thread than if it were handed over and back,
_QUICK = 0.002
# which holds others up, and so is for when there are none, for this many seconds now,
_ALONE = 0.1
# and only if it has ended after this many, however long runs of its size took before.
_BRIEF = 0.05

_LATE = 4  # TensorFlow's code of a deadline that has passed


@dataclass(eq=False)
class _Task:
    inputs: dict
    rows: int
    deadline: float
    arrived: float
    answer: asyncio.Future


class Batcher:
    """Runs requests in batches, on a few threads. Lives on one event loop.

    Args:
        parameters: `zoo.serving.formats.batching_config.BatchingParameters`.
        observe: Called with the rows of each batch and the seconds that its first request waited.

    Example:

        outputs = await Batcher(BatchingParameters()).run(model, "sample", {"seed": seeds}, None, 30)
    """

    def __init__(self, parameters, observe=lambda rows, waited: None):
        self._parameters, self._observe = parameters, observe
        self._queues = {}  # (model, signature, outputs, shapes) -> tasks in order of arrival
        self._running, self._alarm, self._awake = 0, None, False
        self._waiting, self._crowded = 0, 0.0  # requests without an answer; when there were last two at a time
        self._seconds = weakref.WeakKeyDictionary()  # model -> {signature: (seconds, bytes) of its last run}
        self._threads = ThreadPoolExecutor(parameters.num_batch_threads, thread_name_prefix="batch")

    async def run(self, model, signature, inputs, outputs, seconds):
        """Run one request, together with others if there are any.

        Args:
            model: `zoo.serving.SavedModel`.
            signature: Name of a signature of it.
            inputs: `{input name: array}`, as the signature asks for.
            outputs: Tuple of the outputs wanted; None means all.
            seconds: Time limit.

        Returns:
            `{output name: array}` of this request alone.

        Raises:
            ServingError: No rows, too many, or a full queue.
            TensorFlowError, ValueError: This request failed; one that fails in company is run again by itself.
            TimeoutError: It took too long.
        """
        now, rows, most = time.monotonic(), _count_rows(inputs), self._parameters.max_batch_size
        if rows > most:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {most}")
        shapes = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(inputs.items()))
        queue = self._queues.setdefault((model, signature, outputs, shapes), collections.deque())
        if sum(task.rows for task in queue) + rows > self._parameters.max_enqueued_batches * most:
            message = "The batch scheduling queue to which this task was submitted is full"
            raise ServingError(StatusCode.UNAVAILABLE, message)
        task = _Task(inputs, rows, now + seconds, now, asyncio.get_running_loop().create_future())
        queue.append(task)
        if not self._awake:  # requests that are here already are queued first
            self._awake = True
            asyncio.get_running_loop().call_soon(self._start_what_is_due)
        self._waiting += 1
        if self._waiting > 1:
            self._crowded = now
        try:
            async with asyncio.timeout(seconds):
                return await task.answer
        finally:
            self._waiting -= 1

    def close(self):
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_what_is_due(self):
        self._awake = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        patience, now = self._parameters.batch_timeout_micros / 1e6, time.monotonic()
        while self._running < self._parameters.num_batch_threads and self._queues:
            due = {key: 0.0 if self._is_full(queue) else queue[0].arrived for key, queue in self._queues.items()}
            key = min(due, key=due.get)
            if due[key] + patience > now:
                wait = due[key] + patience - now
                self._alarm = asyncio.get_running_loop().call_later(wait, self._start_what_is_due)
                return
            self._start(key, self._take(key))

    def _is_full(self, queue):
        return sum(task.rows for task in queue) >= self._parameters.max_batch_size

    def _take(self, key):
        """Take the tasks of the next batch off a queue; a queue never stands empty."""
        queue, tasks, rows = self._queues[key], [], 0
        while queue and rows + queue[0].rows <= self._parameters.max_batch_size:
            task = queue.popleft()
            if not task.answer.done():  # else its client has gone, or ran out of time
                tasks.append(task)
                rows += task.rows
        if not queue:
            del self._queues[key]
        return tasks

    def _start(self, key, tasks):
        if not tasks:
            return
        self._running += 1
        loop, size = asyncio.get_running_loop(), sum(_count_bytes(task.inputs) for task in tasks)
        self._observe(sum(task.rows for task in tasks), time.monotonic() - tasks[0].arrived)
        model, signature, *_ = key
        lately = self._seconds.setdefault(model, {})

        def work(limit=None):
            started = time.perf_counter()
            results = self._run_all(key, tasks, limit)
            lately[signature] = time.perf_counter() - started, size
            return results

        seconds, largest = lately.get(signature, (1.0, 0))
        if seconds < _QUICK and size <= largest and time.monotonic() - self._crowded > _ALONE:
            results = work(_BRIEF)
            if not any(isinstance(result, Exception) and getattr(result, "code", None) == _LATE for result in results):
                self._finish(tasks, results)
                return
        self._threads.submit(lambda: loop.call_soon_threadsafe(self._finish, tasks, work()))

    def _run_all(self, key, tasks, limit):
        """A result or error of each task: they run together and, if that fails, alone: a bad row fails by itself."""
        try:
            return self._run_batch(key, tasks, limit)
        except Exception as error:
            return [error] if len(tasks) == 1 else [self._run_again(key, task, error) for task in tasks]

    def _run_again(self, key, task, error):
        """Run a task of a batch that failed by itself, if its client still waits."""
        if task.answer.done() or task.deadline <= time.monotonic():
            return error
        try:
            return self._run_batch(key, [task], again=True)[0]
        except Exception as own:
            return own

    def _run_batch(self, key, tasks, limit=None, again=False):
        model, signature, outputs, _ = key
        rows = sum(task.rows for task in tasks)
        padding = next((size - rows for size in self._parameters.allowed_batch_sizes if size >= rows), 0)
        inputs = tasks[0].inputs if len(tasks) == 1 and not padding else _merge([t.inputs for t in tasks], padding)
        seconds = max(task.deadline for task in tasks) - time.monotonic()
        results = model.predict(signature, inputs, outputs, min(seconds, limit or seconds))
        if len(tasks) == 1 and not padding and not again:
            return [results]
        for name, array in results.items():
            if not array.ndim:
                raise ServingError(StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
            if len(array) != rows + padding:
                raise ServingError(
                    StatusCode.FAILED_PRECONDITION,
                    f"Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    f"input tensors: {name} has {len(array)} rows for {rows + padding}",
                )
        ends = np.cumsum([task.rows for task in tasks])
        return [
            {name: array[end - task.rows : end] for name, array in results.items()}
            for task, end in zip(tasks, ends, strict=True)
        ]

    def _finish(self, tasks, results):
        self._running -= 1
        for task, result in zip(tasks, results, strict=True):
            if task.answer.done():
                continue
            if isinstance(result, Exception):
                task.answer.set_exception(result)
            else:
                task.answer.set_result(result)
        self._start_what_is_due()


def _count_rows(inputs):
    if any(array.ndim == 0 for array in inputs.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    if len({len(array) for array in inputs.values()}) != 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return len(next(iter(inputs.values())))


def _count_bytes(inputs):
    """How much memory inputs take, their strings too."""
    strings = (array for array in inputs.values() if array.dtype == object)
    return sum(array.nbytes for array in inputs.values()) + sum(len(item) for array in strings for item in array.flat)


def _merge(requests, padding):
    """Put requests behind each other, and the first row of the last one `padding` times more."""
    merged = {}
    for name in requests[0]:
        arrays = [inputs[name] for inputs in requests]
        merged[name] = np.concatenate([*arrays, *[arrays[-1][:1]] * padding])
    return merged
