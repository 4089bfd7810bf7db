"""Exports for other runtimes, by Keras's exporters: run where the runtime is here, and otherwise answered in words."""

import importlib.util
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.rows import ROWS
from zoo.networks.detection import pad_to_multiple
from zoo.serving.publishing import runtimes
from zoo.serving.publishing.converting import convert


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
@pytest.mark.filterwarnings("ignore:Nobody compared:UserWarning")  # where tf2onnx is without onnxruntime
def test_a_format_is_written_or_says_what_to_install(model, format, name, package, tmp_path):
    if importlib.util.find_spec(package) is None:
        with pytest.raises(ImportError, match=f"Not installed: .*{package}. `pip install .*{package}`"):
            model.export(tmp_path / name, format=format)
    else:
        model.export(tmp_path / name, format=format)
        assert (tmp_path / name).stat().st_size > 1000


def test_a_file_that_answers_otherwise_than_the_model_is_refused(tmp_path):
    """Noise that no input keys is other noise in every program."""

    def noisy(points):
        return {"points": points + tf.random.uniform(tf.shape(points))}

    signatures = {"serving_default": (noisy, {"points": tf.TensorSpec((None, 2), tf.float32)})}
    message = (
        "`serving_default` cannot be written as 'litert': of points (2, 2), it makes points that are not the model's"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        convert(signatures, tmp_path / "noisy.tflite", format="litert", signature="serving_default", track=[])
    assert not list(tmp_path.iterdir())


def test_images_of_another_size_than_those_of_the_warm_up_are_compared(tmp_path):
    """As of a converter that takes remainders otherwise, what is written is right for 8 x 8 pixels alone."""

    def answer(images):
        is_right = True if tf.executing_eagerly() else tf.shape(images)[1] == 8
        return {"pixels": images * tf.cast(is_right, tf.float32)}

    signatures = {"serving_default": (answer, {"images": tf.TensorSpec((None, None, None, 1), tf.float32)})}
    rows = [("serving_default", {"images": np.ones((2, 8, 8, 1), "float32")})]
    with pytest.raises(ValueError, match=re.escape("of images (2, 7, 5, 1), it makes pixels that are not the model's")):
        convert(signatures, tmp_path / "a.tflite", format="litert", signature="serving_default", track=[], warmup=rows)


def test_a_file_that_nobody_could_compare_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "litert", ("not_here", None))
    with pytest.warns(UserWarning, match="Nobody compared .*gan.tflite.*: not_here is not installed, .* `pip install"):
        model.export(tmp_path / "gan.tflite", format="litert")
    assert (tmp_path / "gan.tflite").exists()


def test_padding_to_a_multiple_keeps_what_litert_has_to_know(tmp_path):
    """Expected is NumPy's padding; without the number of channels LiteRT has no convolution of its own."""
    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 3, 3, 4)), dtype="float32")

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)], autograph=False)
    def convolved(images):
        return {"features": tf.nn.conv2d(pad_to_multiple(images, 8), module.kernel, 1, "SAME")}

    tf.saved_model.save(module, str(tmp_path), signatures=convolved.get_concrete_function())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The interpreter is to move to another package.
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        run = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    for sides in ((5, 9), (8, 16), (1, 7)):
        images = np.random.default_rng(0).normal(size=(2, *sides, 3)).astype("float32")
        whole = np.pad(images, [(0, 0), *((0, -side % 8) for side in sides), (0, 0)])
        np.testing.assert_array_equal(pad_to_multiple(images, 8), whole)
        expected = tf.nn.conv2d(whole, module.kernel, 1, "SAME")
        np.testing.assert_allclose(run(images=images)["features"], expected, atol=1e-5)
