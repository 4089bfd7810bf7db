"""Mask R-CNN (He et al. 2017): objects in images, with their boxes, classes and masks."""

import keras
import tensorflow as tf

from zoo.checks import check_choice, check_number, check_whole
from zoo.detection.boxes import anchors, encode, fewest, length
from zoo.detection.masks import crop_masks
from zoo.detection.matching import match, sample
from zoo.detection.pooling import pool_regions
from zoo.detection.selection import BOX_WEIGHTS, best_boxes, propose
from zoo.losses.categorical import cross_entropy
from zoo.losses.detection import mask_loss, objectness_loss, smooth_l1
from zoo.networks import detection as networks
from zoo.random import uniform_of_keys
from zoo.training import SGD, DetectionModel, check_functional, minimize, with_shapes

# Levels of the pyramid: proposals come from all, and the heads read all but the coarsest.
_LEVELS, _READ = (2, 3, 4, 5, 6), (2, 3, 4, 5)
_STRIDE = 32
# Largest shares of objects among the anchors and proposals that are learnt from.
_ANCHOR_SHARE, _BOX_SHARE = 0.5, 0.25
# So that there may be one object.
_FEWEST = {"num_anchor_samples": 2, "num_box_samples": 4}
_TARGETS = ("boxes", "classes", "crowds", "masks", "sizes")


