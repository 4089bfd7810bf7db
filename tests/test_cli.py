"""The command line: exit codes, one line per fault, no traceback, no TensorFlow."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from recipes.__main__ import main as recipes_main
from zoo import cli, launch
from zoo.pictures_of_detections import colour_of
from zoo.runs.folder import read_json
from zoo.serving import publish
from zoo.serving.formats.model_card import load_card, read_card
from zoo.serving.server.configuration import describe_empty


class Points:
    def signatures(self):
        seed = {"seed": tf.TensorSpec((None,), "int64")}
        draw = lambda seed: {"points": tf.stack([tf.cast(seed, "float32")] * 2, axis=1)}  # noqa: E731
        words = lambda text: {"text": text, "raw_bytes": text}  # noqa: E731
        images = lambda seed: {"images": tf.zeros((tf.size(seed), 4, 4, 3))}  # noqa: E731
        text = {"text": tf.TensorSpec((None,), "string")}
        negative = lambda image_bytes: {"image_bytes": tf.map_fn(negative_of, image_bytes)}  # noqa: E731
        files = {"image_bytes": tf.TensorSpec((None,), "string")}
        served = {"serving_default": (draw, seed), "images": (images, seed), "words": (words, text)}
        return {**served, "negative": (negative, files)}

    def warmup(self):
        return [("negative", {"image_bytes": np.array([png_of(0), png_of(9)], dtype=object)})]


class Finder:
    """Finds the same three objects in each photo; the second is one to doubt, the third is padding."""

    def signatures(self):
        files, pixels = tf.TensorSpec((None,), "string"), tf.TensorSpec((None, None, None, 3), "uint8")
        return {
            "serving_default": (lambda images: self.found(tf.shape(images)[0]), {"images": pixels}),
            "from_bytes": (lambda image_bytes: self.found(tf.size(image_bytes)), {"image_bytes": files}),
        }

    def found(self, number):
        one = {
            "boxes": [[20.0, 40.0, 120.0, 90.0], [150.0, 10.0, 190.0, 50.0], [0.0] * 4],
            "classes": [1, 0, -1],
            "scores": [0.9, 0.3, 0.0],
            "masks": np.ones((3, 28, 28), "float32"),
        }
        return {name: tf.repeat(tf.constant(value)[None], number, 0) for name, value in one.items()}

    def warmup(self):
        pixels = np.zeros((1, 8, 8, 3), "uint8")
        files = np.array([png_of(0)], dtype=object)
        return [("serving_default", {"images": pixels}), ("from_bytes", {"image_bytes": files})]


class Labeller:
    """On a canvas of 16 x 16, a photo is 8 x 16, sky over a car, beside void; pixels are labelled as they are."""

    def signatures(self):
        files, pixels = tf.TensorSpec((None,), "string"), tf.TensorSpec((None, None, None, 3), "uint8")
        return {
            "serving_default": (lambda images: {"labels": images[..., 0]}, {"images": pixels}),
            "from_bytes": (lambda image_bytes: self.found(tf.size(image_bytes)), {"image_bytes": files}),
        }

    def found(self, number):
        labels = np.full((1, 16, 16), 255, "uint8")
        labels[:, :4], labels[:, 4:8] = 0, 2
        one = {"labels": labels, "sizes": np.array([[8, 16]], "int32")}
        return {name: tf.repeat(tf.constant(value), number, 0) for name, value in one.items()}

    def warmup(self):
        pixels, files = np.zeros((1, 8, 8, 3), "uint8"), np.array([png_of(0)], dtype=object)
        return [("serving_default", {"images": pixels}), ("from_bytes", {"image_bytes": files})]


def png_of(level):
    return tf.io.encode_png(tf.fill((2, 3, 1), tf.constant(level, tf.uint8))).numpy()


def negative_of(file):
    return tf.io.encode_png(255 - tf.io.decode_image(file, channels=1, expand_animations=False))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    publish(Points(), base, "points", card={"figures": {"distance": np.float32(0.25), "label": "W2", "nested": [1]}})
    return base


def zoo(*arguments):
    process = subprocess.run([sys.executable, "-m", "zoo.cli", *map(str, arguments)], capture_output=True, text=True)
    assert "Traceback" not in process.stderr
    return process.returncode, process.stdout.strip(), process.stderr.strip()


# Reads command lines, one a line, and answers each: exit code, output, errors.
MANY = """
import contextlib, io, json, sys
from zoo import cli
for line in sys.stdin:
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            cli.main(json.loads(line))
        except SystemExit as ended:
            code = ended.code
    assert not {"tensorflow", "keras"} & {name.partition(".")[0] for name in sys.modules}
    print(json.dumps([code, output.getvalue().strip(), errors.getvalue().strip()]), flush=True)
