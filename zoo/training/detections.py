"""What models of objects in images share: the checks of their examples, detection, and what they serve."""

from functools import partial

import numpy as np
import tensorflow as tf

from zoo.checks import check_positive
from zoo.detection.masks import paste_masks
from zoo.encoded import encode, fit_all_to_canvas
from zoo.rows import never_empty
from zoo.training.examples import check_pairs_of
from zoo.training.inputs import array_of, images_by_size, sizes_of
from zoo.training.model import TrainStepModel

_NAMES = ("boxes", "classes", "crowds", "masks", "sizes")
# Scores that differ by less may change places where they are computed in another order.
_CLOSE, _WARMUP_SEEDS = 2e-5, 10
IMAGES = "RGB images, (batch, height, width, 3) in [0, 255]"


class DetectionModel(TrainStepModel):
    """Base of models that find objects in images.

    A subclass has `num_classes`, `image_size`, and `detections(images, sizes)`, which returns {"boxes": (batch, D, 4),
    "classes": (batch, D), "scores": (batch, D), "masks": (batch, D, M, M), "num_detections": (batch,)}.

    Example:
        >>> [method for method in vars(DetectionModel) if method in ("detect", "signatures", "warmup")]
        ['detect', 'signatures', 'warmup']
        >>> issubclass(zoo.MaskRCNN, DetectionModel)
        True
    """

    example_shape = (None, None, 3)

    def examples_of(self, data):
        """What `train_step` takes, from what `fit` hands over: images and targets."""
        return images_and_targets(data)

    def check_fit(self, given):
        """Checks what `fit` or `evaluate` is given, {argument: value}, before the first step."""
        return check_detections(given, self.num_classes, self.distribute_strategy.num_replicas_in_sync)

    def detect(self, images, sizes=None, batch_size=8):
        """The objects in images.

        Args:
            images: (n, height, width, 3) in [0, 255], uint8 or floats; or a list of n images of different sizes.
            sizes: Height and width of the picture within each image, (n, 2); None for all of it, and for images of
                different sizes.
            batch_size: Images at a time.

        Returns:
            {"boxes": float32 (n, D, 4), corners in pixels; "classes": int32 (n, D), -1 where there is no detection;
            "scores": float32 (n, D), falling; "masks": float32 (n, D, M, M), probabilities within the box;
            "num_detections": int32 (n,)}, D being `max_detections`.

        Raises:
            ValueError: If the images have another shape or range.

        Example:
            found = model.detect(photos)
            found["boxes"][0, : found["num_detections"][0]]
        """
        check_positive("batch_size", batch_size)
        groups = images_by_size("detect", images, IMAGES)
        if len(groups) > 1 and sizes is not None:
            raise ValueError(
                f"`sizes` is for images of one size, in which smaller pictures lie. Received: {len(groups)} sizes. "
                "Leave `sizes` out."
            )
        for _, one in groups:
            check_images(one)
        compiled = self.compiled_once("detect", self.detections)

        def found(images):
            rows = images, sizes_of(sizes, images)
            parts = [
                compiled(*(tf.convert_to_tensor(one[start : start + batch_size]) for one in rows))
                for start in range(0, len(images), batch_size)
            ]
            return tf.nest.map_structure(lambda *part: np.concatenate(part), *parts)

        answers = [found(one) for _, one in groups]
        # What is found is as large for images of any size.
        order = np.argsort(np.concatenate([places for places, _ in groups]))
        return {name: np.concatenate([answer[name] for answer in answers])[order] for name in answers[0]}

    def check_inputs(self, what, x):
        """Checks images in [0, 255]."""
        images = array_of(what, x, IMAGES)
        check_images(images)
        return images

    def signatures(self):
        """What is served: detections in images of one size, the same with masks of the image, and those in files.

        `detect`, which is `serving_default` too, takes uint8 images of any one size. `segment` also returns `pasted`,
        the masks as uint8 (batch, D, height, width), 0 or 1; they take D bytes for each pixel. `from_bytes` takes JPEG,
        PNG, GIF or BMP files, each of a size of its own, brings them to `image_size` with their aspect kept, and
        returns boxes in the pixels of the file, with `sizes`, their height and width. How a camera was held (EXIF) is
        not read. A picture of more than 33,554,432 pixels is refused before it is decoded (`zoo.encoded.MAX_PIXELS`).
        """
        images = {"images": tf.TensorSpec((None, None, None, 3), tf.uint8)}
        files = {"image_bytes": tf.TensorSpec((None,), tf.string)}
        given = (tf.TensorSpec((None, None, None, 3), tf.float32), tf.TensorSpec((None, 2), tf.int32))
        # One function that all of them call.
        found = tf.function(self.detections, input_signature=given, autograph=False)
        detect = (partial(_detect, found), images)
        return {
            "serving_default": detect,
            "detect": detect,
            "segment": (partial(_segment, found), images),
            "from_bytes": (partial(_from_bytes, never_empty(found), self.image_size), files),
        }

    def warmup(self):
        """Requests that each version answers before it takes traffic: two images of noise, as large as `image_size`.

        They are the first in which no two scores are so close that rounding, which differs from one program to another,
        could change their places: before it is published, an export must give what the model does.
        """
        for seed in range(_WARMUP_SEEDS):
            images = np.random.default_rng(seed).integers(0, 256, (2, *self.image_size, 3), dtype="uint8")
            scores = self.detections(tf.constant(images))["scores"].numpy()
            if (np.diff(scores)[scores[:, 1:] > 0] < -_CLOSE).all():
                break
        files = np.array([encode(image / 127.5 - 1).numpy() for image in images], dtype=object)
        of_images = [(name, {"images": images}) for name in ("serving_default", "detect", "segment")]
        return [*of_images, ("from_bytes", {"image_bytes": files})]