@keras.saving.register_keras_serializable("zoo")
class MaskRCNN(DetectionModel):
    """Detector of objects that also says which pixels they have.

    L = L_rpn_class + L_rpn_box + L_class + L_box + L_mask (He et al. 2017, section 3; Ren et al. 2015, equation 1). The
    first two teach the region proposal network which anchors are objects and how they have to move. The others teach
    the heads, on proposals of that network, their class, box, and the mask of the true class only. Each is the mean
    over an image's sampled anchors, proposals or objects, and then over images. Masks are learnt where they are pasted,
    to the pixel; torchvision's targets are half a pixel off. Errors of boxes are squared below 1/9 in both, as in
    torchvision; Detectron's box head has 1 (`zoo.losses.detection.smooth_l1`).

    Images are RGB in [0, 255], of any size. `fit` takes them with targets, a dict of `boxes`, float (batch, n, 4) with
    corners x1, y1, x2, y2 in pixels; `classes`, int (batch, n), -1 for padding; `crowds`, bool (batch, n): what lies in
    one is no background; `masks`, uint8 (batch, n, height, width), 0 or 1; and `sizes`, int (batch, 2), height and
    width of the picture within its image. `zoo.data.load_detection` gives such batches.

    Args:
        backbone: `keras.Model` from images to features [C2, C3, C4, C5] at strides of 4, 8, 16, 32, such as
            `zoo.torchvision_resnet`; or a backbone of KerasCV with `pyramid_level_inputs`.
        num_classes: Classes of objects, background not counted.
        feature_pyramid: `keras.Model` from these features to five of one width; None for `zoo.feature_pyramid`, 256
            wide.
        rpn_head: As `zoo.rpn_head`; None for that.
        box_head: As `zoo.box_head`; None for that.
        mask_head: As `zoo.mask_head`; None for that.
        image_mean: Mean of red, green and blue, in [0, 1], that images are freed from.
        image_std: Their standard deviation, which images are divided by.
        anchor_sizes: Side in pixels of the anchors of each of the five levels.
        aspect_ratios: Heights over widths of the anchors.
        num_anchor_samples: Anchors of an image to learn from, 2 or more, at most half of them objects.
        num_box_samples: Proposals of an image to learn from (paper: 512), 4 or more, at most a quarter of them
            objects.
        num_training_proposals: Proposals of an image to sample from (paper: 2000).
        num_proposals: Proposals of an image to detect in (paper: 1000).
        pooling: "align" for RoIAlign, "pool" for RoIPool, which the paper compares it with.
        score_threshold: Lowest score of a detection; of an image's scores above it, the 4,000 highest are looked at.
        max_detections: Most detections in an image (paper: 100).
        overlap: Overlap from which the lower of two boxes of one class is left out.
        image_size: (height, width) that images in files are brought to, multiples of 32, for `from_bytes`.
        seed: Seed of the samples.

    Raises:
        ValueError: If a number is out of range, or the networks do not fit.

    Example:
        >>> resnet = torchvision_resnet(18, width=8)
        >>> model = MaskRCNN(resnet, num_classes=80, feature_pyramid=feature_pyramid([8, 16, 32, 64], width=8))
        >>> found = model(np.zeros((1, 64, 64, 3), "uint8"))  # `detect` returns the same, as arrays
        >>> {name: one.shape.rank for name, one in found.items()}
        {'boxes': 3, 'classes': 2, 'scores': 2, 'masks': 4, 'num_detections': 1}

        model = MaskRCNN(torchvision_resnet(50), num_classes=80)
        model.compile(zoo.training.SGD(0.02, momentum=0.9, weight_decay=1e-4))
        model.fit(source.batches(8), epochs=12)
        model.detect(photos)["boxes"]
    """

    terms = ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")
    optimizer_networks = {"optimizer": ("backbone", "feature_pyramid", "rpn_head", "box_head", "mask_head")}
    remedy = "Look at the boxes and masks, lower the learning rate, or let it rise over the first steps."

    def __init__(
        self,
        backbone,
        num_classes,
        *,
        feature_pyramid=None,
        rpn_head=None,
        box_head=None,
        mask_head=None,
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
        anchor_sizes=(32, 64, 128, 256, 512),
        aspect_ratios=(0.5, 1.0, 2.0),
        num_anchor_samples=256,
        num_box_samples=512,
        num_training_proposals=2000,
        num_proposals=1000,
        pooling="align",
        score_threshold=0.05,
        max_detections=100,
        overlap=0.5,
        image_size=(320, 320),
        seed=0,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        counts = {
            "num_classes": num_classes,
            "num_anchor_samples": num_anchor_samples,
            "num_box_samples": num_box_samples,
            "num_training_proposals": num_training_proposals,
            "num_proposals": num_proposals,
            "max_detections": max_detections,
        }
        for name, count in counts.items():
            check_whole(name, count, low=_FEWEST.get(name, 1))
            setattr(self, name, int(count))
        check_choice("pooling", pooling, ("align", "pool"))
        check_number("score_threshold", score_threshold, 0, below=1)
        check_number("overlap", overlap, 0, below=1)
        self.pooling, self.score_threshold, self.overlap = pooling, score_threshold, overlap
        self.image_mean, self.image_std = tuple(image_mean), tuple(image_std)
        self.anchor_sizes, self.aspect_ratios = tuple(anchor_sizes), tuple(aspect_ratios)
        self.image_size = tuple(image_size)
        if len(self.anchor_sizes) != len(_LEVELS):
            raise ValueError(f"`anchor_sizes` must be one for each of 5 levels. Received: {anchor_sizes}.")
        if len(self.image_size) != 2 or any(side < 1 or side % _STRIDE for side in self.image_size):
            raise ValueError(f"`image_size` must be two multiples of {_STRIDE}. Received: {image_size}.")
        backbone, rpn_head, box_head = with_shapes(backbone=backbone, rpn_head=rpn_head, box_head=box_head)
        check_functional(feature_pyramid=feature_pyramid, rpn_head=rpn_head, box_head=box_head, mask_head=mask_head)
        is_of_keras_cv = hasattr(backbone, "pyramid_level_inputs")
        self.backbone = networks.pyramid_levels(backbone) if is_of_keras_cv else backbone
        self.feature_pyramid = feature_pyramid or _pyramid_of(self.backbone)
        width = self.feature_pyramid.outputs[0].shape[-1]
        self.rpn_head = rpn_head or networks.rpn_head(width, len(self.aspect_ratios))
        self.box_head = box_head or networks.box_head(self.num_classes, width)
        self.mask_head = mask_head or networks.mask_head(self.num_classes, width)
        _check_fit_together(self)

    def default_optimizer(self):
        """The paper's for 16 images a batch (section 3.1), without its schedule; biases move as weights do.

        In Detectron, biases move twice as fast, and do not decay.
        """
        return SGD(0.02, momentum=0.9, weight_decay=1e-4)

    def train_step(self, data):
        """One update of all networks."""
        images, targets = data
        batch = self.open_batch(images)
        inputs = (images, *(targets[name] for name in _TARGETS), batch.keys("samples"))
        moved = tuple(self.networks_of("optimizer").values())
        return self.track(batch, **minimize(self.objective, inputs, moved, self.optimizer, batch))

    def test_step(self, data):
        """The terms, on proposals as in training."""
        images, targets = data
        batch = self.open_batch(images)
        inputs = (images, *(targets[name] for name in _TARGETS), batch.keys("samples"))
        return self.observe(batch, **self.objective(*inputs, training=False))

    def objective(self, images, boxes, classes, crowds, masks, sizes, keys, training=True):
        """{term: (batch,)} of the targets in `fit`, and a key for the samples of each row."""
        boxes, crowds, there = tf.cast(boxes, tf.float32), tf.cast(crowds, tf.bool), classes >= 0
        features = self.features(images, sizes, training)
        everywhere = self.everywhere(features, images, training)
        terms = self.proposal_terms(*everywhere, boxes, crowds, there, keys)
        everywhere = tf.nest.map_structure(tf.stop_gradient, everywhere)
        proposals, found = propose(*everywhere, sizes, self.num_training_proposals)
        # The objects themselves, so that there are some from the start.
        proposals, found = tf.concat([proposals, boxes], 1), tf.concat([found, there & ~crowds], 1)
        rows, is_object, is_background = match(proposals, boxes, crowds, there, positive=0.5, negative=0.5)
        drawn = uniform_of_keys(keys, length(proposals), stream=1)
        chosen, is_object, is_there = sample(
            drawn, is_object & found, is_background & found, self.num_box_samples, _BOX_SHARE
        )
        rows = tf.gather(rows, chosen, batch_dims=1)
        regions = {
            "proposals": tf.gather(proposals, chosen, batch_dims=1),
            "boxes": tf.gather(boxes, rows, batch_dims=1),
            "classes": tf.where(is_object, tf.gather(classes, rows, batch_dims=1), -1),
            "rows": rows,
        }
        terms |= self.box_terms(features, regions, is_there, training)
        most = fewest(int(_BOX_SHARE * self.num_box_samples), length(is_object))
        objects = {name: one[:, :most] for name, one in regions.items()}
        return {**terms, "mask_loss": self.mask_term(features, objects, is_object[:, :most], masks, training)}

    def proposal_terms(self, logits, deltas, anchors, boxes, crowds, there, keys):
        """What the region proposal network has to learn, of sampled anchors."""
        logits, deltas, anchors = tf.concat(logits, 1), tf.concat(deltas, 1), tf.concat(anchors, 0)
        rows, *kinds = match(anchors[None], boxes, crowds, there, positive=0.7, negative=0.3, match_all=True)
        drawn = uniform_of_keys(keys, length(logits))
        chosen, is_object, is_there = sample(drawn, *kinds, self.num_anchor_samples, _ANCHOR_SHARE)
        logits, deltas, rows = (tf.gather(one, chosen, batch_dims=1) for one in (logits, deltas, rows))
        wanted = _encoded(tf.gather(boxes, rows, batch_dims=1), tf.gather(anchors, chosen), is_object)
        right = tf.where(is_there, objectness_loss(logits, is_object), 0.0)
        moved = smooth_l1(tf.where(is_object[..., None], deltas - wanted, 0.0))
        count = tf.reduce_sum(tf.cast(is_there, tf.float32), 1)
        return {
            "rpn_class_loss": tf.math.divide_no_nan(tf.reduce_sum(right, 1), count),
            "rpn_box_loss": tf.math.divide_no_nan(tf.reduce_sum(moved, 1), count),
        }

    def box_terms(self, features, regions, is_there, training):
        """What the box head has to learn, of sampled proposals."""
        places, regions, counts = self.rows_of(regions, is_there)
        logits, deltas = self.box_head(
            self.pooled(features, regions["proposals"], places, self.box_head), training=training
        )
        classes, is_object = regions["classes"], (regions["classes"] >= 0) & (counts > 0)
        logits, deltas = tf.cast(logits, tf.float32), _float(deltas, (-1, self.num_classes, 4))
        right = cross_entropy(classes + 1, logits) * counts
        deltas = tf.gather(deltas, tf.maximum(classes, 0), batch_dims=1)
        wanted = _encoded(regions["boxes"], regions["proposals"], is_object, BOX_WEIGHTS)
        moved = smooth_l1(tf.where(is_object[:, None], deltas - wanted, 0.0))
        return {"class_loss": _mean_of(right, places, is_there), "box_loss": _mean_of(moved, places, is_there)}

    def mask_term(self, features, regions, is_object, masks, training):
        """What the mask head has to learn, of the proposals that stand for objects: (batch,)."""
        places, regions, counts = self.rows_of(regions, is_object)
        given = self.pooled(features, regions["proposals"], places, self.mask_head)
        logits = self.mask_head([given, tf.maximum(regions["classes"], 0)], training=training)
        whole = tf.gather_nd(masks, tf.stack([places[:, 0], regions["rows"]], 1))
        wanted = crop_masks(whole, regions["proposals"], logits.shape[-1])
        return _mean_of(mask_loss(logits, wanted) * counts, places, is_object)

    def features(self, images, sizes=None, training=False):
        """{level: (batch, height, width, width of the pyramid)} of images (batch, height, width, 3) in [0, 255]."""
        pixels = tf.cast(images, tf.float32) / 255
        pixels = (pixels - tf.constant(self.image_mean)) / tf.constant(self.image_std)
        height, width = _sides(images)
        if sizes is not None:
            # What is around a picture is worth what the padding of a convolution is.
            rows = tf.range(height)[None, :, None] < sizes[:, None, None, 0]
            columns = tf.range(width)[None, None] < sizes[:, None, None, 1]
            pixels = tf.where((rows & columns)[..., None], pixels, 0.0)
        features = self.backbone(networks.pad_to_multiple(pixels, _STRIDE), training=training)
        found = self.feature_pyramid(features, training=training)
        return dict(zip(_LEVELS, found, strict=True))

    def everywhere(self, features, images, training=False):
        """Logits (batch, n), deltas (batch, n, 4) and anchors (n, 4) of each level, in three tuples."""
        sides, found = [networks.round_up(side, _STRIDE) for side in _sides(images)], []
        for size, one in zip(self.anchor_sizes, features.values(), strict=True):
            logits, deltas = self.rpn_head(one, training=training)
            rows = tf.shape(one)[0]
            logits, deltas = _float(logits, (rows, -1)), _float(deltas, (rows, -1, 4))
            found.append((logits, deltas, anchors(_sides(one), sides, size, self.aspect_ratios)))
        return tuple(zip(*found, strict=True))

    def rows_of(self, regions, is_there):
        """Regions (batch, n, ...) in one list (m, ...): those that are there, or all where XLA fixes the shapes.

        Where none is there, the first is listed, and does not count: oneDNN's gradients of no rows have wrong shapes.

        Returns:
            Tuple of their places (image, number), int32 (m, 2); the regions; and 1.0 for those that are there, else
            0.0, float32 (m,).
        """
        if self.is_compiled:
            sides = [tf.range(side) for side in tf.unstack(tf.shape(is_there))]
            places = tf.reshape(tf.stack(tf.meshgrid(*sides, indexing="ij"), -1), (-1, 2))
        else:
            places = tf.cast(tf.where(is_there), tf.int32)
            first = tf.zeros((tf.minimum(tf.shape(is_there)[0], 1), 2), tf.int32)
            places = tf.cond(tf.reduce_any(is_there), lambda: places, lambda: first)
        found = {name: tf.gather_nd(one, places) for name, one in regions.items()}
        return places, found, tf.cast(tf.gather_nd(is_there, places), tf.float32)

    @property
    def is_compiled(self):
        """Whether XLA compiles the training step."""
        return self.compiled and bool(self.jit_compile)

    def pooled(self, features, boxes, places, head):
        """Features of regions as a head takes them, (m, size, size, width)."""
        read, size = {level: features[level] for level in _READ}, head.inputs[0].shape[1]
        return pool_regions(read, boxes, places[:, 0], size, method=self.pooling, compiled=self.is_compiled)

    def detections(self, images, sizes=None):
        """Objects in images (batch, height, width, 3) in [0, 255], as `detect` returns them, as tensors."""
        if sizes is None:
            sizes = tf.tile(tf.shape(images)[None, 1:3], (tf.shape(images)[0], 1))
        features = self.features(images, sizes)
        proposals, there = propose(*self.everywhere(features, images), sizes, self.num_proposals)
        probabilities, deltas = self.judged(features, proposals, there)
        limits = {"score_threshold": self.score_threshold, "overlap": self.overlap, "count": self.max_detections}
        boxes, classes, scores, there = best_boxes(proposals, probabilities, deltas, sizes, **limits)
        return {
            "boxes": boxes,
            "classes": classes,
            "scores": scores,
            "masks": self.masks_in(features, boxes, classes, there),
            "num_detections": tf.reduce_sum(tf.cast(there, tf.int32), 1),
        }

    def judged(self, features, proposals, there):
        """Probabilities (batch, n, classes) of proposals, 0 where there is none, and their deltas."""
        places, regions, counts = self.rows_of({"proposals": proposals}, there)
        logits, deltas = self.box_head(self.pooled(features, regions["proposals"], places, self.box_head))
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))[:, 1:] * counts[:, None]
        deltas = _float(deltas, (-1, self.num_classes, 4))
        return _in_batch(probabilities, places, there), _in_batch(deltas, places, there)

    def masks_in(self, features, boxes, classes, there):
        """Probabilities (batch, D, M, M) of the masks of boxes of given classes, 0 where there is none."""
        places, regions, counts = self.rows_of({"boxes": boxes, "classes": tf.maximum(classes, 0)}, there)
        given = self.pooled(features, regions["boxes"], places, self.mask_head)
        logits = self.mask_head([given, regions["classes"]])
        return _in_batch(tf.sigmoid(tf.cast(logits, tf.float32)) * counts[:, None, None], places, there)

    def call(self, images, training=False):
        """As `detections`."""
        return self.detections(images)