"""


@pytest.fixture(scope="module")
def native():
    """`zoo` for many commands: one process loads the C++ library, without Python TensorFlow, for all of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def run_in_it(*arguments):
        process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, process.stderr.read()
        return tuple(json.loads(answer))

    yield run_in_it
    # What the library or an error would say past the answers.
    assert process.communicate()[1] == "" and process.returncode == 0


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
        (["check", "{base}", "--target", "http://localhost:8500"], "error: A server's address is host:port, such as"),
        (["predict", "{base}/points", "--png", "a.txt"], "error: `--png` must be a file ending in .png. Received: a."),
        (["predict", "{base}/points", "--png", "."], "error: `--png` must be a file ending in .png. Received: ."),
        (["predict", "{base}/points", "--png", "/dev/null/a.png"], "error: [Errno "),
        (["predict", "nowhere"], "error: No saved_model.pb in"),
        (["predict", "{base}/points", "--inputs", "[1]"], "error: --inputs must be a JSON object of inputs"),
        (["predict", "{base}/points", "--inputs", "{"], "error: --inputs must be a JSON object, such as"),
        (["predict", "{base}/points", "--inputs", 50_000 * "["], "error: --inputs must be a JSON object, such as"),
    ],
)
def test_usage_errors(base, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, output, error = run(capsys, *(argument.replace("{base}", str(base)) for argument in arguments))
    if words is None:
        assert code == 1
    else:
        assert code == 2 and error.startswith(words) and len(error.splitlines()) == 1


def test_python_m_zoo_is_zoo():
    process = subprocess.run([sys.executable, "-m", "zoo", "list", "nowhere"], capture_output=True, text=True)
    assert (process.returncode, process.stderr[:35]) == (2, "error: There is no folder `nowhere`")


def test_python_m_recipes_lists_them(capsys):
    assert recipes_main([]) == 0
    assert "python -m recipes.wgan_gp       WGAN-GP on images or points." in capsys.readouterr().out.splitlines()
    assert recipes_main(["wgan_pg", "--epochs", "1"]) == 2
    assert "no recipe 'wgan_pg'. Did you mean `python -m recipes.wgan_gp --epochs 1`?" in capsys.readouterr().err


def test_the_demonstration_takes_no_options():
    process = subprocess.run([sys.executable, "-m", "recipes.demo", "--epochs", "1"], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr.startswith("recipes.demo takes no options. Received: --epochs 1. Use `python -m recipes.wgan")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpus-per-worker", "-1", "-m", "this"], "--gpus-per-worker must be at least 1. Received: -1."),
        (["--gpus-per-worker", "0", "-m", "this"], "--gpus-per-worker must be at least 1. Received: 0."),
        (["recipes.gan"], "there is no file `recipes.gan`. A module needs -m: `--workers 2 -m recipes.gan`."),
        (["missing.py"], "there is no file `missing.py`."),
    ],
)
def test_usage_errors_of_launch(capsys, arguments, words):
    with pytest.raises(SystemExit, match="2"):
        launch.main(["--workers", "2", *arguments])
    assert capsys.readouterr().err.endswith(f"error: {words}\n")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--port", "99999", "`--port` must be 0 to 65535. Received: 99999."),
        ("--port", "-1", "`--port` must be 0 to 65535. Received: -1."),
        ("--rest-api-port", "99999", "`--rest-api-port` must be 0 to 65535. Received: 99999."),
        ("--port", "8501", "`--port` and `--rest-api-port` must differ. Received: 8501 twice."),
        ("--max-request-mb", "0", "`--max-request-mb` must be 1 to 2047. Received: 0."),
        ("--rest-api-timeout-in-ms", "0", "`--rest-api-timeout-in-ms` must be 1 to 86400000. Received: 0."),
        ("--grace-seconds", "-1", "`--grace-seconds` must be 0 to 86400. Received: -1.0."),
        ("--grace-seconds", "nan", "`--grace-seconds` must be 0 to 86400. Received: nan."),
        (
            "--file-system-poll-wait-seconds",
            "-1",
            "`--file-system-poll-wait-seconds` must be 0 to 86400. Received: -1.0.",
        ),
        ("--host", "no.invalid", "`--host` must be an address of this machine. Received: no.invalid."),
    ],
)
def test_usage_errors_of_serve(base, capsys, option, value, words):
    assert run(capsys, "serve", base, option, value) == (2, "", f"error: {words}")


