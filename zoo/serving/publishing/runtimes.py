"""Run one converted signature in the runtime of its format, and hold it against the model in memory."""

import contextlib
import importlib.util
import warnings

import numpy as np
import tensorflow as tf

from zoo.serving.checking.compare import difference
from zoo.serving.formats import warmup as warming

# Runtimes add up in other orders than TensorFlow, and have exponentials of their own.
TOLERANCE = 1e-4


def _litert(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The interpreter is to move to another package.
        # TensorFlow's own has the operations of its delegate, Flex.
        runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    return lambda inputs: runner(**inputs)


def _onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def _openvino(path):
    import openvino

    # Where the processor has bfloat16, OpenVINO would round to it.
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


# {format: (package that has to be installed, function of a path that returns one of {input name: array})}
RUNTIMES = {
    "litert": ("tensorflow", _litert),
    "onnx": ("onnxruntime", _onnx),
    "openvino": ("openvino", _openvino),
}


def missing_runtime(format):
    """The package that would run files of a format, if it is not installed, else None."""
    package = RUNTIMES[format][0]
    return None if importlib.util.find_spec(package) else package


def compare(path, format, function, requests):
    """Compare what a converted signature gives in its runtime with what its function gives in memory.

    Args:
        path: The file.
        format: "litert", "onnx" or "openvino".
        function: Function of named tensors that returns named tensors.
        requests: As `requests_of` returns them.

    Raises:
        ValueError: They differ.
        Exception: Whatever the runtime raises that cannot load or run it.

    Example:

        compare(Path("gan.onnx"), "onnx", function, [({"latents": np.ones((2, 4), "float32")}, True)])
    """
    run = RUNTIMES[format][1](path)
    for inputs, is_told_apart in requests:
        found = run(inputs)
        with full_float32():
            expected = function(**{name: tf.constant(array) for name, array in inputs.items()})
        expected = {name: tensor.numpy() for name, tensor in expected.items()}
        # A class that is the most likely by a rounding error may be another one.
        by_value = is_told_apart or all(array.dtype.kind == "f" for array in expected.values())
        for name, array in expected.items():
            received = np.asarray(found[name])
            if by_value or array.shape != received.shape:
                problem = difference(array, received, TOLERANCE)
                if problem:
                    shapes = ", ".join(f"{key} {given.shape}" for key, given in inputs.items())
                    raise ValueError(f"of {shapes}, it makes {name} that are not the model's. {problem}")


def requests_of(signature, specs, warmup):
    """What a signature is tried with: its warm-up rows, those with one more, and images of another size.

    Args:
        signature: Its name.
        specs: {input name: `tf.TensorSpec`}.
        warmup: List of (signature, {input name: array}), of any signatures. Where this one has none, it is tried with
            numbers from 0 to 1.

    Returns:
        List of ({input name: array}, whether no two outputs are so close that rounding could swap them, which warm-up
        rows are chosen for).

    Raises:
        ValueError: A dimension other than the batch is dynamic, and there are no warm-up rows.

    Example:

        requests_of("decode", {"codes": tf.TensorSpec((None, 4), tf.float32)}, [])
    """
    given = next((inputs for name, inputs in warmup if name == signature), None)
    if given is None:
        shapes = {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in specs.items()}
        rng = np.random.default_rng(0)
        given = {
            # Zeros would tell little: of them, many networks make zeros.
            name: rng.random(array.shape, "float32").astype(array.dtype) if array.dtype.kind == "f" else array
            for name, array in warming.example_inputs(signature, shapes).items()
        }
    one_more = {name: np.concatenate([array, array[:1]]) for name, array in given.items()}
    requests = [(given, True), (one_more, True)]
    if any(spec.shape.rank == 4 and None in spec.shape[1:3] for spec in specs.values()):
        # A multiple of no stride.
        requests.append(({name: array[:, 1:, 3:] for name, array in given.items()}, False))
    return requests


@contextlib.contextmanager
def full_float32():
    """Compute without TensorFloat-32, which would round the reference on a GPU to three digits."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
