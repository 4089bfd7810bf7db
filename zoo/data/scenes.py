"""Scenes composed of digits on photos, with exact masks: objects in images that need no download."""

import numpy as np

from zoo.checks import check_whole
from zoo.data.canvas import Scene, bounds
from zoo.data.splits import SPLITS, split_of

CLASS_NAMES = tuple(str(digit) for digit in range(10))
IMAGE_SIZE = (128, 128)
SMALLEST = 32  # pixels of a side, below which the smallest digits would be five pixels high and no longer legible
MOST_OBJECTS = 5
_NUM_SCENES = {"train": 10_000, "test": 200}
_MOST_SCENES = 10_000_000  # whose order is drawn in seconds; a hundred million take a minute and 5 GB
_EMPTY = 0.1  # share of the scenes that have no object
_SIDES = 0.18, 0.45  # of the square a digit is drawn in, as shares of the shorter side of the scene
_INK = 0.4  # share of the darkest ink from which on a pixel is the digit's
_LEAST_VISIBLE = 0.25
_ATTEMPTS = 10
_LEAST_CONTRAST = 100  # between a digit's colour and the mean of what is behind it, of 441 in RGB
_SEED = 20240


class Scenes:
    """Scenes of one split, each composed anew whenever it is read, always the same.

    A scene is a part of one of scikit-learn's two photos, mirrored or not, with up to five of its handwritten digits of
    8 x 8 pixels, enlarged to 18 to 45 % of the shorter side, tinted, one over the other. A mask is the part of a digit
    that is seen, exactly, and at least a quarter of it. About every tenth scene is empty. The splits share no digit and
    have the left halves of the photos to train and the right ones to test.

    Args:
        split: "train" or "test".
        canvas: (height, width), each at least 32.
        num_scenes: How many, at most ten million; None for 10,000 to train or 200 to test. The first ones are the same
            whatever their number.

    Attributes:
        shape: (number of scenes, height, width, 3).
        class_names: "0" to "9".
        category_ids: Id of each class in `truth`: the digit.
        most_objects: The most objects of any scene.
        dropped: {reason: count} of objects left out: empty.
    """

    class_names = CLASS_NAMES
    category_ids = tuple(range(10))
    most_objects = MOST_OBJECTS

    def __init__(self, split, canvas=IMAGE_SIZE, num_scenes=None):
        """Loads digits and photos; composes nothing yet."""
        from PIL import Image
        from sklearn.datasets import load_digits, load_sample_images

        if min(canvas) < SMALLEST:
            raise ValueError(
                f"`image_size` of scenes must be at least {SMALLEST} pixels a side, so that digits can be read. "
                f"Received: {canvas[0]} x {canvas[1]} (height x width)."
            )
        num_scenes = _NUM_SCENES[split] if num_scenes is None else num_scenes
        check_whole("num_scenes", num_scenes, low=1, high=_MOST_SCENES)
        found = load_digits()
        self._digits, self._labels = split_of(split, found.images.astype("float32") / 16, found.target)
        half = slice(None, 320) if split == "train" else slice(320, None)
        self._photos = [Image.fromarray(photo[:, half]) for photo in load_sample_images().images]
        self._number = SPLITS.index(split)
        self.shape = (num_scenes, *canvas, 3)
        self.dropped = {}

    def __len__(self):
        """Number of scenes."""
        return self.shape[0]

    def image_id(self, row):
        """The id of a scene in `truth`: its row."""
        return row

    def original_size(self, row):
        """(height, width) of a scene before it was put on the canvas, which it fills."""
        return self.shape[1:3]

    def read(self, row):
        """The `Scene` in a row."""
        canvas = self.shape[1:3]
        # RandomState, because NumPy promises that its streams never change; those of Generator may.
        random = np.random.RandomState([_SEED, self._number, row])
        image = self._background(random)
        inks, masks, classes = [], [], []
        for _ in range(0 if random.uniform() < _EMPTY else random.randint(1, MOST_OBJECTS + 1)):
            number = random.randint(len(self._digits))
            ink, place = self._placed(random, self._digits[number], masks, [known >= _INK for known in inks])
            if place is None:
                continue
            mask = np.zeros(canvas, bool)
            mask[place] = ink >= _INK
            self._paint(random, image, ink, place)
            masks = [before & ~mask for before in masks] + [mask]
            inks.append(ink)
            classes.append(self._labels[number])
        return Scene(
            image,
            np.array([bounds(mask) for mask in masks], "float32").reshape(-1, 4),
            np.array(classes, "int32"),
            np.zeros(len(masks), bool),
            np.array(masks, "uint8").reshape(-1, *canvas),
            canvas,
        )

    def annotations(self):
        """What is in all scenes, as the annotations of `truth`: rows and lists of objects, {key: value} each.

        Yields:
            List of {"category_id", "bbox", "area", "segmentation", "iscrowd"} for each row in turn.
        """
        from pycocotools import mask as coding

        for row in range(len(self)):
            scene = self.read(row)
            listed = []
            for box, label, mask in zip(scene.boxes.tolist(), scene.classes.tolist(), scene.masks, strict=True):
                encoded = coding.encode(np.asfortranarray(mask))
                listed.append(
                    {
                        "category_id": self.category_ids[label],
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": int(mask.sum()),
                        "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode()},
                        "iscrowd": 0,
                    }
                )
            yield listed

    def _background(self, random):
        """Pixels that may be painted on: a part of a photo, more or less bright."""
        from PIL import Image

        photo, (height, width) = self._photos[random.randint(len(self._photos))], self.shape[1:3]
        scale = random.uniform(0.4, 1) * min(photo.height / height, photo.width / width)
        left = random.uniform(0, photo.width - scale * width)
        top = random.uniform(0, photo.height - scale * height)
        box = left, top, left + scale * width, top + scale * height
        pixels = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR, box))
        pixels = pixels[:, ::-1] if random.uniform() < 0.5 else pixels
        return (pixels * random.uniform(0.5, 1)).astype("uint8")

    def _placed(self, random, digit, masks, wholes):
        """A digit enlarged, and the slices of the canvas where it leaves enough of the others to be seen, or None."""
        from PIL import Image

        height, width = self.shape[1:3]
        side = round(random.uniform(*_SIDES) * min(height, width))
        ink = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
        is_ink = ink >= _INK
        for _ in range(_ATTEMPTS):
            top, left = random.randint(height - side + 1), random.randint(width - side + 1)
            place = slice(top, top + side), slice(left, left + side)
            if all(
                mask.sum() - (mask[place] & is_ink).sum() >= _LEAST_VISIBLE * whole.sum()
                for mask, whole in zip(masks, wholes, strict=True)
            ):
                return ink, place
        return ink, None

    def _paint(self, random, image, ink, place):
        """Paints a digit into the pixels, in a colour that differs from what is there."""
        is_ink, part = ink >= _INK, image[place]
        colours = random.randint(0, 256, (_ATTEMPTS, 3))
        contrasts = np.linalg.norm(colours - part[is_ink].mean(0), axis=1)
        clear = contrasts >= _LEAST_CONTRAST
        colour = colours[clear.argmax() if clear.any() else contrasts.argmax()]
        shade = 0.7 + 0.3 * np.clip(ink[is_ink], 0, 1)
        part[is_ink] = np.rint(colour * shade[:, None]).astype("uint8")


def check_num_scenes(name, num_scenes):
    """Checks that a number is asked only of composed scenes.

    Raises:
        ValueError: If it is asked of another set.
    """
    if num_scenes is not None and name != "scenes":
        raise ValueError(
            f"`num_scenes` is for 'scenes', which are composed here. {str(name)!r} has the pictures that are "
            f"there: leave it out. Received: {num_scenes!r}."
        )