def _detect(found, images):
    sizes = tf.tile(tf.shape(images)[None, 1:3], (tf.shape(images)[0], 1))
    return found(tf.cast(images, tf.float32), sizes)


def _segment(found, images):
    answer = _detect(found, images)
    height, width = tf.shape(images)[1], tf.shape(images)[2]

    def paste(pair):
        return tf.cast(paste_masks(*pair, height, width) > 0.5, tf.uint8)

    # One image at a time, since the probabilities take four times as much memory as the masks.
    signature = tf.TensorSpec((answer["classes"].shape[1], None, None), tf.uint8)
    pasted = tf.map_fn(paste, (answer["masks"], answer["boxes"]), fn_output_signature=signature)
    there = answer["classes"] >= 0
    return {**answer, "pasted": tf.where(there[..., None, None], pasted, tf.zeros((), tf.uint8))}


def _from_bytes(found, canvas, image_bytes):
    images, fitted, sizes = fit_all_to_canvas(image_bytes, canvas)
    answer = found(images, fitted)
    scales = tf.cast(sizes, tf.float32) / tf.cast(fitted, tf.float32)
    scales = tf.stack([scales[:, 1], scales[:, 0]] * 2, 1)[:, None]
    return {**answer, "boxes": answer["boxes"] * scales, "sizes": sizes}


def images_and_targets(data):
    """Images and the dict of their targets, in what `fit` is given or hands to a step.

    Raises:
        ValueError: If there is something else.
    """
    parts = tuple(part for part in data if part is not None) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) == 1 and isinstance(parts[0], (tuple, list)):
        return images_and_targets(parts[0])
    if len(parts) != 2 or not hasattr(parts[0], "shape") or not isinstance(parts[1], dict):
        kinds = ", ".join("a dict" if isinstance(part, dict) else type(part).__name__ for part in parts)
        raise ValueError(
            f"This model learns from images and a dict of targets: {', '.join(_NAMES)}. "
            f"Received: {kinds or 'nothing'}. "
            "`zoo.data.load_detection(...).batches(8)` gives both, or `model.fit(images, targets)`."
        )
    missing = [name for name in _NAMES if name not in parts[1]]
    if missing:
        raise ValueError(
            f"The targets lack {', '.join(missing)}. Expected: boxes (batch, n, 4), classes (batch, n), crowds (batch, "
            f"n), masks (batch, n, height, width) and sizes (batch, 2). Received: {', '.join(parts[1]) or 'none'}."
        )
    return parts


