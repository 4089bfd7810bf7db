"""From a name, or a path to a folder of pictures and labels, to pictures with a class for each pixel."""

import os
from pathlib import Path

from zoo.checks import check_choice
from zoo.data import label_folders, panoptic
from zoo.data.checks import height_and_width
from zoo.data.detection import label_maps
from zoo.data.label_files import Labelled
from zoo.data.names import folder_of
from zoo.data.scenes import IMAGE_SIZE, Scenes, check_num_scenes
from zoo.data.segmentation import SegmentationSource
from zoo.data.splits import SPLITS

# Folders of the sets with a name, below `data_dir`.
SETS = {"camvid": "camvid_240x180"}
# What each label means, in the order of the labels: lines of a file of classes.
CAMVID_LABELS = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
    "void",
)
_LABELS = {"camvid": CAMVID_LABELS}
_WAYS = f"The sets are: scenes, {', '.join(SETS)}. A path to a folder of pictures and labels also works."


def load_segmentation(
    name,
    *,
    split="train",
    image_size=None,
    data_dir=None,
    skip_damaged=False,
    num_scenes=None,
    allow_outside=False,
):
    """Loads pictures with a class for each pixel, by name or from a folder.

    - "scenes": digits on photos, composed here without any download: 10,000 to train and 200 to test, 128 x 128 pixels
      if not told otherwise (`zoo.data.scenes.Scenes`). Class 0 is background, then come the ten digits.
    - "camvid": street scenes of 240 x 180 pixels and 11 classes, a folder camvid_240x180 in `data_dir`, laid out as
      CamVid; val is the test split.
    - a folder laid out as Pascal VOC: JPEGImages, SegmentationClass, and ImageSets/Segmentation with train.txt and
      val.txt; its 21 classes.
    - a folder laid out as CamVid: train, trainannot, val and valannot.
    - a folder laid out as ADE20K: images/training, images/validation, annotations/training, annotations/validation.
    - a folder with images, and annotations, labels or masks. A tenth, by a fixed permutation, is the test split.
    - a folder with panoptic_train2017.json and panoptic_val2017.json, in it or in annotations, folders of those names
      with PNGs whose colours number segments, and pictures in train2017 and val2017, or in images. Classes are the
      places of the ids of categories in ascending order. Crowds, and colours of no segment, are void. Of one file
      panoptic_….json, a tenth is the test split.

    In all but the last, a picture's labels are a PNG file of its name, with a palette or grey, that holds a label for
    each pixel; a JPEG of such a name is refused, since its compression changes labels. A split's folder may be called
    train or training; val, valid, validation, test or testing, the first of these that is there, in any case. The lists
    of VOC may name pictures with their ending; a name that is repeated counts once. 255 is void: such pixels do not
    count. What labels mean says a file classes.txt in the folder: a name a line, from label 0 on; a line whose first
    word is void makes its label void too, and classes are numbered without it.
    Without that file (and but for VOC) there are as many classes as the largest label that is not 255 in any file of
    both splits, plus one, called by their numbers.

    Pictures are turned as their EXIF data say if only then they have the size of their labels. Grey pictures and those
    in CMYK become RGB, transparency white. Of 16 bits the upper 8 are kept, so pictures of 12 bits in files of 16 are
    nearly black, which is said on stderr. Labels are resized by nearest neighbour.

    Links are followed. What else the folder holds is named on stderr.

    Args:
        name: Name of a set, or path to a folder; "./camvid" is the folder, "camvid" the set.
        split: "train" or "test"; no picture is in both.
        image_size: Height and width of the canvas in pixels, or one number for both. None for that of the scenes, or
            that of all pictures of both splits if it is one, else the smallest multiples of 32 that hold the largest.
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.
        skip_damaged: Whether pictures and labels that are damaged, missing, or do not fit each other or the classes are
            left out, counted and named on stderr, instead of being an error.
        num_scenes: How many scenes to compose, 1 to ten million; None for the numbers above.
        allow_outside: Whether the names in lists and annotations may lead out of the folder, as "../1.png" does. Only
            for files of people whom you trust: whatever Pillow reads there becomes a picture.

    Returns:
        `SegmentationSource`.

    Raises:
        ValueError: If the name or an option is wrong, files cannot be used (the message names them), a picture is in
            both splits, or nothing is there to learn from: two classes must occur in what is trained on.
        FileNotFoundError: If a folder does not exist, or has none of these layouts.
        NotADirectoryError: If the path is a file.

    Example:

        >>> from zoo import data
        >>> scenes = data.load_segmentation("scenes")
        >>> scenes.size, scenes.class_names[:3]
        (10000, ('background', '0', '1'))
    """
    check_choice("split", split, SPLITS)
    check_num_scenes(name, num_scenes)
    canvas = height_and_width(image_size)
    if name == "scenes":
        pictures = _LabelledScenes(Scenes(split, canvas or IMAGE_SIZE, num_scenes))
        origin = f"scikit-learn's digits on its photos, {split} split, digits and halves of photos of its own"
        return SegmentationSource(name, pictures, origin=origin)
    path = _folder_of(name, data_dir)
    files = panoptic.find(path)
    if files:
        pictures, origin = panoptic.load(path, files, split, canvas, skip_damaged, allow_outside)
    else:
        lines = _LABELS.get(name) if isinstance(name, str) else None
        pictures, origin = label_folders.load(path, split, canvas, skip_damaged, lines, allow_outside)
    return SegmentationSource(name if name in SETS else path.resolve().name, pictures, origin=origin)


class _LabelledScenes:
    """`Scenes` as pictures with a class for each pixel."""

    def __init__(self, scenes):
        """Keeps the scenes."""
        self._scenes = scenes
        self.shape, self.dropped = scenes.shape, scenes.dropped
        self.class_names = ("background", *scenes.class_names)

    def __len__(self):
        """Number of scenes."""
        return len(self._scenes)

    def original_size(self, row):
        """(height, width) of a scene, which fills its canvas."""
        return self._scenes.original_size(row)

    def read(self, row):
        """The scene in a row, `Labelled`."""
        scene = self._scenes.read(row)
        labels = label_maps({"classes": scene.classes, "masks": scene.masks})
        return Labelled(scene.image, labels.astype("uint8"), scene.size)


def _folder_of(name, data_dir):
    """The folder that is meant, else an error that lists what there is."""
    if isinstance(name, str) and name in SETS:
        base = data_dir if data_dir is not None else os.environ.get("ZOO_DATA_DIR")
        path = Path(base).expanduser() / SETS[name] if base else None
        if path is None or not path.is_dir():
            tried = f"{path} is not a folder" if path else "neither `data_dir` nor ZOO_DATA_DIR is given"
            raise FileNotFoundError(
                f"The pictures of {name!r} were not found: {tried}. Expected folders train, trainannot, val and "
                f"valannot in {SETS[name]}, of pictures and of PNG files of labels 0 to 11. Always there: scenes."
            )
        return path
    return folder_of(name, ["scenes", *SETS], "set of pictures with labels", "of pictures and labels", _WAYS)