def _pyramid_of(backbone):
    """The feature pyramid of a backbone, which must have four outputs."""
    outputs = getattr(backbone, "outputs", ())
    if len(outputs) != 4:
        raise ValueError(
            "The backbone must be a `keras.Model` from images to features at strides of 4, 8, 16 and 32, 4 outputs. "
            f"Received: {backbone!r} with {len(outputs)} outputs. `keras.Model(inputs, [c2, c3, c4, c5])` makes one."
        )
    return networks.feature_pyramid([one.shape[-1] for one in outputs])


def _check_fit_together(model):
    num_anchors, num_classes = len(model.aspect_ratios), model.num_classes
    width = model.feature_pyramid.outputs[0].shape[-1]
    expected = {
        "feature_pyramid": (len(model.feature_pyramid.outputs), 5, "outputs"),
        "rpn_head": (model.rpn_head.outputs[0].shape[-1], num_anchors, "anchors at each place, as `aspect_ratios` has"),
        "box_head": (model.box_head.outputs[0].shape[-1], num_classes + 1, "scores: of each class, and of background"),
    }
    for name in ("rpn_head", "box_head", "mask_head"):
        given = getattr(model, name).inputs[0].shape[-1]
        if given != width:
            raise ValueError(f"The {name} must take the {width} channels of the feature pyramid. Received: {given}.")
    for name, (received, wanted, what) in expected.items():
        if received != wanted:
            raise ValueError(f"The {name} must have {wanted} {what}. Received: {received}.")


def _encoded(boxes, references, count, weights=(1.0, 1.0, 1.0, 1.0)):
    """What `encode` makes of the boxes that count, and of others nothing infinite."""
    whole = tf.constant([0.0, 0.0, 1.0, 1.0])
    boxes, references = (tf.where(count[..., None], one, whole) for one in (boxes, references))
    return encode(boxes, references, weights)


def _mean_of(values, places, counts):
    """The mean of values (m,) over those of each image that count, (batch,); 0 for an image without."""
    number = tf.reduce_sum(tf.cast(counts, tf.float32), 1)
    return tf.math.divide_no_nan(tf.math.unsorted_segment_sum(values, places[:, 0], tf.shape(counts)[0]), number)


def _in_batch(values, places, there):
    """Values (m, ...) at their places, (batch, n, ...), 0 elsewhere."""
    shape = tf.concat([tf.shape(there), tf.shape(values)[1:]], 0)
    found = tf.scatter_nd(places, values, shape)
    return tf.ensure_shape(found, (*there.shape, *values.shape[1:]))


def _float(tensor, shape):
    return tf.reshape(tf.cast(tensor, tf.float32), shape)


def _sides(images):
    return tuple(images.shape[axis] or tf.shape(images)[axis] for axis in (1, 2))
