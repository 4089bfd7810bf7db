"""What docs/serving.md says to run in other runtimes does, where they are installed (TFSMLayer: test_serving.py)."""

import importlib.util

import numpy as np
import pytest

from tests.conformance.portability import RUNTIMES, built, cells, working
from tests.conformance.rows import ROWS
from zoo.serving.checking.compare import difference
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
    if format == "litert":
        run_in_litert(model, signature, path)


def run_in_litert(model, signature, path):
    from ai_edge_litert.interpreter import Interpreter

    function, specs = model.signatures()[signature]
    run = Interpreter(str(path)).get_signature_runner()
    inputs, _ = requests_of(signature, specs, model.warmup() if hasattr(model, "warmup") else ())[0]
    found = run(**inputs)
    for key, expected in function(**inputs).items():
        assert difference(np.asarray(expected), found[key], TOLERANCE) is None
