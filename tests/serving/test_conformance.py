"""The conformance check: silent on a good export, one sentence for each fault planted in a bad one."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.serving import check, isolated, publish, run_native
from zoo.serving.compare import difference
from zoo.serving.warmup import WARMUP_FILE, read_warmup, write_warmup

ROWS = [[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]]


class Good:
    """A tiny network with batch normalization in inference mode, a sampler, and a text signature."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
        self.variables = self.network.variables

    def signatures(self):
        def scores(features):
            return {"scores": self.network(features, training=False)}

        def sample(seed):
            keys = tf.stack([seed, tf.zeros_like(seed)], axis=1)
            draw = lambda key: tf.random.stateless_normal([3], key, alg="philox")  # noqa: E731
            return scores(tf.map_fn(draw, keys, fn_output_signature=tf.float32))

        return {
            "serving_default": (scores, {"features": tf.TensorSpec((None, 3))}),
            "sample": (sample, {"seed": tf.TensorSpec((None,), "int64")}),
            "length": (lambda text: {"length": tf.strings.length(text)}, {"text": tf.TensorSpec((None,), "string")}),
        }

    def warmup(self):
        return [("serving_default", {"features": np.float32(ROWS)})]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return publish(Good(), tmp_path_factory.mktemp("base"), "good", card={})


def test_good_export_has_no_problems(good, tmp_path):
    assert check(good) == []
    shutil.copytree(good, tmp_path / "2", ignore=shutil.ignore_patterns("assets.extra"))
    assert check(tmp_path / "2") == []


def save(folder, functions, specs=None):
    """Write a SavedModel as anybody might, past the checks of zoo.serving.write."""
    module = tf.Module()
    module.state = STATE
    endpoints = {
        name: tf.function(function).get_concrete_function((specs or {}).get(name, FEATURES))
        for name, function in functions.items()
    }
    tf.saved_model.save(module, str(folder), signatures=endpoints)
    return folder


FEATURES = tf.TensorSpec((None, 3), name="features")
STATE = tf.random.Generator.from_seed(1)


def numpy_function(features):
    return {"y": tf.ensure_shape(tf.numpy_function(np.sin, [features], tf.float32), (None, 3))}


def py_function(features):
    return {"y": tf.ensure_shape(tf.py_function(tf.sin, [features], tf.float32), (None, 3))}


def xla(features):
    return {"y": tf.function(tf.sin, jit_compile=True)(features)}


def batch_statistics(features):
    return {"y": features - tf.reduce_mean(features, axis=0)}


def running_sum(features):
    return {"y": tf.cumsum(features)}


def row_number(features):
    return {"y": features + tf.cast(tf.range(tf.shape(features)[0]), "float32")[:, None]}


def first_row(features):
    return {"y": features + tf.cast(features[0, 0] > features[-1, 0], "float32")}


def unseeded(features):
    return {"y": features + tf.random.uniform(tf.shape(features))}


def sampler_with_state(seed):
    return {"y": STATE.normal([tf.shape(seed)[0], 3])}


def sampler_by_position(seed):
    keys = tf.stack([tf.range(tf.shape(seed)[0], dtype=tf.int64), tf.zeros_like(seed)], axis=1)
    return {"y": tf.map_fn(lambda key: tf.random.stateless_normal([3], key), keys, fn_output_signature=tf.float32)}


def ragged(features):
    return {"y": tf.RaggedTensor.from_tensor(features, lengths=tf.ones(tf.shape(features)[0], tf.int64))}


