"""What models of the class of each pixel share: the checks of their examples, label maps, and what they serve."""

import itertools
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import VOID, check_positive
from zoo.confusion import confusion_scores
from zoo.encoded import encode, fit_all_to_canvas
from zoo.rows import finite_only, never_empty
from zoo.training.detections import IMAGES, check_images
from zoo.training.examples import check_pairs_of, first_batch
from zoo.training.inputs import array_of, images_by_size, in_order
from zoo.training.model import TrainStepModel

# Scores that differ by less may change places where they are computed in another order.
_CLOSE, _WARMUP_SEEDS = 2e-5, 10
# Pixels of a side of the noise in a request; large pictures of noise alone mostly have scores so close.
_NOISE = (64, 32, 16, 8)


class SegmentationModel(TrainStepModel):
    """Base of models that say of each pixel to which class it belongs.

    A subclass has `image_size`, and `logits(images)`, which returns float32 (batch, height, width, num_classes). Its
    steps hand what they found right and wrong to `count`.

    Example:
        >>> [method for method in vars(SegmentationModel) if method in ("segment", "probabilities", "signatures")]
        ['segment', 'probabilities', 'signatures']
        >>> issubclass(zoo.FCN, SegmentationModel)
        True
    """

    example_shape = (None, None, 3)
    counted = higher_is_better = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        check_positive("num_classes", num_classes)
        if num_classes > VOID:
            raise ValueError(f"`num_classes` must be at most {VOID}, since labels are bytes. Received: {num_classes}.")
        self.num_classes = int(num_classes)
        self.confusion = ConfusionMatrix(self.num_classes)

    @property
    def metrics(self):
        """The running means of the loss terms, and the counts of pixels."""
        return [*self.trackers, self.confusion]

    def sums(self):
        """As of `TrainStepModel`, and the counts of pixels."""
        # In 64 bits, since a data set has more pixels than 32 bits can count one by one.
        return tf.concat([tf.cast(super().sums(), tf.float64), tf.reshape(self.confusion.counts.value, (-1,))], 0)

    def figures(self, sums):
        """The means of the terms, and the shares of pixels that are right (Long et al. 2015, section 5)."""
        size = self.num_classes**2
        return {**super().figures(sums[:-size]), **self.confusion.figures(sums[-size:])}

    def examples_of(self, data):
        """What `train_step` takes, from what `fit` hands over: images and labels."""
        return images_and_labels(data)

    def check_fit(self, given):
        """Checks what `fit` or `evaluate` is given, {argument: value}, before the first step."""
        return check_segmentation(given, self.num_classes, self.distribute_strategy.num_replicas_in_sync)

    def segment(self, images, batch_size=8):
        """The most likely class of each pixel.

        Args:
            images: (n, height, width, 3) in [0, 255], uint8 or floats; or a list of n images of different sizes.
            batch_size: Images at a time.

        Returns:
            uint8 (n, height, width); of images of different sizes a list of n arrays (height, width).

        Raises:
            ValueError: If the images have another shape or range.

        Example:
            labels = model.segment(photos)
        """
        return self._of_images("segment", lambda images: most_likely(self.logits(images)), images, batch_size)

    def probabilities(self, images, batch_size=8):
        """How likely each class is, float32 (n, height, width, num_classes); arguments as of `segment`."""
        return self._of_images("probabilities", lambda images: tf.nn.softmax(self.logits(images)), images, batch_size)

    def _of_images(self, name, function, images, batch_size):
        check_positive("batch_size", batch_size)
        groups = images_by_size(name, images, IMAGES)
        for _, one in groups:
            check_images(one)
        compiled = self.compiled_once(name, function)

        def found(images):
            parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
            return np.concatenate([compiled(tf.convert_to_tensor(part)).numpy() for part in parts])

        return in_order([(places, found(one)) for places, one in groups])

    def check_inputs(self, what, x):
        """Checks images in [0, 255]."""
        images = array_of(what, x, IMAGES)
        check_images(images)
        return images

    def signatures(self):
        """What is served: labels and probabilities of images of one size, and labels of those in files.

        `segment`, which is `serving_default` too, takes uint8 images of any one size, and returns uint8 `labels`.
        `probabilities` returns those as well, and `from_floats` does the same for float32 images in [0, 255].
        `from_bytes` takes JPEG, PNG, GIF or BMP files, each of a size of its own, and brings them to `image_size` with
        their aspect kept. Its labels are of that canvas, 255 beside the picture, and `sizes` says how high and wide the
        picture is on it. How a camera was held (EXIF) is not read. A picture of more than 33,554,432 pixels is refused
        before it is decoded (`zoo.encoded.MAX_PIXELS`).
        """
        images = {"images": tf.TensorSpec((None, None, None, 3), tf.uint8)}
        floats = {"images": tf.TensorSpec((None, None, None, 3), tf.float32)}
        files = {"image_bytes": tf.TensorSpec((None,), tf.string)}
        # One function that all of them call.
        logits = tf.function(self.logits, input_signature=list(floats.values()), autograph=False)
        segment = (partial(_segment, logits), images)
        return {
            "serving_default": segment,
            "segment": segment,
            "probabilities": (partial(_probabilities, logits), images),
            "from_floats": (finite_only(partial(_probabilities, logits)), floats),
            "from_bytes": (partial(_from_bytes, never_empty(logits), self.image_size), files),
        }

    def warmup(self):
        """Requests that each version answers before it takes traffic: two images as large as `image_size`.

        They are of one colour, with as much noise at the top left as may be, and the first in which no two classes of a
        pixel are so close that rounding, which differs from one program to another, could change their places: before
        it is published, an export must give what the model does.
        """
        for side, seed in itertools.product(_NOISE, range(_WARMUP_SEEDS)):
            rng = np.random.default_rng(seed)
            images = np.tile(rng.integers(0, 256, (2, 1, 1, 3), dtype="uint8"), (1, *self.image_size, 1))
            noisy = images[:, :side, :side]
            noisy[...] = rng.integers(0, 256, noisy.shape, dtype="uint8")
            logits = self.logits(tf.constant(images))
            best = tf.math.top_k(logits, min(2, self.num_classes)).values.numpy()
            apart = best[..., 0] - best[..., -1]
            # Equal ones, as of a network that was not trained, stay equal.
            if ((apart == 0) | (apart > _CLOSE * np.abs(best).max())).all():
                break
        files = np.array([encode(image / 127.5 - 1).numpy() for image in images], dtype=object)
        of_images = [(name, {"images": images}) for name in ("serving_default", "segment", "probabilities")]
        of_floats = ("from_floats", {"images": images.astype("float32")})
        return [*of_images, of_floats, ("from_bytes", {"image_bytes": files})]


