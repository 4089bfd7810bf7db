"""Fully convolutional networks (Long, Shelhamer and Darrell 2015): the class of each pixel of an image."""

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import check_kind
from zoo.losses.segmentation import pixel_cross_entropy, pixel_weights
from zoo.networks import segmentation as networks
from zoo.networks.detection import pad_to_multiple
from zoo.training import SGD, SegmentationModel, check_functional, confusion_of, minimize, with_shapes

_STRIDE = 32


@keras.saving.register_keras_serializable("zoo")
class FCN(SegmentationModel):
    """Segmentation of images into classes, by a classifier's network turned into convolutions.

    The loss is the cross-entropy of each pixel with a label, weighted by its class, over the sum of the weights of the
    batch. FCN-32s scores the coarsest features; FCN-16s and FCN-8s add scores of finer ones. In the paper each begins
    with the weights of the one before: `zoo.carry_over`.

    Images are RGB in [0, 255], of any size. `fit` takes them with labels, whole numbers (batch, height, width) from 0
    to `num_classes` - 1, or 255 for pixels that do not count. `evaluate`, and `fit` while it trains, also give pixel
    accuracy, mean accuracy, mean IU and frequency-weighted IU as the paper's section 5 defines them, of all pixels.

    Args:
        backbone: `keras.Model` from images to features at strides of 8, 16 and 32, such as
            `zoo.fcn_levels(keras_cv.models.VGG16Backbone(False, False, input_shape=(None, None, 3)))`; what that
            function takes will do.
        num_classes: Number of classes, background included, at most 255.
        stride: 32, 16 or 8, of the head that is built where none is given.
        head: As `zoo.fcn_head`; None for that, 4096 wide, as the paper's.
        class_weights: How much a pixel of each class counts; None for all alike.
        image_mean: Mean of red, green and blue, in [0, 1], that images are freed from.
        image_std: Their standard deviation, which images are divided by.
        image_size: (height, width) that images in files are brought to, for `from_bytes`.
        seed: Seed of dropout.

    Raises:
        ValueError: If a number is out of range, or the networks do not fit.

    Example:
        >>> resnet = torchvision_resnet(18, width=8, batch_norm="live")
        >>> model = FCN(resnet, num_classes=21, stride=8, head=fcn_head([16, 32, 64], 21, width=16))
        >>> model(np.zeros((1, 40, 50, 3), "uint8")).shape
        TensorShape([1, 40, 50, 21])

        vgg = keras_cv.models.VGG16Backbone(False, False, input_shape=(None, None, 3))
        model = FCN(vgg, num_classes=21, stride=8)
        model.compile()
        model.fit(source.batches(8), epochs=50)
        model.segment(photos)
    """

    terms = ("cross_entropy",)
    optimizer_networks = {"optimizer": ("backbone", "head")}
    remedy = "Look at the labels, lower the learning rate, or give `fcn_head` smaller `scales`."

    def __init__(
        self,
        backbone,
        num_classes,
        stride=8,
        *,
        head=None,
        class_weights=None,
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
        image_size=(256, 256),
        seed=0,
        **kwargs,
    ):
        super().__init__(num_classes, seed=seed, **kwargs)
        check_kind("backbone", backbone, keras.Model, "a network to features at strides of 8, 16 and 32")
        (backbone,) = with_shapes(backbone=backbone)
        check_functional(backbone=backbone, head=head)
        self.backbone = networks.fcn_levels(backbone)
        channels = [one.shape[-1] for one in self.backbone.outputs]
        self.stride = stride
        self.head = head or networks.fcn_head(channels, self.num_classes, stride)
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))
        self.image_mean, self.image_std = tuple(image_mean), tuple(image_std)
        self.image_size = tuple(image_size)
        _check(self, channels)

    def default_optimizer(self):
        """The paper's for VGG16 (section 4.3), begun with the weights of a classifier; biases move as weights do.

        The authors' biases move twice as fast, and do not decay.
        """
        return SGD(1e-4, momentum=0.9, weight_decay=5e-4)

    def train_step(self, data):
        """One update of both networks."""
        images, labels = data
        batch = self.open_batch(images)
        inputs = (images, labels, batch.keys("dropout"), self.scale(batch, labels))
        moved, kept = (self.backbone, self.head), ("nats", "weights", "counts")
        found = minimize(self.objective, inputs, moved, self.optimizer, batch, keep=kept)
        return self.note(batch, self.track, found)

    def test_step(self, data):
        """The loss and what is right, without dropout."""
        images, labels = data
        batch = self.open_batch(images)
        found = self.objective(images, labels, batch.keys("dropout"), self.scale(batch, labels), training=False)
        return self.note(batch, self.observe, found)

    def objective(self, images, labels, keys, scale, training=True):
        """The loss of each row, (batch,), and what is counted of it.

        Args:
            images: (batch, height, width, 3).
            labels: int (batch, height, width).
            keys: Of dropout, int64 (batch,).
            scale: Number that makes the mean over rows one over pixels, (batch,).
            training: Whether there is dropout.
        """
        logits = self.logits(images, training, keys)
        weights = pixel_weights(labels, self.class_weights)
        nats = tf.reduce_sum(weights * pixel_cross_entropy(labels, logits), (1, 2))
        kept = {"nats": nats, "weights": tf.reduce_sum(weights, (1, 2)), "counts": confusion_of(labels, logits)}
        return {"cross_entropy": nats * scale, **kept}

    def logits(self, images, training=False, keys=None):
        """Scores of each class for each pixel, float32 (batch, height, width, num_classes)."""
        height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in (1, 2))
        pixels = (tf.cast(images, tf.float32) / 255 - tf.constant(self.image_mean)) / tf.constant(self.image_std)
        keys = tf.zeros(tf.shape(images)[:1], tf.int64) if keys is None else keys
        features = self.backbone(pad_to_multiple(pixels, _STRIDE), training=training)
        return tf.cast(self.head([*features, keys], training=training)[:, :height, :width], tf.float32)

    def call(self, images, training=False):
        """`logits` of images."""
        return self.logits(images, training)

    def scale(self, batch, labels):
        """Rows over weights of pixels of the whole batch, for each row, (rows,); 0 where no pixel counts."""
        total = batch.total(tf.reduce_sum(pixel_weights(labels, self.class_weights), (1, 2)))
        return tf.fill((batch.num_rows,), tf.math.divide_no_nan(tf.cast(batch.size, tf.float32), total))

    def note(self, batch, add, found):
        """Adds the loss, a mean over this replica's pixels, and the counts of pixels to what is logged."""
        self.confusion.update_state(tf.reduce_sum(tf.cast(found["counts"], tf.float64), 0))
        weight = tf.reduce_sum(found["weights"])
        nats = tf.math.divide_no_nan(tf.reduce_sum(found["nats"]), weight)
        return add(batch, weights={"cross_entropy": weight}, cross_entropy=nats)


def _check(model, channels):
    if model.class_weights is not None and (
        len(model.class_weights) != model.num_classes or min(model.class_weights) < 0 or not any(model.class_weights)
    ):
        raise ValueError(
            f"`class_weights` must be a number of 0 or more for each of {model.num_classes} classes, not all 0. "
            f"Received: {model.class_weights}."
        )
    for name in ("image_mean", "image_std"):
        values = getattr(model, name)
        if len(values) != 3 or not np.isfinite(values).all() or (name == "image_std" and min(values) <= 0):
            raise ValueError(f"`{name}` must be three numbers, of red, green and blue. Received: {values}.")
    if len(model.image_size) != 2 or any(not isinstance(side, int) or side < 1 for side in model.image_size):
        raise ValueError(f"`image_size` must be height and width in pixels. Received: {model.image_size}.")
    given, made = [one.shape[-1] for one in model.head.inputs[:-1]], model.head.output_shape[-1]
    if given != channels or made != model.num_classes:
        raise ValueError(
            f"The head must take features of {channels} channels and keys, and score {model.num_classes} classes. "
            f"Received: one that takes {given} and scores {made}. `fcn_head({channels}, {model.num_classes})` fits."
        )
