"""What docs/serving.md says to run in other runtimes does, where they are installed (TFSMLayer: test_serving.py)."""

import importlib.util

import numpy as np
import pytest

from tests.helpers.portability import RUNTIMES, built, cells, working
from tests.helpers.rows import ROWS
from zoo.serving.checking.compare import difference
from zoo.serving.publishing.runtimes import RUNTIMES as RUNNERS
from zoo.serving.publishing.runtimes import TOLERANCE, requests_of

_FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}


def test_the_table_has_every_model_and_every_runtime():
    said = cells()
    assert {runtime for _, _, runtime in said} == set(RUNTIMES)
    assert {model for model, signature, _ in said if signature == "serving_default"} == set(ROWS)


# Of what others import and print, nothing is ours.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, signature, runtime", working("OpenVINO", "ONNX Runtime", "LiteRT"))
def test_what_the_table_says_to_work_does(name, signature, runtime, tmp_path):
    """`export` itself compares what the runtime gives with the model; LiteRT's own package has not TensorFlow's."""
    format, package = RUNTIMES[runtime]
    needed = [package, *(["tf2onnx"] if format == "onnx" else [])]
    for one in needed:
        if importlib.util.find_spec(one) is None:
            pytest.skip(f"{one} is not installed")
    model, path = built(name), tmp_path / _FILES[format]
    model.export(path, format=format, signature=signature)
    assert path.exists()
    function, specs = model.signatures()[signature]
    inputs, _ = requests_of(signature, specs, model.warmup() if hasattr(model, "warmup") else ())[0]
    if format == "litert":
        run_in_litert(function, inputs, path)
    else:
        # Convolutions are not made for it: OpenVINO's gave the rows of the request before.
        run = RUNNERS[format][1](path)
        some, none = run(inputs), run({key: array[:0] for key, array in inputs.items()})
        assert [array.shape for array in none.values()] == [(0, *array.shape[1:]) for array in some.values()]


def run_in_litert(function, inputs, path):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    found = run(**inputs)
    for key, expected in function(**inputs).items():
        assert difference(np.asarray(expected), found[key], TOLERANCE) is None
