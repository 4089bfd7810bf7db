"""The table of docs/serving.md that says which signature runs in which runtime, and what it is tried with."""

import re
from pathlib import Path

import numpy as np

from tests.helpers.rows import ROWS
from zoo import FCN

_LINES = Path(__file__).parents[2].joinpath("docs/serving.md").read_text(encoding="utf-8").splitlines()
# {heading of a column: (format of `export`, package that runs it)}
RUNTIMES = {
    "TFSMLayer": (None, "keras"),
    "OpenVINO": ("openvino", "openvino"),
    "ONNX Runtime": ("onnx", "onnxruntime"),
    "LiteRT": ("litert", "ai_edge_litert"),
}


def cells():
    """{(model, signature, runtime): what the table says}."""
    start = next(number for number, line in enumerate(_LINES) if line.startswith("| export |"))
    runtimes = [name.strip() for name in _LINES[start].split("|")[2:-1]]
    found = {}
    for line in _LINES[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *said = (cell.strip() for cell in line.split("|")[1:-1])
        model, signature = (*re.findall(r"`(\w+)`", first), "serving_default")[:2]
        found |= {(model, signature, runtime): one for runtime, one in zip(runtimes, said, strict=True)}
    return found


def working(*runtimes):
    """(model, signature, runtime) of the cells that say that it works, of these columns."""
    return [key for key, said in cells().items() if said == "works" and key[2] in runtimes]


def built(name):
    """A model of the table, whose answers differ from pixel to pixel."""
    model = ROWS[name].build()
    if isinstance(model, FCN):  # All scores begin at 0.
        rng = np.random.default_rng(0)
        model.head.set_weights([rng.normal(size=weight.shape) for weight in model.head.get_weights()])
    return model
