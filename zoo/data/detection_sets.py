"""From a name, or a path to a folder in COCO's format, to pictures with objects."""

import os
from pathlib import Path

from zoo.checks import check_choice
from zoo.data import coco
from zoo.data.checks import height_and_width
from zoo.data.detection import DetectionSource
from zoo.data.names import folder_of
from zoo.data.scenes import IMAGE_SIZE, Scenes, check_num_scenes
from zoo.data.splits import SPLITS

# Folders of the sets with a name, below `data_dir`.
SETS = {"tiny_coco": "tiny_coco_320", "coco128": "coco128_320", "coco/2017": "coco"}
_WAYS = (
    f"The sets are: scenes, {', '.join(SETS)}. A path to a folder with pictures and annotations in COCO's format also "
    "works."
)
_DOWNLOADS = (
    "Fetch http://images.cocodataset.org/zips/train2017.zip, http://images.cocodataset.org/zips/val2017.zip and "
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, and unpack them there, into train2017, "
    "val2017 and annotations."
)


def load_detection(
    name,
    *,
    split="train",
    image_size=None,
    data_dir=None,
    max_objects=None,
    skip_damaged=False,
    num_scenes=None,
    allow_outside=False,
):
    """Loads pictures with objects, by name or from a folder.

    - "scenes": digits on photos, composed here without any download: 10,000 to train and 200 to test, 128 x 128 pixels
      if not told otherwise (`zoo.data.scenes.Scenes`).
    - "tiny_coco", "coco128": parts of COCO, folders tiny_coco_320 and coco128_320 in `data_dir`.
    - "coco/2017": all of COCO 2017, a folder coco in `data_dir`, laid out as follows.
    - a folder with annotations/instances_train2017.json and annotations/instances_val2017.json, or such names with
      train and with val or test in them, and pictures in train2017 and val2017. The latter is the test split.
    - a folder with one .json file of instances, in it or in annotations, and pictures beside it or in images. A tenth
      of its pictures, by a fixed permutation, is the test split.
    - a folder with a folder for each split, such as train and valid, with one .json file of instances and pictures.

    Links are followed, names of pictures may be written with backslashes, or with accents composed otherwise than in
    the file's name, and what else the folder holds is named on stderr. Whole numbers may be written as 1.0, `iscrowd`
    may be null, for 0; no two categories have the same name, and boxes and polygons are in pixels.

    Masks may be polygons, or run lengths, compressed or not; both splits are to list the same categories, whose ids may
    have gaps: classes are their places in ascending order. Boxes are cut at the border of the picture. Objects without
    a mask, with an empty one, or with a box without area or outside the picture are left out and counted. Pictures
    without objects are kept.

    Annotations are of the pixels as stored. A picture that has the annotated size only when turned as its EXIF data say
    is turned; one that has it neither way is an error. Grey pictures and those in CMYK become RGB, transparency white.
    Of 16 bits the upper 8 are kept, so pictures of 12 bits in files of 16 are nearly black, which is said on stderr.

    Args:
        name: Name of a set, or path to a folder; "./scenes" is the folder, "scenes" the set.
        split: "train" or "test"; no picture is in both.
        image_size: Height and width of the canvas in pixels, or one number for both. None for that of the scenes, or
            for the smallest multiples of 32 that hold the largest picture of both splits.
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.
        max_objects: Objects of a picture in the targets, at most: of more, the largest are kept, the others counted.
            None for the most that any picture of the split has.
        skip_damaged: Whether damaged or missing pictures, and damaged annotations, are left out, counted and named on
            stderr, instead of being an error.
        num_scenes: How many scenes to compose, 1 to ten million; None for the numbers above.
        allow_outside: Whether the names of pictures in the annotations may lead out of the folder, as "../1.png" does.
            Only for files of people whom you trust: whatever Pillow reads there becomes a picture.

    Returns:
        `DetectionSource`.

    Raises:
        ValueError: If the name or an option is wrong, a file is damaged (the message names file and annotation), a
            picture is in both splits, or nothing is there to learn from: crowds alone are not enough.
        FileNotFoundError: If a folder does not exist, or has no annotations.
        NotADirectoryError: If the path is a file.

    Example:

        >>> from zoo import data
        >>> scenes = data.load_detection("scenes")
        >>> scenes.size, scenes.class_names[:3]
        (10000, ('0', '1', '2'))
    """
    check_choice("split", split, SPLITS)
    check_num_scenes(name, num_scenes)
    canvas = height_and_width(image_size)
    if name == "scenes":
        pictures = Scenes(split, canvas or IMAGE_SIZE, num_scenes)
        origin = f"scikit-learn's digits on its photos, {split} split, digits and halves of photos of its own"
    else:
        path = _folder_of(name, data_dir)
        name = name if name in SETS else path.resolve().name
        pictures, origin = coco.load(path, split, canvas, skip_damaged, allow_outside)
    return DetectionSource(name, pictures, max_objects=max_objects, origin=origin)


def _folder_of(name, data_dir):
    """The folder that is meant, else an error that lists what there is."""
    if isinstance(name, str) and name in SETS:
        base = data_dir if data_dir is not None else os.environ.get("ZOO_DATA_DIR")
        advice = _DOWNLOADS if name == "coco/2017" else "Put it there: pictures and annotations in COCO's format."
        if not base:
            raise FileNotFoundError(
                f"The pictures of {name!r} were not found: `data_dir` is not given, and the environment variable "
                f"ZOO_DATA_DIR is not set. Give the folder around {SETS[name]}. {advice} Always there: scenes."
            )
        path = Path(base).expanduser() / SETS[name]
        if not path.is_dir():
            raise FileNotFoundError(
                f"The pictures of {name!r} were not found: {path} is not a folder. {advice} Always there: scenes."
            )
        return path
    return folder_of(name, ["scenes", *SETS], "set of pictures with objects", "of pictures and annotations", _WAYS)
