"""The Python-free loader: the same numbers as in memory, every dtype, clear errors, freed memory."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.seeds import seed
from zoo.serving import SavedModel, run_native, write
from zoo.serving.formats.dtypes import DTYPES as NUMBERED
from zoo.serving.loader import isolated

DTYPES = "float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A generator with latents, seeds, points and an echo of every dtype, and the functions it was made from."""
    seed()
    generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(48, "tanh"), keras.layers.Reshape((4, 4, 3))])

    def images(latents):
        return {"images": generator(latents, training=False)}

    def latents(seed):
        return tf.map_fn(
            lambda s: tf.random.stateless_normal([8], tf.stack([s, tf.zeros_like(s)]), alg="philox"),
            seed,
            fn_output_signature=tf.float32,
        )

    signatures = {
        "serving_default": (images, {"latents": tf.TensorSpec((None, 8))}),
        "sample": (lambda seed: images(latents(seed)), {"seed": tf.TensorSpec((None,), "int64")}),
        "plane": (lambda seed: {"points": latents(seed)[:, :2]}, {"seed": tf.TensorSpec((None,), "int64")}),
        "echo": (lambda **x: x, {f"as_{name}": tf.TensorSpec((None, 2), name) for name in DTYPES}),
        "shout": (
            lambda text: {"text": tf.strings.upper(text), "same": text, "length": tf.strings.length(text)},
            {"text": tf.TensorSpec((None, None), "string")},
        ),
    }
    return write(signatures, tmp_path_factory.mktemp("base") / "model" / "1", track=[generator]), signatures


def script(code, *arguments):
    """Run Python code in a fresh process, and return what it prints as JSON."""
    process = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""  # TensorFlow's C++ logging is silent
    return json.loads(process.stdout)


def test_equals_memory(export):
    path, signatures = export
    latents = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    requests = [
        ("serving_default", {"latents": latents}),
        ("sample", {"seed": np.array([3, -1, 2**40])}),
        ("sample", {"seed": np.zeros(0, "int64")}),
    ]
    described, results = isolated.run_all(path, requests)
    assert results.pop()["images"].shape == (0, 4, 4, 3)
    for (name, inputs), result in zip(requests[:2], results, strict=True):
        expected = signatures[name][0](**{key: tf.constant(value) for key, value in inputs.items()})
        np.testing.assert_allclose(result["images"], expected["images"], rtol=1e-6, atol=1e-6)
    assert list(described) == ["echo", "plane", "sample", "serving_default", "shout"]
    assert described["sample"] == {
        "inputs": {"seed": ("int64", (None,))},
        "outputs": {"images": ("float32", (None, 4, 4, 3))},
    }
    assert described["shout"]["inputs"] == {"text": ("string", (None, None))}


def test_every_dtype_survives(export):
    inputs = {f"as_{name}": np.array([[0, 1], [1, 100]]).astype(name) for name in DTYPES}
    inputs["as_float32"] = np.asfortranarray([[np.nan, -np.inf], [1e-45, -0.0]], dtype="float32")  # rows not contiguous
    for name, array in run_native(export[0], "echo", inputs).items():
        assert array.dtype == inputs[name].dtype
        np.testing.assert_array_equal(array, inputs[name])


def test_strings(export):
    text = [["a", "schön"], ["", "x" * 100], [b"\x00\xff", "nul\0inside"]]  # short, long, empty, no UTF-8
    result = run_native(export[0], "shout", {"text": text})
    expected = [[item.encode() if isinstance(item, str) else item for item in row] for row in text]
    assert result["same"].tolist() == expected
    assert result["text"][1, 1] == b"X" * 100
    assert result["length"].tolist() == [[1, 6], [0, 100], [2, 10]]


def test_lists_and_arrays_of_text(export):
    texts = ([["hi"]], np.array([["hi"]]), np.array([[b"hi"]]), np.array([["hi"]], dtype=object))
    requests = [("sample", {"seed": [1, 2]}), *(("shout", {"text": text}) for text in texts)]
    _, (sample, *shouts) = isolated.run_all(export[0], requests)
    assert sample["images"].shape == (2, 4, 4, 3)
    assert all(shout["text"].tolist() == [[b"HI"]] for shout in shouts)