FAULTS = {
    numpy_function: "calls Python (PyFunc",
    py_function: "calls Python (EagerPyFunc",
    xla: "jit_compile=True",
    batch_statistics: "`batch_statistics` depends on which rows share a batch",
    running_sum: "`running_sum` depends on which rows share a batch",
    row_number: "`row_number` depends on which rows share a batch",
    first_row: "`first_row` depends on a row's position in the batch",
    unseeded: "`unseeded` changes when the same request is sent again",
    sampler_with_state: "`sampler_with_state` changes when the same request is sent again",
    sampler_by_position: "`sampler_by_position` depends on which rows share a batch",
    ragged: "`ragged` has no plain dtype (DT_INVALID)",
}
SHAPES_AND_DTYPES = {
    "half": (lambda x: {"y": tf.cast(x, "float16")}, "`y` of signature `half` is float16"),
    "brain": (lambda x: {"y": tf.cast(x, "bfloat16")}, "`y` of signature `brain` is bfloat16"),
    "mean": (lambda x: {"y": tf.reduce_mean(x)}, "`y` of signature `mean` is a scalar"),
    "fixed": (lambda x: {"y": tf.ensure_shape(x, (2, 3))}, "`y` of signature `fixed` has its batch dimension fixed"),
    "unnamed": (lambda x: x + 1, "`output_0` of signature `unnamed` has no name of its own"),
    "heat": (lambda x: {"y": tf.zeros((1, 2)) + x}, "Input `temperature` of signature `heat` is a scalar"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Problems of one SavedModel with every fault in a signature of its own, and a good `serving_default`."""
    functions = {"serving_default": lambda x: {"y": tf.nn.softmax(2 * x)}}
    functions |= {function.__name__: function for function in FAULTS}
    functions |= {name: function for name, (function, _) in SHAPES_AND_DTYPES.items()}
    seed = tf.TensorSpec((None,), "int64", name="seed")
    specs = {name: seed for name in functions if name.startswith("sampler")}
    specs["heat"] = tf.TensorSpec((), name="temperature")
    path = save(tmp_path_factory.mktemp("bad") / "1", functions, specs)
    rows = {"features": np.float32(ROWS)}
    seeds = {"seed": np.arange(2)}
    requests = {name: seeds if name in specs else rows for name in functions if name != "heat"}
    write_warmup(path, "bad", list(requests.items()))
    return path, check(path)


@pytest.mark.parametrize("words", [*FAULTS.values(), *(words for _, words in SHAPES_AND_DTYPES.values())])
def test_planted_faults(faulty, words):
    assert [problem for problem in faulty[1] if words in problem], faulty[1]


def test_nothing_is_said_of_the_good_signature(faulty):
    assert not [problem for problem in faulty[1] if "`serving_default`" in problem]


def test_xla_is_off_in_the_loader(faulty):
    with pytest.raises(ValueError, match="(?i)xla"):
        run_native(faulty[0], "xla", {"features": np.float32(ROWS)})


def test_one_sentence_each(tmp_path):
    path = save(tmp_path / "latest", {"other": lambda x: {"y": tf.cast(tf.reduce_mean(x), "float16")}})
    problems = check(path)
    assert any("named by an integer" in problem for problem in problems)
    assert any("no signature `serving_default`" in problem for problem in problems)
    assert all("\n" not in problem and problem[0].isupper() or problem.startswith("saved") for problem in problems)


def test_warmup_faults(good, tmp_path):
    path = tmp_path / "1"
    shutil.copytree(good, path)
    file = path / WARMUP_FILE
    file.write_bytes(b"no TFRecord")
    assert any("warm-up requests cannot be read" in problem for problem in check(path))
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"\xff no PredictionLog")
    with pytest.raises(ValueError, match="no TFRecord of PredictionLog"):
        read_warmup(path)
    good_request = ("sample", {"seed": np.arange(2)})
    requests = [good_request, ("sample", {"z": np.arange(2)}), ("gone", {"z": np.arange(2)}), *[good_request] * 998]
    write_warmup(path, "good", requests)
    problems = check(path)
    assert any("1001 warm-up requests" in problem for problem in problems)
    assert any("`sample` fails on a warm-up request" in problem for problem in problems)
    assert any("`gone` fails on a warm-up request" in problem for problem in problems)


def test_missing_and_damaged_files(good, tmp_path):
    assert check(tmp_path / "7") == [f"There is no saved_model.pb in `{tmp_path / '7'}`."]
    path = tmp_path / "1"
    shutil.copytree(good, path)
    (path / "variables" / "variables.data-00000-of-00001").unlink()
    assert any("does not load in TF Serving's loader" in problem for problem in check(path))
    (path / "saved_model.pb").write_bytes(b"\xff\xff")
    assert check(path) == ["saved_model.pb is damaged: it is no SavedModel protocol buffer."]


def test_custom_ops_are_named(good, tmp_path):
    path = tmp_path / "1"
    shutil.copytree(good, path)
    graph = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(graph.replace(b"StringLength", b"ZtringLength"))
    problems = check(path)
    assert any("not built into TensorFlow: `ZtringLength`" in problem for problem in problems)
    assert any("does not load in TF Serving's loader" in problem and "ZtringLength" in problem for problem in problems)


def test_a_failing_request_does_not_hide_the_others(good):
    _, (bad, fine) = isolated.run_all(good, [("sample", {}), ("sample", {"seed": [1]})])
    assert isinstance(bad, ValueError) and fine["scores"].shape == (1, 4)


def test_difference():
    assert difference(np.float32([1, np.nan, np.inf]), np.float32([1 + 5e-6, np.nan, np.inf])) is None
    assert "largest difference is 1," in difference(np.zeros(3), np.ones(3))
    assert "shape (2,)" in difference(np.zeros(3), np.zeros(2))
    assert difference(np.array([1, 2]), np.array([1, 3])) == "1 of 2 values differ."
    assert difference(np.array([b"a"], object), np.array([b"a"], object)) is None
    assert "largest difference" in difference(np.float32([1, np.nan]), np.float32([1, 2]))
