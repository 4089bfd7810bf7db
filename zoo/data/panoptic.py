"""Folders of pictures and segments as COCO lays out its panoptic annotations: finding, checking and reading them."""

from typing import NamedTuple

import numpy as np

from zoo.checks import VOID
from zoo.data import instances
from zoo.data.folder import first_five
from zoo.data.label_files import LabelledFiles, Pair, canvas_of, usable
from zoo.data.splits import held_out

_SIGNS = {"train": ("train",), "test": ("val", "test")}
_summaries = {}


class _Summary(NamedTuple):
    """The categories of a file, {id: name} in the order of their ids, and {(height, width)} of its images."""

    categories: dict
    sizes: frozenset


def find(path):
    """The files of panoptic annotations of a folder.

    Args:
        path: `Path` of the folder.

    Returns:
        {"train": `Path`, "test": `Path`}, or {"all": `Path`}; empty if there are none.

    Raises:
        ValueError: If there are several, and not one for each split.
    """
    files = sorted((path / "annotations").glob("panoptic*.json")) or sorted(path.glob("panoptic*.json"))
    if len(files) == 1:
        return {"all": files[0]}
    parts = {part: [file for file in files if any(sign in file.stem for sign in _SIGNS[part])] for part in _SIGNS}
    if files and (len(files) != 2 or any(len(found) != 1 for found in parts.values())):
        raise ValueError(
            f"The folder {path} must hold one file panoptic_….json, or one with train and one with val or test in its "
            f"name. Received: {', '.join(file.name for file in files)}. Move the others away."
        )
    return {part: found[0] for part, found in parts.items()} if files else {}


def load(path, files, split, image_size=None, skip_damaged=False):
    """The pictures of a folder with the category of each pixel, everything checked.

    Args:
        path: `Path` of the folder.
        files: What `find` gives.
        split: "train" or "test".
        image_size: (height, width) of the canvas; None for that of all pictures of both splits if it is one, else for
            the smallest multiples of 32 that hold the largest.
        skip_damaged: Whether pairs that cannot be used are left out, and counted, instead of being an error.

    Returns:
        Tuple of `LabelledFiles` and where they come from, in words.

    Raises:
        ValueError: If the files are damaged or do not fit each other.
    """
    file, other = files.get(split, files.get("all")), files.get({"train": "test", "test": "train"}[split])
    document = instances.read(file)
    categories, sizes = _summary_of(file, document)
    if len(categories) > VOID:
        raise ValueError(f"{file} must list at most {VOID} categories. Received: {len(categories)}. Merge some.")
    if other is not None:
        others = _summary_of(other)
        if others.categories != categories:
            differing = sorted({*others.categories.items()} ^ {*categories.items()})
            raise ValueError(
                f"{file} and {other} must list the same categories, since a class is the place of its category's id "
                f"among them. Received: {first_five([f'{number}: {name}' for number, name in differing])} in one of "
                "them only. Give both all categories."
            )
        sizes |= others.sizes
    pairs, note = _pairs(path, file, document, categories), f"its own {split} split"
    if other is None:
        rows = np.flatnonzero(held_out(len(pairs)) == (split == "test"))
        pairs, note = [pairs[row] for row in rows], f"{split} split, a fixed tenth held out for tests"
    kept, turned, dropped = usable(f"{file}, {split} split", pairs, skip_damaged)
    if split == "train" and not any(pair.classes for pair in kept):
        raise ValueError(
            f"No picture of {file} has a segment to learn from, in the train split of {len(kept)}. Expected segments "
            "that are no crowds. Annotate some."
        )
    canvas = image_size or canvas_of(sizes)
    return LabelledFiles(kept, turned, categories.values(), canvas, dropped), f"{file}, {note}"


def _pairs(root, file, document, categories):
    """The `Pair` of each image, also where a file is missing or its annotation is damaged."""
    part = file.stem.removeprefix("panoptic_")
    folders = [root / part, root / "images" / part, root / "images", root]
    of_labels = [file.with_suffix(""), root / file.stem, file.parent]
    classes = {number: label for label, number in enumerate(categories)}
    listed = {one.get("image_id"): one for one in document.get("annotations") or []}
    pairs = []
    for image in document["images"]:
        name, annotation, found, fault = image["file_name"], listed.get(image["id"]), {}, None
        picture = _first(folders, name)
        labels = f"{picture.stem}.png"
        try:
            if annotation is None:
                fault = "missing labels", f"{name} (no annotation)"
            else:
                labels, found = annotation["file_name"], _classes_of(annotation, classes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            fault = (
                "damaged annotation",
                f"annotation of {name} (expected a file_name, and segments_info with the id and the known category_id "
                f"of each segment; {type(error).__name__}: {error})",
            )
        size = image["height"], image["width"]
        pairs.append(Pair(picture, _first(of_labels, str(labels)), found, size=size, fault=fault))
    return pairs


def _classes_of(annotation, classes):
    """{segment: class} of an annotation, without crowds."""
    found = {one["id"]: classes[one["category_id"]] for one in annotation["segments_info"] if not one.get("iscrowd")}
    if not all(isinstance(segment, int) and 0 <= segment < 2**24 for segment in found):
        raise ValueError("ids of segments must be whole numbers below 2^24")
    return found


def _first(folders, name):
    """The first path of this name that is a file; else the one in the first folder."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def _summary_of(file, document=None):
    """What both splits must agree on; kept as long as the file stays the same, since reading may take seconds."""
    status = file.stat()
    key = file, status.st_size, status.st_mtime_ns
    if key not in _summaries:
        document = document or instances.read(file)
        sizes = instances.sizes_of(file, document).values()
        _summaries[key] = _Summary(instances.categories_of(file, document), frozenset(sizes))
    return _summaries[key]