def check_images(images):
    """Checks that an array holds RGB images in [0, 255].

    Raises:
        ValueError: If it does not.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            f"Images must be RGB, (batch, height, width, 3), at least one. Received: {images.shape}."
            + (" This is one image: add an axis, `image[None]`." if images.ndim == 3 and images.size else "")
            + (" Repeat grey: `np.repeat(images, 3, -1)`." if images.ndim == 4 and images.shape[-1] == 1 else "")
        )
    if images.dtype.kind not in "uif" or not np.isfinite(images).all() or images.min() < 0 or images.max() > 255:
        low, high = (images.min(), images.max()) if images.dtype.kind in "uif" else ("none", "none")
        raise ValueError(
            f"Images must be numbers in [0, 255]. Received: dtype {images.dtype}, min={low}, max={high}. "
            "`(images + 1) * 127.5` takes [-1, 1] to [0, 255]."
        )
    if images.dtype.kind == "f" and 0 < images.max() <= 1:
        raise ValueError(
            "Images must be numbers in [0, 255]. Received: none above 1, so they seem to be in [0, 1]. "
            "Use `images * 255`."
        )


def check_detections(given, num_classes, replicas):
    """Checks what `fit` is given, before the first step.

    Args:
        given: {name: value} of the arguments of `keras.Model.fit`.
        num_classes: Number of classes of the model.
        replicas: Number of replicas over which a batch is split.

    Returns:
        The images that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If something is missing or does not fit.
    """

    def check(images, targets):
        check_images(images)
        _check_targets(images, {name: np.asarray(targets[name]) for name in _NAMES}, num_classes)

    advice = "Each object counts once; leave it out."
    refused = {"sample_weight": advice, "class_weight": advice}
    return check_pairs_of(images_and_targets, "targets", given, refused, replicas, check)


def _check_targets(images, targets, num_classes):
    rows, height, width = images.shape[:3]
    number = targets["boxes"].shape[1] if targets["boxes"].ndim == 3 else "n"
    shapes = {
        "boxes": (rows, number, 4),
        "classes": (rows, number),
        "crowds": (rows, number),
        "masks": (rows, number, height, width),
        "sizes": (rows, 2),
    }
    for name, shape in shapes.items():
        if targets[name].shape != shape or number == 0:
            raise ValueError(
                f"The {name} do not fit the {rows} images of {height} x {width} pixels. Expected shape {shape}, with n "
                f"at least 1: pad with class -1. Received: {targets[name].shape}."
            )
    classes, boxes = targets["classes"], targets["boxes"]
    if classes.dtype.kind not in "iu" or classes.min() < -1 or classes.max() >= num_classes:
        raise ValueError(
            f"Classes must be whole numbers from 0 to {num_classes - 1}, and -1 for padding; background is none. "
            f"Received: dtype {classes.dtype}, min={classes.min()}, max={classes.max()}."
        )
    _check_boxes(boxes, classes, height, width)
    _check_marks("Masks", targets["masks"], "(masks > 0).astype('uint8')")
    _check_marks("Crowds", targets["crowds"], "crowds.astype(bool)")
    sizes_of(targets["sizes"], images)


def _check_boxes(boxes, classes, height, width):
    if boxes.dtype.kind not in "iuf":
        raise ValueError(f"The boxes must be numbers. Received: dtype {boxes.dtype}. `boxes.astype('float32')`.")
    there = boxes[classes >= 0]
    if not np.isfinite(there).all():
        raise ValueError("The boxes hold NaN or infinite values. Remove or repair them before training.")
    if len(there) and 0 <= there.min() and there.max() <= 1 and (there != np.round(there)).any():
        raise ValueError(
            f"Boxes must be corners x1 < x2, y1 < y2 in pixels. Received: none above 1, such as {there[0].tolist()}: "
            "shares of the image, it seems. `boxes * [width, height, width, height]` makes pixels of them."
        )
    wrong = (there[:, 2:] <= there[:, :2]).any(1) | (there < 0).any(1) | (there > [width, height] * 2).any(1)
    if wrong.any():
        raise ValueError(
            f"Boxes must be corners x1 < x2, y1 < y2 in pixels, within the {height} x {width} image. Received: "
            f"{there[wrong][0].tolist()}. Boxes of (x, y, width, height) become corners by adding the first two to the "
            "last two."
        )


def _check_marks(what, marks, advice):
    if marks.dtype.kind not in "uib" or marks.min(initial=0) < 0 or marks.max(initial=0) > 1:
        low, high = (marks.min(), marks.max()) if marks.dtype.kind in "uifb" and marks.size else ("none", "none")
        raise ValueError(
            f"{what} must be whole numbers, 0 or 1. Received: dtype {marks.dtype}, min={low}, max={high}. `{advice}`."
        )
