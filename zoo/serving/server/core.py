"""What gRPC and REST share: find the version, check the request, run it, count it."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

from grpc import StatusCode

from zoo.serving.loader.library import TensorFlowError
from zoo.serving.server.batching import Batcher
from zoo.serving.server.errors import ServingError, from_tensorflow, invalid, late

DEFAULT_SIGNATURE = "serving_default"


class Core:
    """Answers predict requests on the models that are loaded.

    Args:
        models: `zoo.serving.server.models.Models`.
        metrics: `zoo.serving.server.metrics.Metrics`.
        batching: `BatchingParameters`, or None to run each request by itself.
        seconds: Longest time for a request.

    Example:

        version, outputs = await core.predict("wgan_gp", signature="sample", inputs=read)
    """

    def __init__(self, models, metrics, batching=None, seconds=30.0):
        self.models, self.metrics, self.seconds = models, metrics, seconds
        self._batcher = Batcher(batching, metrics.observe_batch) if batching else None
        self._threads = ThreadPoolExecutor(4 * (os.cpu_count() or 1), thread_name_prefix="run")

    async def predict(
        self, name, number=None, label=None, *, signature="", inputs, outputs=(), seconds=None, spent=0.0, rest=False
    ):
        """Run a signature of a model.

        Args:
            name: Name of the model.
            number: Version, or None.
            label: Label of a version, or "" or None.
            signature: Its name; "" means `serving_default`.
            inputs: Asynchronous function that makes `{input name: array}` from the name of the signature and its
                inputs, `{name: (dtype, shape)}`: a request is judged by them before anything is made of it.
            outputs: Names of the outputs wanted; none means all.
            seconds: The client's own time limit, or None.
            spent: Seconds of its time that the request has used up already.
            rest: Whether it came over REST, where TF Serving tells of an unknown signature in other words.

        Returns:
            `(version, {output name: array})`.

        Raises:
            ServingError: What the client is to be told.
        """
        seconds = self.seconds if seconds is None else min(seconds, self.seconds)
        deadline, signature = time.monotonic() + seconds - spent, signature or DEFAULT_SIGNATURE
        with self.models.use(name, number, label) as version:
            model, started = version.model, time.perf_counter()
            if signature not in model.signatures:
                raise _unknown(signature, rest)
            outputs = _check_outputs(model.signatures[signature]["outputs"], tuple(outputs))
            try:
                arrays = await inputs(signature, model.signatures[signature]["inputs"])
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError
                return version, await self._run(model, signature, arrays, outputs, left)
            except TensorFlowError as error:
                raise from_tensorflow(error) from None
            except ValueError as error:  # inputs that do not fit the signature
                raise invalid(str(error)) from None
            except TimeoutError:
                raise late(seconds) from None
            finally:
                self.metrics.observe_run(name, time.perf_counter() - started)

    def close(self):
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._batcher:
            self._batcher.close()

    async def _run(self, model, signature, inputs, outputs, seconds):
        if self._batcher:
            inputs = model.check_inputs(signature, inputs)  # before they stand beside those of other clients
            return await self._batcher.run(model, signature, inputs, outputs, seconds)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            return await loop.run_in_executor(self._threads, model.predict, signature, inputs, outputs, seconds)


def _unknown(signature, rest):
    if rest:  # TF Serving looks for it earlier there, and says it otherwise
        return invalid(f'Serving signature name: "{signature}" not found in signature def')
    return ServingError(StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')


def _check_outputs(known, outputs):
    for name in outputs:
        if name not in known:
            raise invalid(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(known)}}}."
            )
    if len(set(outputs)) != len(outputs):
        raise invalid("duplicate output tensor alias")
    return outputs or None
