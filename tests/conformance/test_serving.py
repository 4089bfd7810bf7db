"""Every model serves what it generates: from its export, and over gRPC and REST."""

import os
import pickle
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.helpers.graphs import called_for_training
from tests.helpers.portability import working
from tests.helpers.rows import ROWS
from tests.helpers.subject import exported
from zoo.data.canvas import fitted_size
from zoo.data.reading import read_picture_on
from zoo.metrics import confusion_matrix, segmentation_scores
from zoo.serving import Client
from zoo.serving.checking import conformance
from zoo.serving.checking.compare import difference
from zoo.serving.checking.protocol import check_server
from zoo.serving.formats.warmup import read_warmup
from zoo.serving.loader.isolated import run_all

GENERATIVE = [name for name in ROWS if name not in ("autoencoder", "cycle_gan", "fcn", "mask_rcnn", "seq2seq")]


def test_a_server_answers_what_the_model_says(row_name, row, server):
    """Over gRPC, each signature beside its function, and beside what the model's methods say."""
    model, kind = exported(row_name), row.examples
    functions = model.signatures()
    asked = {
        name: {key: kind.asked(key, spec) for key, spec in specs.items()} for name, (_, specs) in functions.items()
    }
    with Client(server.grpc) as client:
        served = {name: client.predict(row_name, name, **inputs) for name, inputs in asked.items()}
    for name, (function, _) in functions.items():
        # What is exported drops nothing out and has no statistics of the batch, whatever the networks.
        with called_for_training() as called:
            expected = function(**{key: tf.constant(array) for key, array in asked[name].items()})
        assert called == []
        assert served[name].keys() == expected.keys()
        for key, array in expected.items():
            assert_alike(served[name][key], array.numpy(), kind.tolerance)
    for name, answers in kind.answers(model, asked).items():
        # Of one answer, methods give the array alone.
        answers = answers if isinstance(answers, dict) else dict(zip(served[name], answers, strict=True))
        for key, array in answers.items():
            assert_alike(served[name][key], np.asarray(array), kind.tolerance)
    if hasattr(model, "generate"):
        (sampled,) = served["sample"].values()
        np.testing.assert_array_equal(sampled[0], sampled[2])
        assert np.abs(sampled[0] - sampled[1]).max() > 0


def assert_alike(found, expected, tolerance):
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, atol=tolerance)
    else:  # Files are compared by their pixels.
        assert difference(expected, found) is None


@pytest.mark.exhaustive
def test_the_checks_find_no_fault_in_an_export_nor_in_its_server(version, server):
    """Batches, repeats and fresh loads in TF Serving's loader; states, metadata, errors and REST of the server."""
    assert conformance.check(version) == []
    assert check_server(version.parent, server.grpc, server.rest) == {version: []}


@pytest.mark.exhaustive
def test_a_layer_of_keras_gives_what_the_export_does(row_name, version):
    """The column of docs/serving.md that needs nothing but Keras."""
    signatures = [signature for name, signature, _ in working("TFSMLayer") if name == row_name]
    requests = [(name, inputs) for name, inputs in read_warmup(version) if name in signatures]
    assert {name for name, _ in requests} == {*signatures}
    _, answers = run_all(version, requests)
    for (name, inputs), expected in zip(requests, answers, strict=True):
        layer = keras.layers.TFSMLayer(str(version), call_endpoint=name)
        (given,) = inputs.values()
        found = layer(tf.constant(given))
        assert {key: difference(expected[key], found[key].numpy()) for key in found} == dict.fromkeys(expected)


# What every signature of every export answers to its warm-up request and to the same without rows, as shapes, and
# what it answers where the first number of the first row is none.
ANSWERS = """
import pickle, sys
import numpy as np
from zoo.serving.formats.warmup import read_warmup
from zoo.serving.loader.isolated import run_all
from zoo.serving.loader.native import SavedModel

def shapes(model, signature, inputs):
    try:
        return {key: array.shape for key, array in model.run(signature, **inputs).items()}
    except ValueError as error:
        return str(error)

def with_nan(inputs):
    floats = {key: array.copy() for key, array in inputs.items() if array.dtype.kind == "f"}
    for array in floats.values():
        array.flat[0] = np.nan
    return {**inputs, **floats} if floats else None

found = {}
for path in map(__import__("pathlib").Path, sys.argv[1:]):
    with SavedModel(path) as model:
        for name, rows in read_warmup(path):
            none = {key: array[:0] for key, array in rows.items()}
            bad = with_nan(rows)
            answers = shapes(model, name, rows), shapes(model, name, none), bad and shapes(model, name, bad)
            found[path.parent.name, name] = answers
sys.stdout.buffer.write(pickle.dumps(found))
"""


