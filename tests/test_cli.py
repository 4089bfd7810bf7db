"""The command line: exit codes, one line per fault, no traceback, no TensorFlow."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import cli
from zoo.serving import publish


class Points:
    def signatures(self):
        seed = {"seed": tf.TensorSpec((None,), "int64")}
        draw = lambda seed: {"points": tf.stack([tf.cast(seed, "float32")] * 2, axis=1)}  # noqa: E731
        words = lambda text: {"text": text, "raw_bytes": text}  # noqa: E731
        images = lambda seed: {"images": tf.zeros((tf.size(seed), 4, 4, 3))}  # noqa: E731
        text = {"text": tf.TensorSpec((None,), "string")}
        return {"serving_default": (draw, seed), "images": (images, seed), "words": (words, text)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    publish(Points(), base, "points", card={"figures": {"distance": np.float32(0.25), "label": "W2", "nested": [1]}})
    return base


def zoo(*arguments):
    process = subprocess.run([sys.executable, "-m", "zoo.cli", *map(str, arguments)], capture_output=True, text=True)
    assert "Traceback" not in process.stderr
    return process.returncode, process.stdout.strip(), process.stderr.strip()


def run(capsys, *arguments):
    """In this process, which is faster, where nothing is loaded by the C++ library."""
    with pytest.raises(SystemExit) as info:
        cli.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return info.value.code, output.out.strip(), output.err.strip()


def test_starts_without_tensorflow():
    code = "import sys, zoo.cli; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_check(base, tmp_path, capsys):
    version = base / "points" / "1"
    assert zoo("check", base) == (0, f"{version}: ok", "")
    broken = shutil.copytree(base, tmp_path / "base")
    (broken / "points" / "1" / "saved_model.pb").write_bytes(b"\xff")
    (broken / "points" / "old").mkdir()
    code, output, _ = run(capsys, "check", broken)
    assert code == 1 and len(output.splitlines()) == 2
    assert "passes over `old` in silence" in output and "saved_model.pb is damaged" in output
    (tmp_path / "empty").mkdir()
    code, output, _ = run(capsys, "check", tmp_path / "empty")
    assert code == 1 and "There is no model in" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere"], "error: There is no folder `nowhere`"),
        (["check", "."], None),
        (["list", "nowhere"], "error: There is no folder `nowhere`"),
        (["check", "{base}", "--rest", "localhost:1"], "error: --rest needs --target"),
        (["check", "{base}", "--target", "localhost"], "error: A server's address is host:port"),
        (["check", "{base}", "--target", "127.0.0.1:1"], "error: No gRPC server answers at 127.0.0.1:1"),
        (["predict", "{base}"], "error: No saved_model.pb in"),
        (["predict", "nowhere"], "error: No saved_model.pb in"),
        (["predict", "{base}/points", "--inputs", "[1]"], "error: --inputs must be a JSON object of inputs"),
        (["predict", "{base}/points", "--inputs", "{"], "error: --inputs must be a JSON object, such as"),
    ],
)
def test_usage_errors(base, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, output, error = run(capsys, *(argument.replace("{base}", str(base)) for argument in arguments))
    if words is None:
        assert code == 1
    else:
        assert code == 2 and error.startswith(words) and len(error.splitlines()) == 1


def test_unknown_commands_and_options(capsys):
    assert run(capsys, "chek")[0] == run(capsys, "check")[0] == run(capsys, "list", "--nowhere", "x")[0] == 2


def test_list(base, tmp_path, capsys):
    (head, line) = run(capsys, "list", base)[1].splitlines()
    assert re.split(r"  +", head) == ["model", "version", "signatures", "figures"]
    assert re.split(r"  +", line) == ["points", "1", "images serving_default words", "distance 0.25, label W2"]
    assert run(capsys, "list", tmp_path) == (0, f"There is no version in `{tmp_path}`.", "")


def test_predict(base, tmp_path):
    model = base / "points"
    inputs = '{"text": ["a", {"b64": "YWI="}]}'
    code, output, error = zoo("predict", model / "1", "--signature", "words", "--inputs", inputs)
    assert (code, error) == (0, "")
    assert json.loads(output) == {"text": ["a", "ab"], "raw_bytes": [{"b64": "YQ=="}, {"b64": "YWI="}]}
    png = tmp_path / "points.png"
    code, output, _ = zoo("predict", model, "--inputs", '{"seed": [0, 3]}', "--png", png)
    assert code == 0 and "2 samples of signature serving_default" in output
    with Image.open(png) as image:
        assert image.size == (512, 512)
    code, _, error = zoo("predict", model, "--inputs", '{"sed": [0]}')
    assert code == 2 and error.startswith("error: Signature `serving_default` takes the inputs `seed`. Received: `sed`")
    code, _, error = zoo("predict", model, "--signature", "unknown", "--png", tmp_path / "none.png")
    assert code == 2 and error.startswith("error: No signature `unknown`")
    code, _, error = zoo("predict", model, "--signature", "words", "--inputs", inputs, "--png", tmp_path / "none.png")
    assert code == 2 and error.startswith("error: Only `images` and `points` can be drawn. Received: raw_bytes, text")
    assert [path.name for path in tmp_path.iterdir()] == ["points.png"]


@pytest.mark.parametrize(("signature", "size"), [("images", (8 * 86 + 2, 8 * 86 + 2)), ("serving_default", (512, 512))])
def test_predict_draws_without_python_tensorflow(base, tmp_path, signature, size):
    """The proof that `make demo` speaks of: all that ran in the process, and what it imported."""
    code = """
import sys
from zoo import cli
try:
    cli.main(sys.argv[1:])
finally:
    assert not {"tensorflow", "keras"} & {name.partition(".")[0] for name in sys.modules}
"""
    inputs = json.dumps({"seed": list(range(60))})
    arguments = ["predict", base / "points", "--signature", signature, "--inputs", inputs, "--png", "out.png"]
    process = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == "" and f"60 samples of signature {signature}" in process.stdout
    with Image.open(tmp_path / "out.png") as image:
        assert np.abs(np.subtract(image.size, size)).max() <= 8