def test_unknown_commands_and_options(capsys):
    assert run(capsys, "chek")[0] == run(capsys, "check")[0] == run(capsys, "list", "--nowhere", "x")[0] == 2
    assert "xml" in run(capsys, "serve", "--log-format", "xml")[2]


def test_base_directory_in_place_of_a_model_and_the_other_way_round(base, tmp_path, monkeypatch, capsys):
    assert f"Did you mean `{base / 'points' / '1'}`?" in run(capsys, "predict", base)[2]
    monkeypatch.chdir(base.parent)
    for kind, path in {"model": "points", "version": "points/1"}.items():
        words = f"is the folder of one {kind}. Expected the base directory around it: `zoo serve {base.name}`.$"
        with pytest.raises(ValueError, match=words):
            describe_empty(Path(base.name) / path)
    assert describe_empty(tmp_path) == f"no model found in `{tmp_path}`; publish one as {tmp_path}/<name>/<version>/"
    assert describe_empty(base) is None


def test_documents_of_strangers_without_end_are_damaged(tmp_path):
    """Lists in lists without end: Python's parser gives up with a RecursionError, which is no ValueError."""
    path = tmp_path / "1" / "assets.extra" / "model_card.json"
    path.parent.mkdir(parents=True)
    for name in (path, tmp_path / "config.json"):
        name.write_text(100_000 * "[")
    assert read_card(tmp_path / "1") == {}
    with pytest.raises(ValueError, match="The model card is no JSON"):
        load_card(tmp_path / "1")
    with pytest.raises(ValueError, match="config.json is damaged: .* Restore it, or give another `--out`"):
        read_json(tmp_path / "config.json")


def test_list(base, tmp_path, capsys):
    (head, line) = run(capsys, "list", base)[1].splitlines()
    assert re.split(r"  +", head) == ["model", "version", "signatures", "figures"]
    assert re.split(r"  +", line) == ["points", "1", "images negative serving_default words", "distance 0.25, label W2"]
    assert run(capsys, "list", tmp_path) == (0, f"There is no version in `{tmp_path}`.", "")


def test_predict(base, tmp_path, native):
    model = base / "points"
    inputs = '{"text": ["a", {"b64": "YWI="}]}'
    code, output, error = native("predict", model / "1", "--signature", "words", "--inputs", inputs)
    assert (code, error) == (0, "")
    assert json.loads(output) == {"text": ["a", "ab"], "raw_bytes": [{"b64": "YQ=="}, {"b64": "YWI="}]}
    png = tmp_path / "points.png"
    code, output, _ = native("predict", model, "--inputs", '{"seed": [0, 3]}', "--png", png)
    assert code == 0 and "2 samples of signature serving_default" in output
    with Image.open(png) as image:
        assert image.size == (512, 512)
    code, _, error = native("predict", model, "--inputs", '{"seed": ["a"]}')
    words = "error: Input `seed` of `serving_default` must be int64. Received: ['a']. Give whole numbers"
    assert code == 2 and error.startswith(words)
    code, _, error = native("predict", model, "--inputs", '{"sed": [0]}')
    assert code == 2 and error.startswith("error: Signature `serving_default` takes the inputs `seed`. Received: `sed`")
    code, _, error = native("predict", model, "--signature", "unknown", "--png", tmp_path / "none.png")
    assert code == 2 and error.startswith("error: No signature `unknown`")
    code, _, error = native(
        "predict", model, "--signature", "words", "--inputs", inputs, "--png", tmp_path / "none.png"
    )
    assert code == 2 and error.startswith("error: Only `images` and `points` can be drawn, and `boxes` with ")
    assert error.endswith("Received: raw_bytes, text.")
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


def test_predict_takes_files_and_writes_those_it_gets(base, tmp_path, native):
    paths = [tmp_path / f"{level}.png" for level in (5, 200)]
    for path in paths:
        path.write_bytes(png_of(int(path.stem)))
    ask = ["predict", base / "points", "--signature", "negative", "--png", tmp_path / "out.png", "--files"]
    code, output, _ = native(*ask, paths[0])
    assert (code, output) == (0, f"Wrote {tmp_path / 'out.png'}.")
    code, output, _ = native(*ask, *paths)
    assert code == 0 and output.endswith("out-1.png.")
    for name, level in (("out", 250), ("out-0", 250), ("out-1", 55)):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.size == (3, 2) and image.getpixel((0, 0)) == level
    code, _, error = native("predict", base / "points", "--files", paths[0])
    assert code == 2 and "`--files` needs a signature with one input whose name ends in _bytes" in error
    code, _, error = native(*ask, tmp_path / "none.png")
    assert code == 2 and "none.png" in error


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    base = tmp_path_factory.mktemp("finders")
    publish(Finder(), base, "finder", card={"classes": ["cup", "spoon"]})
    return base / "finder"


