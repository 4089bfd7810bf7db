"""The conformance check: silent on a good export, one sentence for each fault planted in a bad one."""

import io
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.helpers.seeds import seed
from zoo.serving import check, check_all, publish, run_native
from zoo.serving.checking import conformance
from zoo.serving.checking.card import card_problems
from zoo.serving.checking.compare import difference
from zoo.serving.formats.model_card import CARD_FILE
from zoo.serving.formats.warmup import WARMUP_FILE, read_warmup, write_warmup
from zoo.serving.loader import isolated

ROWS = [[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]]


class Good:
    """A tiny network with batch normalization in inference mode, a sampler, and a text signature."""

    def __init__(self):
        seed()
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


def copy(good, folder):
    return shutil.copytree(good, folder / "good" / "1")


def test_check_takes_one_version(good, tmp_path):
    for path in (good.parent, good.parents[1]):
        with pytest.raises(ValueError, match="is not one version but holds some, such as .*good/1`. Use check_all"):
            check(path)
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        check(tmp_path / "nowhere")


def test_good_export_has_no_problems(good, tmp_path):
    assert check(good) == []
    path = copy(good, tmp_path)
    (path / WARMUP_FILE).unlink()
    assert check(path) == []


def test_no_tensorflow_is_imported(good):
    code = "import sys; from zoo.serving import check; assert check(sys.argv[1]) == []; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code, good], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert not {"tensorflow", "keras"} & {name.split(".")[0] for name in process.stdout.split()}


def save(folder, functions, specs=None):
    """Write a SavedModel as anybody might, past the checks of zoo.serving.write."""
    module = tf.Module()
    module.state, module.salt = STATE, SALT
    endpoints = {
        name: tf.function(function).get_concrete_function((specs or {}).get(name, FEATURES))
        for name, function in functions.items()
    }
    tf.saved_model.save(module, str(folder), signatures=endpoints)
    return folder


class Salt(tf.saved_model.experimental.TrackableResource):
    """A table that is filled with a random number whenever the model is loaded."""

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.float32, shared_name="salt")

    def _initialize(self):
        key, value = tf.zeros(1, tf.int64), tf.raw_ops.RandomUniform(shape=[1], dtype=tf.float32)  # whatever the seed
        tf.raw_ops.LookupTableInsertV2(table_handle=self.resource_handle, keys=key, values=value)


SALT = Salt()
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


def sampler_with_salt(seed):
    zero, handle = tf.zeros(1, tf.int64), SALT.resource_handle
    salt = tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=zero, default_value=tf.zeros([]))
    return {"y": tf.cast(seed, tf.float32) + salt}


def encoded(features):
    return {"y": tf.fill(tf.shape(features)[:1], b"\xff\xd8"), "y_bytes": tf.fill(tf.shape(features)[:1], b"\xff")}


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
    sampler_with_salt: "`sampler_with_salt` changes when the version is loaded afresh",
    encoded: "Output `y` of signature `encoded` holds bytes that are no UTF-8",
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
    assert len([problem for problem in faulty[1] if words in problem]) == 1, faulty[1]


def test_python_and_xla_fail_the_warmup(faulty):
    for words in ("`numpy_function`, fails", "`py_function`, fails", "`xla`, fails"):
        assert len([problem for problem in faulty[1] if words in problem]) == 1, faulty[1]
    assert not [problem for problem in faulty[1] if "`y_bytes`" in problem and "UTF-8" not in problem]


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
    assert any("`y` of signature `other` is float16" in problem for problem in problems)
    assert len(problems) == 3 and all("\n" not in problem and problem[0].isupper() for problem in problems)


def test_warmup_faults(good, tmp_path):
    path = copy(good, tmp_path)
    file = path / WARMUP_FILE
    file.write_bytes(b"no TFRecord")
    (problem,) = check(path)
    assert problem.startswith("TF Serving refuses the version, because its warm-up cannot be read: ")
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"\xff no PredictionLog")
    with pytest.raises(ValueError, match="Record 0 of .* is no PredictionLog"):
        read_warmup(path)
    requests = [("sample", {"seed": np.arange(2)})] * 1001
    write_warmup(path, "good", [*requests[:1], ("sample", {"z": np.arange(2)}), ("gone", {}), *requests[:1]])
    with pytest.raises(ValueError, match="Record 2 of .* is no predict request"):
        read_warmup(path)
    requests[1:3] = [("sample", {"z": np.arange(2)}), ("gone", {"z": np.arange(2)})]
    write_warmup(path, "good", requests)
    problems = check(path)
    assert any('"Number of warmup records exceeds the maximum (1000)"' in problem for problem in problems)
    assert any("Warm-up record 1, for signature `sample`, fails" in problem for problem in problems)
    assert any("'Serving signature key \"gone\" not found'" in problem for problem in problems)
    assert len(problems) == 3


