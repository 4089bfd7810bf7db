"""Folders of pictures and segments as COCO lays out its panoptic annotations: finding, checking and reading them."""

import numpy as np

from zoo.checks import VOID
from zoo.data import instances, located, progress
from zoo.data.coco import named_files
from zoo.data.label_files import LabelledFiles, Pair, canvas_of, usable
from zoo.data.listing import check_apart, first_five, report
from zoo.data.splits import SPLITS, held_out
from zoo.documents import as_id, as_whole, is_name
from zoo.masks import is_crowd

_SIGNS = {"train": ("train",), "test": ("val", "test")}


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
    parts = {
        part: [file for file in files if any(sign in file.stem.lower() for sign in _SIGNS[part])] for part in _SIGNS
    }
    if files and (len(files) != 2 or any(len(found) != 1 for found in parts.values())):
        raise ValueError(
            f"The folder {path} must hold one file panoptic_….json, or one with train and one with val or test in its "
            f"name. Received: {', '.join(file.name for file in files)}. Move the others away."
        )
    return {part: found[0] for part, found in parts.items()} if files else {}


def load(path, files, split, image_size=None, skip_damaged=False, allow_outside=False):
    """The pictures of a folder with the category of each pixel, everything checked.

    Args:
        path: `Path` of the folder.
        files: What `find` gives.
        split: "train" or "test".
        image_size: (height, width) of the canvas; None for that of all pictures of both splits if it is one, else for
            the smallest multiples of 32 that hold the largest.
        skip_damaged: Whether pairs that cannot be used are left out, and counted, instead of being an error.
        allow_outside: Whether files that are named by the annotations may lie outside of the folder.

    Returns:
        Tuple of `LabelledFiles` and where they come from, in words.

    Raises:
        ValueError: If the files are damaged or do not fit each other.
    """
    file, other = files.get(split, files.get("all")), files.get({"train": "test", "test": "train"}[split])
    document = instances.read(file)
    categories, sizes, _ = instances.summary_of(file, document)
    if len(categories) > VOID:
        raise ValueError(f"{file} must list at most {VOID} categories. Received: {len(categories)}. Merge some.")
    if other is not None:
        others = instances.summary_of(other)
        if others.categories != categories:
            differing = sorted({*others.categories.items()} ^ {*categories.items()})
            raise ValueError(
                f"{file} and {other} must list the same categories, since a class is the place of its category's id "
                f"among them. Received: {first_five([f'{number}: {name}' for number, name in differing])} in one of "
                "them only. Give both all categories."
            )
        sizes |= others.sizes
    pairs, note = _pairs(path, file, document, categories, allow_outside), f"its own {split} split"
    parts = {split: pairs}
    if other is None:
        is_test = held_out(len(pairs))
        parts = {part: [pairs[row] for row in np.flatnonzero(is_test == (part == "test"))] for part in SPLITS}
        note = f"{split} split, a fixed tenth held out for tests"
    else:
        parts["other"] = _pairs(path, other, instances.read(other), categories, allow_outside)
    pairs = parts[split]
    check_apart(path, {part: [pair.picture for pair in some] for part, some in parts.items()})
    used = [one for some in parts.values() for pair in some for one in (pair.picture, pair.labels) if one]
    report(path, located.beside(path, used, files.values()), "the annotations and the files that they name")
    kept, turned, dropped = usable(f"{file}, {split} split", pairs, skip_damaged)
    if split == "train" and not any(pair.classes for pair in kept):
        raise ValueError(
            f"No picture of {file} has a segment to learn from, in the train split of {len(kept)}. Expected segments "
            "that are no crowds. Annotate some."
        )
    occurring = sorted({label for pair in kept for label in pair.classes.values()})
    if split == "train" and len(occurring) == 1:
        name = [*categories.values()][occurring[0]]
        progress.note(f"Only the class {name} occurs in {file}: whatever a network says of it is right.")
    canvas = image_size or canvas_of(sizes)
    return LabelledFiles(kept, turned, categories.values(), canvas, dropped), f"{file}, {note}"


def _pairs(root, file, document, categories, allow_outside):
    """The `Pair` of each image, also where a file is missing or its annotation is damaged."""
    classes = {number: label for label, number in enumerate(categories)}
    listed = document.get("annotations") or []
    annotated = {one["image_id"]: one for one in listed if as_id(one.get("image_id")) is not None}
    pictures, missing = named_files(root, file, [image["file_name"] for image in document["images"]], allow_outside)
    of_labels = [file.with_suffix(""), root / file.stem, file.parent]
    names = {one["file_name"] for one in annotated.values() if is_name(one.get("file_name"))}
    labels, no_labels = located.locate(root, of_labels, names, allow_outside)
    pairs = []
    for image in document["images"]:
        name, annotation, found, fault = image["file_name"], annotated.get(image["id"]), {}, None
        drawn = None
        if annotation is None:
            fault = "missing labels", f"{name} (no annotation)"
        else:
            try:
                drawn, found = annotation["file_name"], _classes_of(annotation, classes)
                if not is_name(drawn):
                    raise ValueError("file_name must be the name of a file")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                fault = (
                    "damaged annotation",
                    f"annotation of {name} (expected a file_name, and segments_info with the id and the known "
                    f"category_id of each segment; {type(error).__name__}: {error})",
                )
        if not fault and name not in pictures:
            fault = "missing picture", f"{name} ({missing[name]})"
        if not fault and drawn not in labels:
            fault = "missing labels", f"{drawn} ({no_labels[drawn]})"
        size = image["height"], image["width"]
        pairs.append(
            Pair(pictures.get(name, root / name), None if fault else labels[drawn], found, size=size, fault=fault)
        )
    return pairs


def _classes_of(annotation, classes):
    """{segment: class} of an annotation, without crowds."""
    segments = [one for one in annotation["segments_info"] if not is_crowd(one)]
    found = {as_whole(one["id"]): classes[as_whole(one["category_id"])] for one in segments}
    if not all(segment is not None and 0 <= segment < 2**24 for segment in found):
        raise ValueError("ids of segments must be whole numbers below 2^24")
    return found
