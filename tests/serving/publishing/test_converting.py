"""Exports for other runtimes, by Keras's exporters: run where the runtime is here, and otherwise answered in words."""

import importlib.util
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.rows import ROWS


@pytest.fixture(scope="module")
def model():
    return ROWS["gan"].build()


def test_a_signature_runs_in_litert_as_in_memory(model, tmp_path):
    """TensorFlow's own interpreter of such files; any number of rows."""
    path = tmp_path / "made" / "gan.tflite"
    model.export(path, format="litert")
    assert [file.name for file in path.parent.iterdir()] == ["gan.tflite"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The interpreter is to move to another package.
        run = tf.lite.Interpreter(str(path)).get_signature_runner()
    latents = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(run(latents=latents)["images"], model.predict(latents, verbose=0), atol=1e-6)
    with pytest.raises(FileExistsError, match="gan.tflite"):
        model.export(path, format="litert")


def test_a_signature_that_a_format_cannot_hold_is_answered_with_what_it_lacks(model, tmp_path):
    message = (
        "Signature `sample` cannot be written as 'litert': it lacks Erfinv. Choose another `signature` of sample, "
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        model.export(tmp_path / "gan.tflite", "litert", signature="sample")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"format": "pickle"}, "`format` must be one of 'tf_saved_model', 'litert', .* Received: 'pickle'"),
        ({"format": None}, "`format` must be one of .* Received: None"),
        ({"format": "torch"}, "cannot be written as a program of PyTorch.*Received: 'torch'"),
        ({"format": "litert"}, "of format 'litert' ends in .tflite. Received: '.*gan.bin'"),
        ({"format": "litert", "signature": "x"}, "`signature` must be one of .* Received: 'x'"),
    ],
)
def test_mistakes_are_answered(model, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "gan.bin", **options)


@pytest.mark.parametrize(
    "format, name, package", [("onnx", "gan.onnx", "tf2onnx"), ("openvino", "gan.xml", "openvino")]
)
def test_a_format_is_written_or_says_what_to_install(model, format, name, package, tmp_path):
    if importlib.util.find_spec(package) is None:
        with pytest.raises(ImportError, match=f"Not installed: .*{package}. `pip install .*{package}`"):
            model.export(tmp_path / name, format=format)
    else:
        model.export(tmp_path / name, format=format)
        assert (tmp_path / name).stat().st_size > 1000
