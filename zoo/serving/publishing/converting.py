"""Write one signature of a model in a format of another runtime, by Keras's own exporters, and try it there."""

import contextlib
import importlib.util
import io
import os
import re
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from zoo.checks import check_choice, check_kind
from zoo.files import already_exists, partial_folder
from zoo.serving.publishing.runtimes import compare, missing_runtime, requests_of
from zoo.serving.publishing.tracing import of_any_rows, without_xla

# {format: (end of the file's name, packages that Keras needs for it)}
FORMATS = {
    "litert": (".tflite", ()),
    "onnx": (".onnx", ("onnx", "tf2onnx")),
    "openvino": (".xml", ("openvino",)),
}

# How LiteRT, ONNX and OpenVINO say which operations they have not.
_LACKING = (
    r"Custom ops: ([\w, ]+)",
    r"'tf\.(\w+)' op",
    r"No Op registered for (\w+)",
    r"No conversion rule found for operations: ([\w, ]+)",
)


def check_format(name):
    """Check that a format is one that models are written in.

    Raises:
        ValueError: It is not.
    """
    if name == "torch":
        raise ValueError(
            "A model on TensorFlow cannot be written as a program of PyTorch, which Keras does on its PyTorch backend "
            f"alone. Expected `format` to be one of 'tf_saved_model', {', '.join(map(repr, FORMATS))}. Received: "
            "'torch'. PyTorch's users run 'onnx'."
        )
    check_choice("format", name, ("tf_saved_model", *FORMATS))


def convert(signatures, path, *, format, signature, track, warmup=()):
    """Write one signature as a file of another runtime, completely or not at all.

    If the runtime is installed, the file appears only if it gives there what the function gives in memory.

    Args:
        signatures: As `zoo.serving.write` takes them.
        path: File to make; "litert" ends in .tflite, "onnx" in .onnx, "openvino" in .xml, with a .bin beside it.
        format: One of `FORMATS`.
        signature: Name of the signature.
        track: List of the Keras models that the functions use.
        warmup: As `zoo.serving.write` takes it: what the file is tried with.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        FileExistsError: `path` exists.
        ImportError: Keras's exporter needs a package that is not installed.
        ValueError: An argument is out of range, or the runtime has no such operations, or computes something else.

    Warns:
        UserWarning: The runtime is not installed, so nothing was compared.

    Example:

        convert(model.signatures(), "gan.tflite", format="litert", signature="serving_default", track=[model])
    """
    check_choice("signature", signature, signatures)
    check_kind("path", path, (str, Path), "a file to make, such as 'gan.tflite'")
    suffix, packages = FORMATS[format]
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"The name of a file of format {format!r} ends in {suffix}. Received: {str(path)!r}.")
    if path.exists():
        raise already_exists(path)
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Format {format!r} is written by {' and '.join(packages)}. Not installed: {', '.join(missing)}. "
            f"`pip install {' '.join(missing)}`, or take format 'tf_saved_model', which needs nothing more."
        )
    function, specs = signatures[signature]
    requests, without = requests_of(signature, specs, warmup), missing_runtime(format)
    if format != "litert":
        # The others keep inputs and outputs in one list of names; of bytes, LiteRT cannot make a row without Flex.
        function = _with_names_apart(of_any_rows(function, specs), specs)
    # Keras names the inputs of OpenVINO in the order of this dict, which its graph has sorted.
    given = [{name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in sorted(specs.items())}]
    with partial_folder(path.parent, path.name) as folder:
        try:
            # What converters print is about their own insides.
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), without_xla():
                warnings.simplefilter("ignore")
                keras.Model.export(
                    _Endpoint(function, track), str(folder / path.name), format, verbose=False, input_signature=given
                )
            if format == "onnx":
                # Of what ONNX lacks, tf2onnx writes the names of TensorFlow's operations.
                importlib.import_module("onnx.checker").check_model(str(folder / path.name))
            if not without:
                compare(folder / path.name, format, function, requests)
        except Exception as error:  # Converters raise what they like.
            raise ValueError(
                f"Signature `{signature}` cannot be written as {format!r}: {_reason(error)} Choose another "
                f"`signature` of {', '.join(sorted(signatures))}, or format 'tf_saved_model', which has all operations."
            ) from error
        for file in folder.iterdir():
            os.replace(file, path.with_name(file.name))
    if without:
        warnings.warn(
            f"Nobody compared {path} with the model: {without} is not installed, which runs format {format!r}. "
            f"`pip install {without}` and export again, or compare them where it runs.",
            stacklevel=3,
        )
    return path


def _with_names_apart(function, specs):
    def named(**inputs):
        return {f"output_{key}" if key in specs else key: value for key, value in function(**inputs).items()}

    return named


class _Endpoint(keras.Model):
    """A signature's function as the `keras.Model` that Keras's exporters take."""

    def __init__(self, function, track):
        super().__init__(name="endpoint")
        self.function, self.used = function, list(track)
        self.built = True

    def call(self, inputs, training=False):
        """What the function returns of {input name: tensor}."""
        return self.function(**inputs)


def _reason(error):
    """The operations that a converter lacks, or else the first line that it says."""
    text = str(error)
    lacking = sorted({name for pattern in _LACKING for name in re.findall(pattern, text)})
    if lacking:
        return f"it lacks {', '.join(lacking)}."
    return f"{next(filter(None, map(str.strip, text.splitlines())), type(error).__name__)[:200].rstrip('.')}."