@pytest.fixture(scope="module", params=["0", "1"])
def answers(request, published):
    """{(model, signature): what `ANSWERS` says}, without and with oneDNN.

    It is read when TensorFlow starts: on by default in TF Serving, and here where the processor has VNNI.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_ENABLE_ONEDNN_OPTS": request.param}
    command = [sys.executable, "-c", ANSWERS, *(str(published(name)) for name in ROWS)]
    found = pickle.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert {name for name, _ in found} == {*ROWS}
    return found


@pytest.mark.exhaustive
def test_no_export_hides_that_an_input_is_no_number(answers):
    """Labels and texts cannot be NaN, and rectifiers turn it into 0: points of NaN as latents looked like others."""
    refused = {signature: answer for signature, (*_, answer) in answers.items() if answer}
    assert {("fcn", "from_floats"), ("seq2seq", "sample"), ("vae", "score"), ("wgan", "serving_default")} < {*refused}
    wanted = re.compile(r"`\w+` must be (a )?finite")
    assert {key: answer for key, answer in refused.items() if not wanted.search(str(answer))} == {}


@pytest.mark.exhaustive
def test_an_export_takes_a_batch_without_rows(answers):
    # Fused convolutions of oneDNN refuse no rows, and reflections do anyway. Expected is what some rows give, but for
    # their number.
    wrong = {}
    for signature, (some, none, _) in answers.items():
        expected = {key: (0, *shape[1:]) for key, shape in some.items()}
        if none != expected:
            wrong[signature] = expected, none
    assert wrong == {}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Parts of two photos as files of different sizes, and what is learnt from them on a canvas of 96 x 96 pixels."""
    folder, rng, files, canvas = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), [], (96, 96)
    for number in range(6):
        height, width = rng.integers(150, 400, 2)
        path = folder / f"{number}.{('jpg', 'png')[number % 2]}"
        Image.fromarray(load_sample_images().images[number % 2][:height, :width]).save(path)
        files.append((path, (int(height), int(width))))
    learnt = np.stack([read_picture_on(canvas, path, size, is_turned=False) for path, size in files])
    sizes = np.array([size for _, size in files])
    fitted = np.array([fitted_size(size, canvas) for _, size in files], "int32")
    return [path.read_bytes() for path, _ in files], learnt, sizes, fitted


def judged(model, photos):
    files, learnt, sizes, fitted = photos
    model.image_size = learnt.shape[1:3]
    served = model.signatures()["from_bytes"][0](tf.constant(files))
    return {name: array.numpy() for name, array in served.items()}, learnt, sizes, fitted


@pytest.mark.exhaustive
def test_objects_in_files_are_those_in_pictures_as_they_are_learnt_from(photos):
    """TensorFlow brings files to the canvas, Pillow what is learnt from; scores may differ by 1e-3, boxes by 0.1."""
    model = ROWS["mask_rcnn"].build()
    model.set_weights(exported("mask_rcnn").get_weights())
    served, learnt, sizes, fitted = judged(model, photos)
    found = model.detect(learnt, fitted)
    scales = np.concatenate([(sizes / fitted)[:, ::-1]] * 2, 1)[:, None]
    np.testing.assert_array_equal(served["classes"], found["classes"])
    np.testing.assert_allclose(served["scores"], found["scores"], atol=1e-3)
    np.testing.assert_allclose(served["boxes"], found["boxes"] * scales, atol=0.1)
    np.testing.assert_allclose(served["masks"], found["masks"], atol=1e-3)


def test_figures_of_files_are_those_of_pictures_as_they_are_learnt_from(photos):
    """The four figures differ by less than 0.002, of labels that follow the brightness of the pictures."""
    model = ROWS["fcn"].build()
    rng = np.random.default_rng(0)
    model.head.set_weights([rng.normal(size=weight.shape) for weight in model.head.get_weights()])
    served, learnt, sizes, fitted = judged(model, photos)
    found = model.segment(learnt)
    assert np.bincount(found.ravel(), minlength=3).min() > 500, "one class alone would be judged alike by chance"
    inside = (np.arange(96)[:, None] < fitted[:, 0, None, None]) & (np.arange(96) < fitted[:, 1, None, None])
    np.testing.assert_array_equal(served["labels"] != 255, inside)
    truth = np.where(inside, learnt[..., 0] // 86, 255)
    figures = [
        segmentation_scores(confusion_matrix(truth, np.where(inside, labels, 0), 3))
        for labels in (served["labels"], found)
    ]
    assert figures[0] == pytest.approx(figures[1], abs=0.002)


@pytest.mark.parametrize("name", GENERATIVE)
def test_generate_repeats_and_extends(name):
    row = ROWS[name]
    model = row.build()
    assert model.generate(3, seed=1).shape == (3, *row.shape)
    np.testing.assert_allclose(model.generate(5, seed=1)[:3], model.generate(3, seed=1), atol=1e-6)
    assert np.abs(model.generate(3, seed=1) - model.generate(3, seed=2)).max() > 0
    with pytest.raises(ValueError, match="at least 1"):
        model.generate(0)