@pytest.fixture(scope="module")
def labeller(tmp_path_factory):
    base = tmp_path_factory.mktemp("labellers")
    publish(Labeller(), base, "labeller", card={"classes": ["sky", "road", "car"]})
    return base / "labeller"


def photo_in(folder, name="photo.jpg"):
    Image.new("RGB", (200, 100), (128, 128, 128)).save(folder / name)
    return folder / name


def draw_without_python_tensorflow(export, folder):
    """What `zoo predict` says that draws into a photo in a folder, and imports neither TensorFlow nor matplotlib."""
    code = """
import sys
from zoo import cli
try:
    cli.main(sys.argv[1:])
finally:
    assert not {"tensorflow", "keras", "matplotlib"} & {name.partition(".")[0] for name in sys.modules}
"""
    arguments = ["predict", export, "--signature", "from_bytes", "--files", photo_in(folder), "--png", "out.png"]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=folder, capture_output=True, text=True
    )


def test_predict_draws_what_was_found_into_photos_without_python_tensorflow(finder, tmp_path):
    process = draw_without_python_tensorflow(finder, tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.strip() == "Wrote out.png: 1 objects with a score of 0.5 or more."
    picture = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert picture.shape == (100, 200, 3)
    changed = np.abs(picture - 128).max(-1) > 20
    # The whole box and the name above it, and nothing of the second.
    assert changed[41:89, 21:119].all() and changed[26:40, 20:60].all()
    assert not changed[91:].any() and not changed[:, 121:].any() and not changed[:20].any()


def test_predict_draws_all_photos_to_a_threshold(finder, tmp_path, native):
    photos = [photo_in(tmp_path, name) for name in ("a.png", "b.bmp")]
    arguments = ["--signature", "from_bytes", "--threshold", "0.2", "--png", tmp_path / "out.png", "--files", *photos]
    code, output, error = native("predict", finder, *arguments)
    assert (code, error) == (0, "")
    assert output.endswith("out-1.png: 2, 2 objects with a score of 0.2 or more.")
    for number in range(2):
        with Image.open(tmp_path / f"out-{number}.png") as image:
            pixels = np.asarray(image).astype(int)
            assert (np.abs(pixels[15:45, 155:185] - 128).max(-1) > 20).all()


def test_predict_draws_into_pixels_too(finder, tmp_path, native):
    inputs = json.dumps({"images": np.zeros((1, 32, 64, 3), int).tolist()})
    code, output, _ = native("predict", finder, "--inputs", inputs, "--png", tmp_path / "out.png")
    assert code == 0 and output.endswith("out.png: 1 objects with a score of 0.5 or more.")


@pytest.mark.parametrize("threshold", ["-0.1", "1.5", "nan"])
def test_a_threshold_is_a_score(finder, capsys, threshold):
    code, _, error = run(capsys, "predict", finder, "--threshold", threshold)
    assert code == 2 and error.startswith("error: `--threshold` must be a score from 0 to 1. Received: ")


def test_predict_draws_classes_over_photos_without_python_tensorflow(labeller, tmp_path):
    """A photo of 100 x 200: sky in its upper half, a car in its lower one, and the two in a legend below."""
    process = draw_without_python_tensorflow(labeller, tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.strip() == "Wrote out.png: classes sky, car."
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    assert picture.shape[0] > 100 and picture.shape[1:] == (200, 3)
    colours = [np.array(colour_of(number)) for number in (0, 2)]
    for rows, colour in zip((slice(0, 49), slice(51, 100)), colours, strict=True):
        # 45 % of the colour over grey; the photo is a JPEG.
        np.testing.assert_allclose(picture[rows], np.broadcast_to(0.55 * 128 + 0.45 * colour, (49, 200, 3)), atol=2)
    assert (picture[49] == colours[0]).all() and (picture[50] == colours[1]).all()
    assert all((picture[100:] == colour).all(-1).any() for colour in colours)


def test_predict_draws_classes_over_pixels_too(labeller, tmp_path, native):
    inputs = json.dumps({"images": np.tile([[[[0]], [[1]]]], (2, 1, 128, 3)).tolist()})
    code, output, error = native("predict", labeller, "--inputs", inputs, "--png", tmp_path / "out.png")
    assert (code, error) == (0, "") and output.endswith("out-1.png: classes sky, road; sky, road.")
    with Image.open(tmp_path / "out-1.png") as image:
        # Two rows of 128 pixels, enlarged twice, and the legend.
        assert image.width == 256 and image.height > 4
