"""The command line of Zoo: list, check, run and serve exports, without Python TensorFlow or Keras."""

import io
import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Union

import tyro

from zoo.files import write_bytes
from zoo.serving.checking import conformance, protocol
from zoo.serving.formats.folders import find_all, find_versions, is_a_version
from zoo.serving.formats.json_tensors import from_json, to_json
from zoo.serving.formats.model_card import load_card, read_card
from zoo.serving.loader.native import SavedModel
from zoo.serving.server.options import Options

# What tells that a signature finds objects.
_FOUND = ("boxes", "classes", "scores", "masks")


@dataclass(frozen=True)
class List:
    """Lists the models of a base directory: versions, signatures and figures, from the model cards."""

    exports: tyro.conf.Positional[Path] = Path("exports")
    """Model base directory."""


@dataclass(frozen=True)
class Check:
    """Checks what TF Serving would refuse or answer wrongly; exit code 1 if there is any such fault."""

    path: tyro.conf.Positional[Path]
    """Base directory, a model's folder, or a version."""
    target: str | None = None
    """host:port of the gRPC API of a running server to check against these exports too."""
    rest: str | None = None
    """host:port of its REST API; None for the same host and the next port."""


@dataclass(frozen=True)
class Predict:
    """Runs one signature of an export in TensorFlow's C++ library, and prints its outputs as JSON."""

    path: tyro.conf.Positional[Path]
    """Version, or a model's folder for its newest version."""
    signature: str = "serving_default"
    """Name of the signature."""
    inputs: str = "{}"
    """JSON object of the inputs, such as {"seed": [0, 1]}; bytes are {"b64": "..."}."""
    files: tuple[Path, ...] = ()
    """Files for the one input whose name ends in _bytes, such as photos."""
    png: Path | None = None
    """File to draw `images` or `points` into instead; pictures that come as files are kept as they are. Where `boxes`
    or `labels` of pixels come, the photos that were given are drawn with what was found in them."""
    threshold: float = 0.5
    """Lowest score of an object that is drawn into a photo."""


def list_exports(options):
    """Prints a table of the versions in a base directory.

    Args:
        options: A `List`.

    Returns:
        Exit code.
    """
    if not options.exports.is_dir():
        raise FileNotFoundError(f"There is no folder `{options.exports}`. Give a model base directory.")
    rows = [("model", "version", "signatures", "figures")]
    for version in find_all(options.exports):
        rows.append((version.resolve().parent.name, version.name, *_describe(version)))
    if len(rows) == 1:
        print(f"There is no version in `{options.exports}`.")
        return 0
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())
    return 0


def check(options):
    """Prints `ok` or the faults of each version.

    Args:
        options: A `Check`.

    Returns:
        Exit code: 1 if there is a fault.
    """
    if options.rest and not options.target:
        raise ValueError("--rest needs --target: the server's gRPC API is checked too.")
    served = protocol.check_server(options.path, options.target, options.rest) if options.target else {}
    found = conformance.check_all(options.path)
    for folder, problems in served.items():
        key = next((path for path in found if path.resolve() == folder), folder)
        found[key] = [*found.get(key, []), *problems]
    for path, problems in found.items():
        if not problems:
            print(f"{path}: ok")
        for problem in problems:
            print(f"{path}: {problem}")
    if not found:
        print(f"{options.path}: There is no version in it, so TF Serving would have nothing to serve; publish one.")
    return 1 if any(found.values()) or not found else 0


def predict(options):
    """Prints the outputs of a signature as JSON, or draws them.

    Args:
        options: A `Predict`.

    Returns:
        Exit code.
    """
    inputs, files = _read_inputs(options.inputs), [path.read_bytes() for path in options.files]
    if options.png:
        if options.png.suffix.lower() != ".png" or options.png.is_dir():
            raise ValueError(f"`--png` must be a file ending in .png. Received: {options.png}.")
        options.png.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is found before it runs
    if not 0 <= options.threshold <= 1:
        raise ValueError(f"`--threshold` must be a score from 0 to 1. Received: {options.threshold}.")
    path = options.path
    if path.is_dir() and not is_a_version(path) and find_versions(path):
        path = find_versions(path)[-1]
    with SavedModel(path) as model:
        if files:
            inputs[_input_of_files(options.signature, model.signatures)] = files
        outputs = model.predict(options.signature, inputs)
    if options.png is None:
        print(json.dumps({key: _readable(key, array) for key, array in outputs.items()}))
        return 0
    if outputs.keys() >= {*_FOUND}:
        return _draw_found(inputs, outputs, read_card(path).get("classes"), options)
    if "labels" in outputs and outputs["labels"].ndim == 3:
        return _draw_labels(inputs, outputs, read_card(path).get("classes"), options)
    from zoo import pictures  # Pillow, which the other commands do without

    samples = outputs.get("images", outputs.get("points"))
    if samples is None and "image_bytes" in outputs:
        return _write_files(outputs["image_bytes"], options.png)
    if samples is None:
        raise ValueError(
            "Only `images` and `points` can be drawn, and `boxes` with `classes`, `scores` and `masks`, or `labels` of "
            f"pixels. Received: {', '.join(sorted(outputs))}."
        )
    pictures.save(pictures.draw(samples), options.png)
    print(f"Wrote {options.png}: {len(samples)} samples of signature {options.signature} of {path}.")
    return 0