def test_errors_say_what_was_expected_and_received(export):
    latents = np.zeros((2, 8), "float32")
    wrong = {
        "it has: `echo`, `plane`, `sample`": ("smaple", {"seed": [0]}),
        "missing: `latents`; unexpected: none": ("serving_default", {}),
        "missing: none; unexpected: `z`": ("serving_default", {"latents": latents, "z": latents}),
        "must be float32. received: float64. convert": ("serving_default", {"latents": latents.astype(float)}),
        "must be int64. received: float64": ("sample", {"seed": [1.5]}),
        "must be int64. received:": ("sample", {"seed": [2**70]}),
        "must have shape (none, 8), where none is any size. received: shape (2, 7)": (
            "serving_default",
            {"latents": latents[:, 1:]},
        ),
        "received: shape ().": ("sample", {"seed": np.int64(3)}),
        "must hold str or bytes. received: `int`": ("shout", {"text": [[1]]}),
    }
    _, results = isolated.run_all(export[0], list(wrong.values()))
    for words, result in zip(wrong, results, strict=True):
        assert isinstance(result, KeyError | ValueError), words
        assert words in str(result).lower()


def test_wrong_paths(export, tmp_path):
    with pytest.raises(FileNotFoundError, match="Did you mean .*model/1"):
        run_native(export[0].parent, "sample", {"seed": [0]})
    (tmp_path / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(ValueError, match="C\\+\\+ loader refused"):
        run_native(tmp_path, "sample", {"seed": [0]})


def test_refuses_a_process_with_tensorflow(export):
    with pytest.raises(RuntimeError, match="run_native"):
        SavedModel(export[0])


def test_finding_the_library_does_not_import_tensorflow():
    code = """
import json, sys
from zoo.serving.loader.library import library_path
print(json.dumps([library_path().name, "tensorflow" in sys.modules]))
"""
    name, imported = script(code)
    assert name.startswith("libtensorflow_cc") and not imported


@pytest.mark.exhaustive
def test_threads_agree_and_memory_is_freed(export):
    code = """
import concurrent.futures, json, resource, sys
import numpy as np
from zoo.serving import SavedModel

def peak():  # MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

with SavedModel(sys.argv[1]) as model:
    latents = np.random.default_rng(0).standard_normal((32, 8)).astype("float32")
    alone = model.run("serving_default", latents=latents)["images"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: model.run("serving_default", latents=latents)["images"], range(64)))
    same = all(np.array_equal(alone, run) for run in runs)
    large = np.zeros((100_000, 8), "float32")
    text = [["x" * 2_000_000]]
    for step in range(40):
        model.run("serving_default", latents=large)
        model.run("shout", text=text)
        if step == 9:
            before = peak()
    grown = peak() - before
try:
    model.run("sample", seed=[0])
except RuntimeError as error:
    closed = str(error)
model = SavedModel(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(4) as pool:  # closing waits for what runs
    running = [pool.submit(model.run, "serving_default", latents=large) for _ in range(8)]
    while not any(run.running() for run in running):
        pass
    model.close()
results = [run.exception() or run.result()["images"].shape for run in running]
answered = sum(result == (100_000, 4, 4, 3) for result in results)
refused = sum("is closed" in str(result) for result in results)
before = peak()
for _ in range(5):
    SavedModel(sys.argv[1]).run("sample", seed=[0])
print(json.dumps([same, grown, peak() - before, closed, answered, refused]))
"""
    same, grown_by_runs, grown_by_loads, closed, answered, refused = script(code, export[0])
    assert answered > 0 and answered + refused == 8
    assert same
    assert grown_by_runs < 40  # 30 leaked outputs would be 550 MiB, 30 leaked texts 60 MiB
    assert grown_by_loads < 40
    assert "is closed" in closed


def test_a_crash_is_reported(monkeypatch, export):
    monkeypatch.setattr(isolated, "__file__", os.devnull)  # a child that answers nothing
    with pytest.raises(RuntimeError, match="gave no answer"):
        run_native(export[0], "sample", {"seed": [0]})


def test_dtype_table_agrees_with_tensorflow():
    for code, name in NUMBERED.items():
        assert tf.dtypes.as_dtype(code) == tf.dtypes.as_dtype(name)