def test_model_card_faults(good, tmp_path):
    path = copy(good, tmp_path)
    card = json.loads((path / CARD_FILE).read_text())
    card |= {"name": "other", "version": 7}
    card["signatures"]["length"]["outputs"]["length"]["dtype"] = "int64"
    card["signatures"]["sample"]["outputs"]["images"] = card["signatures"]["sample"]["outputs"].pop("scores")
    (path / CARD_FILE).write_text(json.dumps(card))
    name, version, dtype, gone, new = check(path)
    assert "says the name 'other'" in name and "folder of `good`" in name
    assert "says version 7, but TF Serving serves it as version 1" in version
    assert "says int64 [None] of output `length` of signature `length`, but the graph has int32 [None]" in dtype
    assert "output `images` of signature `sample`, but the graph has no such tensor" in gone
    assert "says nothing of output `scores` of signature `sample`" in new
    for text, words in (("{", "is no JSON"), ("[]", "must be a JSON object"), ("{}", "has no `signatures`")):
        (path / CARD_FILE).write_text(text)
        assert any(words in problem for problem in card_problems(path, {}))


def test_missing_and_damaged_files(good, tmp_path):
    (tmp_path / "7").mkdir()
    (problem,) = check(tmp_path / "7")
    assert problem.startswith(f"There is no saved_model.pb in `{tmp_path / '7'}`, so TF Serving cannot load")
    path = copy(good, tmp_path)
    (path / "variables" / "variables.data-00000-of-00001").unlink()
    (problem,) = check(path)
    assert problem.startswith("TF Serving's loader refuses it: ")
    (path / "saved_model.pb").write_bytes(b"\xff\xff")
    (problem,) = check(path)
    assert "saved_model.pb is damaged" in problem


def test_custom_ops_are_named(good, tmp_path):
    path = copy(good, tmp_path)
    graph = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(graph.replace(b"StringLength", b"ZtringLength"))
    (problem,) = check(path)
    assert "not built into TensorFlow: `ZtringLength`" in problem
    assert "\"Op type not registered 'ZtringLength' in binary\"" in problem


def test_a_crash_is_one_fault(good, monkeypatch):
    monkeypatch.setattr(isolated, "__file__", "/dev/null")  # a child that answers nothing
    (problem,) = check(good)
    assert problem.startswith("TF Serving's loader crashes on it")


def test_whole_base_directory(good, tmp_path, monkeypatch):
    base = shutil.copytree(good.parents[1], tmp_path / "base")
    assert check_all(base) == {base / "good" / "1": []}
    (base / "batching.config").write_text("max_batch_size { value: 1 }")
    assert all("is larger than maximum input batch size 1" in problem for problem in check(base / "good" / "1"))
    monkeypatch.setattr(conformance, "check", lambda path: [])
    assert check_all(base / "good") == check_all(base / "good" / "1") == {base / "good" / "1": []}
    (base / "good" / "latest").mkdir()
    (base / "models.config").write_text("model_config_list {")
    assert list(check_all(base)) == [base, base / "good", base / "good" / "1"]
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        check_all(tmp_path / "gone")


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
    assert "largest difference is 1," in difference(np.float32([1, np.nan, np.inf]), np.float32([2, np.nan, np.inf]))


def png(*levels):
    file = io.BytesIO()
    Image.fromarray(np.uint8([levels])).save(file, format="PNG")
    return file.getvalue()


def test_pictures_may_be_rounded_otherwise_by_one_level():
    expected = np.array([png(10, 200), png(0, 0)], object)
    assert difference(expected, np.array([png(11, 199), png(0, 1)], object)) is None
    assert difference(expected, np.array([png(12, 200), png(0, 0)], object)) == "1 of 2 values differ."
    assert difference(expected, np.array([png(10, 200, 0), b"text"], object)) == "2 of 2 values differ."
