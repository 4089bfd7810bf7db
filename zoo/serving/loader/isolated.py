"""Run a SavedModel in the native loader, in a process of its own, from a process that has TensorFlow loaded."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_ERRORS = {error.__name__: error for error in (FileNotFoundError, KeyError, ValueError, RuntimeError)}


def run_native(path, signature, inputs):
    """Run one signature in TF Serving's C++ loader, on the CPU, with XLA off, in a subprocess.

    Args:
        path: Version folder that holds `saved_model.pb`.
        signature: Name of the signature.
        inputs: `{input name: array}`, batch first.

    Returns:
        `{output name: array}`, string tensors as object arrays of bytes.

    Raises:
        FileNotFoundError, KeyError, ValueError: As `zoo.serving.SavedModel` and its `run`.
        RuntimeError: The subprocess died; the message holds its last words.

    Example:
        >>> spec = {"x": tf.TensorSpec((None,), "float32")}
        >>> signatures = {"serving_default": (lambda x: {"y": 2.0 * x}, spec)}
        >>> path = zoo.serving.write(signatures, "exports/double/1", track=[])
        >>> run_native(path, "serving_default", {"x": np.array([1.0, 2.0], "float32")})
        {'y': array([2., 4.], dtype=float32)}

        run_native("exports/wgan_gp/1", "sample", {"seed": np.arange(4)})["images"]
    """
    _, (result,) = run_all(path, [(signature, inputs)])
    return _raise_or_return(result)


def run_all(path, requests):
    """Run many requests in one subprocess; a failing request does not stop the others.

    Args:
        path: Version folder that holds `saved_model.pb`.
        requests: List of `(signature, {input name: array})`.

    Returns:
        `(signatures, results)`: the signatures as `SavedModel.signatures`, and per request its outputs or the
        exception it raised.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: The SavedModel does not load.

    Example:

        signatures, results = run_all("exports/wgan_gp/1", [("sample", {"seed": np.arange(4)})])
    """
    inspection = inspect(path, requests)
    return _raise_or_return(inspection.signatures), inspection.rounds[0]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        ops: The ops of TensorFlow's C++ library, a serialized `OpList`.
        signatures: As `SavedModel.signatures`, or the exception with which loading failed.
        rounds: For each load a list with, per request, its outputs or the exception it raised.
    """

    ops: bytes
    signatures: dict | Exception
    rounds: list


def inspect(path, *rounds):
    """Load a version several times in one subprocess, and run requests after each load.

    Args:
        path: Version folder that holds `saved_model.pb`.
        *rounds: For each load, a list of `(signature, {input name: array})`.

    Returns:
        An `Inspection`.

    Raises:
        RuntimeError: The subprocess died; the message holds its last words.

    Example:

        first, afresh = inspect("exports/wgan_gp/1", requests, requests).rounds
    """
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    process = subprocess.run(
        [sys.executable, os.path.abspath(__file__)],
        input=pickle.dumps((os.path.abspath(path), rounds)),
        capture_output=True,
        env=environment,
    )
    if process.returncode or not process.stdout:
        words = process.stderr.decode(errors="replace").strip()[-2000:] or "none"
        raise RuntimeError(
            f"The native loader gave no answer on `{path}`. Exit code: {process.returncode}. Last words: {words}"
        )
    ops, signatures, results = pickle.loads(process.stdout)
    return Inspection(ops, _revive(signatures), [[_revive(result) for result in answers] for answers in results])


def _raise_or_return(result):
    """Return a result, or raise it where it is an exception."""
    if isinstance(result, Exception):
        raise result
    return result


def _revive(result):
    return _ERRORS[result[0]](result[1]) if isinstance(result, tuple) else result


def _flatten(error):
    kind = next((name for name, error_type in _ERRORS.items() if isinstance(error, error_type)), "RuntimeError")
    return kind, str(error.args[0]) if error.args else repr(error)


def _answer(path, rounds):
    from zoo.serving.loader.library import registered_ops
    from zoo.serving.loader.native import SavedModel

    ops, signatures, results = b"", {}, []
    try:
        ops = registered_ops()
        for requests in rounds:
            with SavedModel(path) as model:
                signatures = model.signatures
                results.append([_run(model, *request) for request in requests])
    except Exception as error:
        signatures = _flatten(error)
    return ops, signatures, results


def _run(model, signature, inputs):
    try:
        return model.run(signature, **inputs)
    except Exception as error:
        return _flatten(error)


if __name__ == "__main__":  # in the child, which imports neither Keras nor Python TensorFlow
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # the same zoo, wherever the parent found it
    # A model may print to standard output, and what it prints must not be taken for the answer, which is a pickle.
    output, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    os.dup2(2, 1)
    with output:
        output.write(pickle.dumps(_answer(*pickle.load(sys.stdin.buffer))))
