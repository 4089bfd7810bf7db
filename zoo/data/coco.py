"""Folders of pictures with objects as COCO lays them out: finding, checking and reading them."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.data import located, progress
from zoo.data.annotations import Useless, checked
from zoo.data.canvas import Scene, fitted_size, put_mask
from zoo.data.folder import inspect_all
from zoo.data.instances import find, read, sizes_of, summary_of
from zoo.data.listing import check_apart, first_five, report
from zoo.data.reading import read_picture_on
from zoo.data.splits import SPLITS, held_out
from zoo.documents import as_id, as_whole, finite_numbers

_MULTIPLE = 32


class Picture(NamedTuple):
    """A picture in a file.

    Attributes:
        number: Its id.
        path: `Path` of the file.
        size: (height, width) as the annotations have them.
        is_turned: Whether it has to be turned as its EXIF data say to have that size.
    """

    number: object
    path: Path
    size: tuple
    is_turned: bool


class CocoPictures:
    """Pictures of one split with their objects, read one at a time.

    Args:
        pictures: List of `Picture`.
        objects: A list of `Annotation`s for each of them.
        categories: {id: name}, in the order of the classes.
        canvas: (height, width).
        dropped: {reason: count} of what was left out.

    Attributes:
        shape: (number of pictures, height, width, 3).
        class_names: Name of each class.
        category_ids: Id of each class in the file.
        most_objects: The most objects of any picture.
        dropped: As given.
    """

    def __init__(self, pictures, objects, categories, canvas, dropped):
        """Keeps what is known; reads no pixels yet."""
        self._pictures, self._objects = pictures, objects
        self.class_names, self.category_ids = tuple(categories.values()), tuple(categories)
        self.shape, self.dropped = (len(pictures), *canvas, 3), dropped
        self.most_objects = max(map(len, objects), default=0)

    def __len__(self):
        """Number of pictures."""
        return len(self._pictures)

    def image_id(self, row):
        """The id of a picture in its file."""
        return self._pictures[row].number

    def original_size(self, row):
        """(height, width) of a picture in its file."""
        return self._pictures[row].size

    def read(self, row):
        """The `Scene` in a row.

        Raises:
            ValueError: If the file can no longer be read; the message names it.
        """
        from pycocotools import mask as coding

        picture, canvas, objects = self._pictures[row], self.shape[1:3], self._objects[row]
        fitted = fitted_size(picture.size, canvas)
        scale = np.array([fitted[1] / picture.size[1], fitted[0] / picture.size[0]] * 2)
        masks = np.zeros((len(objects), *canvas), "uint8")
        for place, one in enumerate(objects):
            masks[place] = put_mask(coding.decode({"size": list(picture.size), "counts": one.counts}), canvas)
        return Scene(
            read_picture_on(canvas, picture.path, picture.size, picture.is_turned),
            (np.array([one.box for one in objects]).reshape(-1, 4) * scale).astype("float32"),
            np.array([one.label for one in objects], "int32"),
            np.array([one.is_crowd for one in objects], bool),
            masks,
            fitted,
        )

    def annotations(self):
        """What is in all pictures, in their own pixels, as the annotations of `truth`.

        Yields:
            List of {"id", "category_id", "bbox", "area", "segmentation", "iscrowd"} for each row in turn.
        """
        for picture, objects in zip(self._pictures, self._objects, strict=True):
            yield [
                {
                    "id": one.number,
                    "category_id": self.category_ids[one.label],
                    "bbox": [*one.box[:2], one.box[2] - one.box[0], one.box[3] - one.box[1]],
                    "area": one.area,
                    "segmentation": {"size": list(picture.size), "counts": one.counts.decode()},
                    "iscrowd": int(one.is_crowd),
                }
                for one in objects
            ]


def load(path, split, image_size=None, skip_damaged=False, allow_outside=False):
    """The pictures of a folder with their objects, everything checked.

    Args:
        path: `Path` of the folder.
        split: "train" or "test".
        image_size: (height, width) of the canvas; None for the smallest multiples of 32 that hold the largest picture.
        skip_damaged: Whether damaged pictures and annotations are left out, and counted, instead of being an error.
        allow_outside: Whether files that are named by the annotations may lie outside of the folder.

    Returns:
        Tuple of `CocoPictures` and where they come from, in words.

    Raises:
        FileNotFoundError: If there is no file of annotations.
        ValueError: If the files are damaged, do not fit each other, or hold nothing to learn from.
    """
    files = find(path)
    file, other = files.get(split, files.get("all")), files.get({"train": "test", "test": "train"}[split])
    document = read(file)
    sizes = sizes_of(file, document)
    categories, every_size, _ = summary_of(file, document)
    if other is not None:
        others = summary_of(other)
        if others.categories != categories:
            raise ValueError(
                f"{file} and {other} must list the same categories, since a class is the place of its category's id "
                f"among them. Received: {_differing(categories, others.categories)}. Give both all categories."
            )
        every_size |= others.sizes
    canvas = image_size or tuple(-(-max(sides) // _MULTIPLE) * _MULTIPLE for sides in zip(*every_size, strict=True))
    images, note = document["images"], f"its own {split} split"
    found, missing = named_files(path, file, [image["file_name"] for image in images], allow_outside)
    named = {"this": found.values()}
    if other is not None:
        named["other"] = named_files(path, other, others.names, allow_outside)[0].values()
    else:
        is_test = held_out(len(images))
        parts = {part: [images[row] for row in np.flatnonzero(is_test == (part == "test"))] for part in SPLITS}
        images, note = parts[split], f"{split} split, a fixed tenth held out for tests"
        named = {part: [found[one["file_name"]] for one in parts[part] if one["file_name"] in found] for part in SPLITS}
    check_apart(path, named)
    used = [one for paths in named.values() for one in paths]
    report(path, located.beside(path, used, files.values()), "the annotations and the pictures that they name")
    dropped = {}
    pictures = _pictures(path, file, images, sizes, (found, missing), skip_damaged, dropped)
    annotations = document.get("annotations") or []
    _check_pixels(file, annotations, sizes)
    objects = _objects(file, annotations, pictures, sizes, categories, skip_damaged, dropped)
    listed = [one for some in objects for one in some]
    # Of a test split, a few pictures may have crowds alone, unless the whole file has.
    every = split == "train" or all(one.get("iscrowd") for one in annotations)
    if every and all(one.is_crowd for one in listed) and (listed or split == "train"):
        crowds = f"{len(listed)} of crowds, which nothing is learnt from and no figure counts, " if listed else ""
        raise ValueError(
            f"No picture of {file} has an object to learn from, in the {split} split of {len(pictures)}. Received: "
            f"{len(annotations)} annotations, {crowds}left out: {_counted(dropped) or 'none'}. "
            "Annotate some; pictures without objects are used beside others."
        )
    if dropped:
        progress.show(f"Left out of {file}, {split} split: {_counted(dropped)}.", last=True)
    return CocoPictures(pictures, objects, categories, canvas, dropped), f"{file}, {note}"


def named_files(root, file, names, allow_outside=False):
    """The pictures that a file of annotations names.

    Args:
        root: `Path` of the folder of the set.
        file: `Path` of the file of annotations in it.
        names: The `file_name` of each.
        allow_outside: Whether they may lie outside of the folder.

    Returns:
        What `zoo.data.located.locate` gives.
    """
    part = file.stem.removeprefix("instances_").removeprefix("panoptic_")
    folders = [root / part, root / "images" / part, root / "images", root, file.parent]
    return located.locate(root, folders, names, allow_outside)


def _pictures(root, file, images, sizes, named, skip_damaged, dropped):
    """The `Picture`s of some images, of which those that are missing or damaged are an error, or left out."""
    paths, missing = named
    found = inspect_all(root, [paths[image["file_name"]] for image in images if image["file_name"] in paths])
    pictures, damaged = [], []
    for image in images:
        number, size, name = image["id"], sizes[image["id"]], image["file_name"]
        path = paths.get(name)
        known = found.get(path)
        if known is None:
            damaged.append(f"{name} ({missing[name]})")
        elif known.error:
            damaged.append(f"{path} ({known.error})")
        elif size not in (known.stored, known.size):
            damaged.append(
                f"{path} ({known.stored[0]} x {known.stored[1]} pixels, height x width; its annotations are of "
                f"{size[0]} x {size[1]})"
            )
        else:
            pictures.append(Picture(number, path, size, size != known.stored))
    if damaged and not (skip_damaged and pictures):
        raise ValueError(
            f"{len(damaged)} of {len(images)} pictures of {file} cannot be used: {first_five(damaged)}. Expected whole "
            "files that Pillow reads, of the size that their annotations have. Replace or remove them"
            + ("." if skip_damaged else "; `skip_damaged=True` leaves them out.")
        )
    if damaged:
        dropped["damaged picture"] = len(damaged)
        progress.show(f"Pictures of {file} that cannot be used: {first_five(damaged)}.", last=True)
    return pictures


def _check_pixels(file, annotations, sizes):
    """Raises where no box, or no corner of a polygon, lies beyond 1: in [0, 1], where they count pixels."""
    if max(map(max, sizes.values())) <= 2:  # of which a pixel is not far from the whole
        return
    of_boxes = (one.get("bbox") for one in annotations)
    of_masks = (one.get("segmentation") for one in annotations)
    polygons = (polygon for form in of_masks if isinstance(form, list) for polygon in form)
    for name, expected, given in (("bbox", "x, y, width, height", of_boxes), ("polygon", "x, y, x, y, …", polygons)):
        rows = (numbers for numbers in map(finite_numbers, given) if numbers is not None and numbers.size)
        first = next(rows, None)
        if first is not None and all(numbers.max() <= 1 for numbers in itertools.chain([first], rows)):
            raise ValueError(
                f"Each {name} of {file} must have {expected} in pixels. Received: none with a number above 1, such as "
                f"{first.tolist()}: shares of the pictures, it seems. Multiply x and width by the width of the "
                "picture, y and height by its height."
            )


def _objects(file, annotations, pictures, sizes, categories, skip_damaged, dropped):
    """For each picture, a list of its `Annotation`s."""
    rows = {picture.number: row for row, picture in enumerate(pictures)}
    labels = {number: label for label, number in enumerate(categories)}
    objects, damaged = [[] for _ in pictures], []
    for place, annotation in enumerate(annotations, 1):
        if len(annotations) >= progress.RECORDS and (place % progress.RECORDS == 0 or place == len(annotations)):
            progress.show(f"Checked {place} of {len(annotations)} annotations", last=place == len(annotations))
        number, image, category = (annotation.get(key) for key in ("id", "image_id", "category_id"))
        number = place if number is None else number
        try:
            if as_id(image) is None or image not in sizes:
                raise ValueError(f"its image_id must be of one of the {len(sizes)} images. Received: {image!r}")
            if as_whole(category) is None or category not in labels:
                raise ValueError(f"its category_id must be of one of the categories. Received: {category!r}")
            if image in rows:
                objects[rows[image]].append(checked(annotation, number, labels[category], sizes[image]))
        except Useless as reason:
            dropped[str(reason)] = dropped.get(str(reason), 0) + 1
        except ValueError as error:
            damaged.append(f"annotation {number}: {error}")
    if damaged and not skip_damaged:
        raise ValueError(
            f"{len(damaged)} of {len(annotations)} annotations in {file} are damaged: {first_five(damaged)}. Mend or "
            "remove them; `skip_damaged=True` leaves them out."
        )
    if damaged:
        dropped["damaged annotation"] = len(damaged)
        progress.show(f"Damaged annotations in {file}: {first_five(damaged)}.", last=True)
    return objects


def _counted(dropped):
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items())


def _differing(some, others):
    differing = {*some.items()} ^ {*others.items()}
    return first_five([f"{number}: {name}" for number, name in sorted(differing)]) + " in one of them only"
