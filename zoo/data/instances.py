"""Files of annotations as COCO lays them out: finding them, and what they list of images and categories."""

import json
from typing import NamedTuple

from zoo.data import progress
from zoo.data.splits import SPLITS, split_folders
from zoo.documents import as_id, as_size, as_whole, is_name

_SIGNS = {"train": ("train",), "test": ("val", "test")}
_LARGE = 10_000_000  # bytes of a file of annotations that takes seconds to read
_LAYOUT = (
    "Expected annotations/instances_train2017.json and annotations/instances_val2017.json, with pictures in train2017 "
    "and val2017; or one .json file of instances, with pictures beside it or in images."
)
_WHOLE = ("id", "image_id", "category_id", "height", "width")
_summaries = {}


class Summary(NamedTuple):
    """The categories of a file, {id: name} in the order of their ids, and its images.

    Attributes:
        categories: {id: name} in the order of the ids.
        sizes: {(height, width)} of the images.
        names: The `file_name` of each image, in their order.
    """

    categories: dict
    sizes: frozenset
    names: tuple


def summary_of(file, document=None):
    """What both splits of a set must agree on; kept as long as the file stays the same, since it may take seconds.

    Args:
        file: `Path` of a file of annotations.
        document: What it holds, if that was read already.

    Returns:
        `Summary`.

    Raises:
        ValueError: If the file is damaged.
    """
    status = file.stat()
    key = file, status.st_size, status.st_mtime_ns
    if key not in _summaries:
        document = document or read(file)
        sizes, names = sizes_of(file, document).values(), tuple(image["file_name"] for image in document["images"])
        _summaries[key] = Summary(categories_of(file, document), frozenset(sizes), names)
    return _summaries[key]


def find(path):
    """{"train": file, "test": file} of annotations, or {"all": file}."""
    folder = path / "annotations"
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    # Captions and keypoints of the same pictures may lie beside them.
    files = (
        [file for file in files if file.name.lower().startswith("instances")] or files or sorted(path.glob("*.json"))
    )
    if not files:
        # One file in each folder of a split, beside its pictures, as some tools write them.
        beside = {
            part: sorted(place.glob("*.json")) for part, place in split_folders(path, validation_first=True).items()
        }
        if set(beside) == set(SPLITS) and all(len(found) == 1 for found in beside.values()):
            return {part: found[0] for part, found in beside.items()}
    if len(files) == 1:
        return {"all": files[0]}
    parts = {
        part: [file for file in files if any(sign in file.stem.lower() for sign in signs)]
        for part, signs in _SIGNS.items()
    }
    if not files:
        raise FileNotFoundError(
            f"The folder {path} holds no .json file of annotations, nor does a folder annotations in it. {_LAYOUT}"
        )
    if len(files) != 2 or any(len(found) != 1 for found in parts.values()):
        raise ValueError(
            f"The folder {path} must hold one file of annotations, or one with train and one with val or test in its "
            f"name. Received: {', '.join(file.name for file in files)}. Move the others away."
        )
    return {part: found[0] for part, found in parts.items()}


def read(file):
    """What a file of annotations holds: a dict with images and categories, if not with annotations.

    Ids, heights and widths are int where they are whole numbers, also those that are written as 1.0.
    """
    if file.stat().st_size >= _LARGE:
        progress.show(f"Reading {file}, {file.stat().st_size / 1e6:.0f} MB", last=True)
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:  # also of numbers with more digits than Python reads
        raise ValueError(f"The file {file} is not JSON: {error}. Fetch it again.") from error
    lists = {
        name: document.get(name) if isinstance(document, dict) else None
        for name in ("images", "annotations", "categories")
    }
    lists["annotations"] = lists["annotations"] or []
    if not all(isinstance(some, list) and all(isinstance(one, dict) for one in some) for some in lists.values()):
        received = ", ".join(document) if isinstance(document, dict) else type(document).__name__
        raise ValueError(
            f"The file {file} must hold lists of images, annotations and categories, as COCO's instances do. "
            f"Received: {received or 'nothing'}."
        )
    for name in ("images", "categories"):
        if not lists[name]:
            raise ValueError(f"The file {file} lists no {name}. Expected one or more. Fetch or write it again.")
    for one in (one for some in lists.values() for one in some):
        for key in _WHOLE:
            if isinstance(one.get(key), float) and (whole := as_whole(one[key])) is not None:
                one[key] = whole
    return document


def categories_of(file, document):
    """{id: name} of the categories, in the order of their ids, which is that of the classes."""
    categories = document["categories"]
    numbers = [one.get("id") for one in categories]
    if None in map(as_whole, numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"Each category of {file} must have an id of its own, a whole number. Received: {str(numbers)[:80]}."
        )
    names = {one["id"]: one["id"] if one.get("name") is None else one["name"] for one in categories}
    names = {number: str(names[number]) for number in sorted(names)}
    ids = {}
    for number, name in names.items():
        if ids.setdefault(name, number) != number:
            raise ValueError(
                f"Each category of {file} must have a name of its own. Received: {name[:80]!r} with the ids "
                f"{ids[name]} and {number}. Rename one; or, if they mean the same, give the annotations of both one of "
                "the ids, and remove the other."
            )
    return names


def sizes_of(file, document):
    """{id: (height, width)} of the images."""
    sizes = {}
    for image in document["images"]:
        number, size = image.get("id"), as_size((image.get("height"), image.get("width")))
        if size is None or not is_name(image.get("file_name")):
            raise ValueError(
                f"Image {number} of {file} must have height and width, whole numbers of at least 1, and a file_name. "
                f"Received: {str(image)[:100]}."
            )
        is_id = as_id(number) is not None
        if not is_id or number in sizes:
            raise ValueError(
                f"Each image of {file} must have an id of its own. Received: {repr(number)[:40]}, "
                f"{'which two images have' if is_id else 'of ' + image['file_name']}."
            )
        sizes[number] = size
    return sizes