class ConfusionMatrix(keras.metrics.Metric):
    """How many pixels of each class were taken for each: rows are the truth, columns what was said.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes, name="confusion"):
        super().__init__(name=name, dtype="float64")
        self.counts = self.add_variable((num_classes, num_classes), "zeros", dtype="float64", name="counts")

    def update_state(self, counts):
        """Adds counts (num_classes, num_classes)."""
        self.counts.assign_add(tf.cast(counts, tf.float64))

    def result(self):
        """The figures of what this replica has seen."""
        return self.figures(self.counts.value)

    @staticmethod
    def figures(counts):
        """Pixel accuracy, mean accuracy, mean and frequency-weighted IU of counts: `zoo.metrics.segmentation_scores`.

        Where that says None, since no pixel is labelled, this says 0: logs hold numbers.
        """
        size = round(counts.shape.num_elements() ** 0.5)
        return confusion_scores(tf.reshape(counts, (size, size)), keras.ops)


def most_likely(logits):
    """The class with the highest score, uint8 (...), of (..., num_classes)."""
    return tf.cast(tf.argmax(logits, -1, output_type=tf.int32), tf.uint8)


def confusion_of(labels, logits):
    """How many pixels of each class were taken for each, of each image.

    Args:
        labels: int (batch, height, width), 255 where a pixel does not count.
        logits: (batch, height, width, K).

    Returns:
        float32 (batch, K, K), whole numbers; rows are the truth.

    Example:
        >>> logits = tf.one_hot([[[0, 1, 1]]], 2)
        >>> confusion_of(tf.constant([[[0, 0, 255]]]), logits).numpy()
        array([[[1., 1.],
                [0., 0.]]], dtype=float32)
    """
    size = logits.shape[-1]
    labels, said = tf.cast(labels, tf.int32), tf.argmax(logits, -1, output_type=tf.int32)
    places = tf.where(labels == VOID, size * size, labels * size + said)
    rows = places.shape[0] or tf.shape(places)[0]
    # The kernel itself: `tf.math.bincount` looks at the values for how many counts there are, which XLA cannot.
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(places, (rows, -1)), size=size**2 + 1, weights=tf.constant([], tf.float32)
    )
    return tf.reshape(counts[:, :-1], (rows, size, size))


def images_and_labels(data):
    """Images and their label maps, in what `fit` is given or hands to a step.

    Raises:
        ValueError: If there is something else.
    """
    parts = tuple(part for part in data if part is not None) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) == 1 and isinstance(parts[0], (tuple, list)):
        return images_and_labels(parts[0])
    if len(parts) != 2 or not all(hasattr(part, "shape") for part in parts):
        kinds = ", ".join("a dict" if isinstance(part, dict) else type(part).__name__ for part in parts)
        raise ValueError(
            f"This model learns from images and the label of each of their pixels. Received: {kinds or 'nothing'}. "
            "`zoo.data.load_segmentation(...).batches(8)` gives both, or `model.fit(images, labels)`."
        )
    return parts


def check_segmentation(given, num_classes, replicas):
    """Checks what `fit` is given, before the first step.

    Args:
        given: {name: value} of the arguments of `keras.Model.fit`; or {"x": `validation_data`, "trained_on": those}.
        num_classes: Number of classes of the model.
        replicas: Number of replicas over which a batch is split.

    Returns:
        The images that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If something is missing or does not fit.
    """

    # A batch of a data set may show nothing but background, and what is beside its pictures.
    are_all = not hasattr(given.get("x"), "element_spec")

    def check(images, labels):
        check_images(images)
        labels = np.asarray(labels)
        check_labels(images, labels, num_classes)
        if are_all and len(labels) > 1 and num_classes > 1:
            _check_more_than_background(labels, num_classes, given.get("trained_on", {}))

    refused = {
        "sample_weight": f"Give pixels that do not count the label {VOID}.",
        "class_weight": "Build the model with `class_weights`.",
    }
    return check_pairs_of(images_and_labels, "labels", given, refused, replicas, check)


def check_labels(images, labels, num_classes):
    """Checks that labels fit images.

    Args:
        images: Array (batch, height, width, 3).
        labels: Array, to be whole numbers (batch, height, width), below `num_classes` or 255.
        num_classes: Number of classes.

    Raises:
        ValueError: If they do not.
    """
    if labels.shape != images.shape[:3]:
        raise ValueError(
            f"The labels do not fit the images. Expected shape {images.shape[:3]}, a class for each pixel. Received: "
            f"{labels.shape}."
            + (" Drop the last axis: `labels[..., 0]`." if labels.shape == (*images.shape[:3], 1) else "")
            + (" Classes instead of scores: `labels.argmax(-1)`." if labels.ndim == 4 and labels.shape[-1] > 1 else "")
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"Labels must be whole numbers. Received: dtype {labels.dtype}. `labels.astype('uint8')`.")
    wrong = np.unique(labels[(labels != VOID) & ((labels < 0) | (labels >= num_classes))])
    if len(wrong):
        raise ValueError(
            f"Labels must be from 0 to {num_classes - 1}, or {VOID} for pixels that do not count. Received: "
            f"{', '.join(map(str, wrong[:5]))}. Build the model for more classes, or make those pixels {VOID}."
        )


def _check_more_than_background(labels, num_classes, trained_on):
    counted = labels[labels != VOID]
    is_background = counted.size and not counted.any()
    if is_background and counted.size < labels.size and not _shows_classes(trained_on):
        raise ValueError(
            f"Labels must be from 0 to {num_classes - 1}, and {VOID} for pixels that do not count. Received: 0 and "
            f"{VOID} alone, of which nothing but class 0 is learnt. In masks of black and white, "
            "`(labels > 0).astype('uint8')` makes class 1 of white."
        )


def _shows_classes(trained_on):
    """Whether what `fit` learns from has classes, so far as one may look; where it has, 255 is void beside it, too."""
    x, y = trained_on.get("x"), trained_on.get("y")
    first = None if x is None else first_batch(x if y is None else (x, y))
    if first is None:
        return False
    labels = np.asarray(images_and_labels(first)[1])
    return bool(((labels != VOID) & (labels > 0)).any())


def _segment(logits, images):
    return {"labels": most_likely(logits(tf.cast(images, tf.float32)))}


def _probabilities(logits, images):
    scores = logits(tf.cast(images, tf.float32))
    return {"labels": most_likely(scores), "probabilities": tf.nn.softmax(scores)}


def _from_bytes(logits, canvas, image_bytes):
    images, fitted, _ = fit_all_to_canvas(image_bytes, canvas)
    rows = tf.range(canvas[0])[None, :, None] < fitted[:, 0, None, None]
    columns = tf.range(canvas[1])[None, None] < fitted[:, 1, None, None]
    labels = tf.where(rows & columns, most_likely(logits(images)), tf.constant(VOID, tf.uint8))
    return {"labels": labels, "sizes": fitted}