def serve(options):
    """Serves a base directory until SIGTERM or Ctrl-C.

    Args:
        options: An `Options` of the development server.
    """
    from zoo.serving.server import run  # web and gRPC servers, which the other commands do without

    run.main(options)


# Name, options and function of each command.
COMMANDS = {
    "list": (List, list_exports),
    "check": (Check, check),
    "predict": (Predict, predict),
    "serve": (Options, serve),
}


def main(arguments=None):
    """Parses the command line and runs a command; what a user can mend ends in one line and exit code 2.

    Args:
        arguments: Command line; None for that of the process.

    Raises:
        SystemExit: Always: 0 if all is well, 1 if `check` found a fault, 2 if the command could not be carried out.
    """
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name=name)] for name, (kind, _) in COMMANDS.items())
    options = tyro.cli(Union[kinds], prog="zoo", description=__doc__, args=arguments)  # noqa: UP007
    run = next(function for kind, function in COMMANDS.values() if type(options) is kind)
    try:
        raise SystemExit(run(options) or 0)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        if os.environ.get("ZOO_TRACEBACK"):
            traceback.print_exc()
        text = str(error.args[0] if isinstance(error, KeyError) else error).strip().splitlines()[0]
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(2) from None


def _describe(version):
    try:
        card = load_card(version)
    except ValueError as error:
        return "-", str(error).partition(",")[0]
    figures = card.get("figures")
    figures = figures.items() if isinstance(figures, dict) else ()
    shown = [f"{key} {_short(value)}" for key, value in figures if isinstance(value, int | float | str)]
    return " ".join(sorted(card.get("signatures") or ())) or "-", ", ".join(shown) or "-"


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read_inputs(text):
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--inputs must be a JSON object, such as '{{\"seed\": [0, 1]}}'. {error}.") from None
    if not isinstance(inputs, dict):
        raise ValueError(f"--inputs must be a JSON object of inputs. Received: {type(inputs).__name__}.")
    return {key: from_json(value) for key, value in inputs.items()}


def _input_of_files(signature, signatures):
    """The name of the input that takes files."""
    inputs = signatures.get(signature, {}).get("inputs", {})
    found = [name for name, (dtype, _) in inputs.items() if dtype == "string" and name.endswith("_bytes")]
    if len(found) != 1:
        raise ValueError(
            f"`--files` needs a signature with one input whose name ends in _bytes. Received: signature {signature} "
            f"with {', '.join(inputs) or 'none'}. There are: {', '.join(sorted(signatures))}."
        )
    return found[0]


def _write_files(contents, path):
    """Writes PNG files as they came: one to a path, several with their numbers before its ending."""
    paths = _numbered(path, len(contents))
    for one, content in zip(paths, contents, strict=True):
        write_bytes(one, content)
    print(f"Wrote {', '.join(map(str, paths))}.")
    return 0


def _numbered(path, count):
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{number}") for number in range(count)]


def _draw_found(inputs, found, names, options):
    """Draws what was found into the photos that were given: one to a path, several as `_write_files` does."""
    from zoo.pictures import save
    from zoo.pictures_of_detections import draw_detections

    photos, scores = _photos_in(inputs, len(found["scores"])), found["scores"]
    paths = _numbered(options.png, len(photos))
    for row, (photo, path) in enumerate(zip(photos, paths, strict=True)):
        one = {name: found[name][row] for name in _FOUND}
        save(draw_detections(photo, **one, names=names, threshold=options.threshold), path)
    counts = ", ".join(str((one >= options.threshold).sum()) for one in scores)
    print(f"Wrote {', '.join(map(str, paths))}: {counts} objects with a score of {options.threshold:g} or more.")
    return 0


def _draw_labels(inputs, found, names, options):
    """Draws the classes of pixels over the photos that were given, to files as `_draw_found` does."""
    from zoo.pictures import save
    from zoo.pictures_of_segmentation import draw_labels, names_in

    photos, maps = _photos_in(inputs, len(found["labels"])), found["labels"]
    paths = _numbered(options.png, len(photos))
    for photo, labels, size, path in zip(photos, maps, found.get("sizes", [None] * len(maps)), paths, strict=True):
        save(draw_labels(photo, labels, names, size=size), path)
    told = "; ".join(", ".join(names_in(labels, names)) or "none" for labels in maps)
    print(f"Wrote {', '.join(map(str, paths))}: classes {told}.")
    return 0


def _photos_in(inputs, number):
    """The photos that a signature was given, as files or pixels; as stored, like exports read them, without EXIF."""
    from PIL import Image

    contents = next((value for name, value in inputs.items() if name.endswith("_bytes")), None)
    if contents is None:
        photos = inputs.get("images", [])
    else:
        photos = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    if len(photos) != number:
        raise ValueError("What is found is drawn into the photos that it was found in. Give them as `--files`.")
    return photos


def _readable(key, array):
    """Text as text, other bytes as {"b64": ...}."""
    try:
        return to_json(array, encode=key.endswith("_bytes"))
    except UnicodeDecodeError:
        return to_json(array)


if __name__ == "__main__":
    main()
