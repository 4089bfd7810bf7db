"""Random changes of pictures that keep boxes, masks and label maps on them, the same after a resume; and of colours.

KerasCV's layers take the whole canvas for the picture: RandomFlip moves a smaller one to the right, and JitteredResize
scales the padding along with it, so that `sizes` no longer holds.
"""

import math

from zoo.checks import VOID, check_number


class FlipAndScale:
    """Mirrors, recolours, resizes and turns pictures, and cuts what exceeds the canvas, by random numbers of keys.

    A picture stays at the top left of its canvas. Boxes are drawn anew around what is left of each mask, also where
    nothing changes; an object of which nothing is left becomes padding, where it stands. A label map changes with its
    picture, by nearest neighbour, and is `zoo.checks.VOID` beside it. The same key gives the same picture for both.

    Args:
        flip: Whether half of the pictures, at random, are mirrored left to right.
        reduce: Least factor of both sides, above 0 and at most 1.
        enlarge: Largest factor, at least 1. Factors between have equal chances.
        recolour: Largest share, below 1, by which the contrast of each channel changes, and its brightness by half of
            it: x becomes (1 + c) x + 255 b, cut to [0, 255], with c and b of its own for each channel.
        turn: Largest angle in degrees, at most 180, by which pictures are turned about their middle to either side.
            Corners that come in from outside are black, and no object's; in label maps they are `zoo.checks.VOID`.

    Raises:
        ValueError: If a number is out of range.

    Example:

        >>> from zoo import data
        >>> from zoo.data.detection import flip_and_scale
        >>> scenes = data.load_detection("scenes")
        >>> images, targets = next(iter(scenes.batches(8, augment=flip_and_scale(flip=False, enlarge=1.5))))
    """

    def __init__(self, flip=True, reduce=1.0, enlarge=1.0, recolour=0.0, turn=0.0):
        """Checks the numbers."""
        check_number("reduce", reduce, 0, above=True)
        check_number("enlarge", enlarge, 1)
        if reduce > 1:
            raise ValueError(f"`reduce` must be at most 1: a factor of both sides. Received: {reduce!r}.")
        check_number("recolour", recolour, 0, below=1)
        check_number("turn", turn, 0)
        if turn > 180:
            raise ValueError(f"`turn` must be at most 180: degrees to either side. Received: {turn!r}.")
        self.flip, self.reduce, self.enlarge = bool(flip), float(reduce), float(enlarge)
        self.recolour, self.turn = float(recolour), float(turn)

    def __repr__(self):
        """What it does."""
        factors = f"reduce={self.reduce:g}, enlarge={self.enlarge:g}, recolour={self.recolour:g}, turn={self.turn:g}"
        return f"<FlipAndScale flip={self.flip}, {factors}>"

    def __call__(self, images, targets, keys):
        """Changes each picture as its key says.

        Args:
            images: uint8 tensor (n, height, width, 3).
            targets: Dict of their targets, as `zoo.data.detection.DetectionSource.batches` gives them; or of "labels",
                uint8 (n, height, width), and "sizes", int32 (n, 2), height and width of the picture within the canvas.
            keys: int64 tensor (n, 2), a row for each picture, as `zoo.data.augment.keys_of` makes them.

        Returns:
            Images and targets of the same shapes.
        """
        import tensorflow as tf

        return tf.map_fn(
            lambda one: self._changed(*one),
            (images, targets, keys),
            fn_output_signature=tf.nest.map_structure(
                lambda values: tf.TensorSpec(values.shape[1:], values.dtype), (images, targets)
            ),
        )

    def _changed(self, image, targets, key):
        import tensorflow as tf

        from zoo import random

        canvas, size = image.shape[:2], targets["sizes"]
        draws, more = random.uniform((4,), seed=key), random.uniform((7,), seed=tf.bitwise.invert(key))
        factor = self.reduce + (self.enlarge - self.reduce) * draws[1]
        resized = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * factor), tf.int32), 1)
        kept = tf.minimum(resized, canvas)
        start = tf.cast(tf.floor(draws[2:] * tf.cast(resized - kept + 1, tf.float32)), tf.int32)
        is_mirrored = (draws[0] < 0.5) if self.flip else tf.constant(False)
        picture = image[: size[0], : size[1]]
        picture = tf.cond(is_mirrored, lambda: picture[:, ::-1], lambda: picture)
        picture = _recoloured(picture, self.recolour * (2 * more[:6] - 1)) if self.recolour else picture
        scale = tf.cast(resized, tf.float32) / tf.cast(size, tf.float32)
        # An antialiased resize that computes no more than what is kept; beside the picture, it gives 0.
        picture = tf.raw_ops.ScaleAndTranslate(
            images=picture[None],
            size=canvas,
            scale=scale,
            translation=-tf.cast(start, tf.float32),
            kernel_type="triangle",
            antialias=True,
        )[0]
        rows, columns = (_nearest(kept[axis], start[axis], resized[axis], size[axis]) for axis in range(2))
        columns = tf.where(is_mirrored, size[1] - 1 - columns, columns)
        margin = [[0, canvas[0] - kept[0]], [0, canvas[1] - kept[1]]]

        angle = self.turn / 180 * math.pi * (2 * more[6] - 1)

        def moved(maps, beside):
            """Maps (..., height, width) by nearest neighbour, and what is beside the picture."""
            around = [[0, 0]] * (maps.shape.rank - 2) + margin
            picture = tf.gather(tf.gather(maps, rows, axis=-2), columns, axis=-1)
            if self.turn:
                flat = tf.reshape(picture, (-1, *tf.unstack(kept), 1))
                picture = tf.reshape(_turned(flat, angle, "NEAREST", beside), tf.shape(picture))
            return tf.ensure_shape(tf.pad(picture, around, constant_values=beside), maps.shape)

        if self.turn:
            picture = _turned(picture[None, : kept[0], : kept[1]], angle, "BILINEAR", 0)[0]
            picture = tf.pad(picture, [*margin, [0, 0]])

        if "labels" in targets:
            changed = {"labels": moved(targets["labels"], VOID), "sizes": kept}
        else:
            changed = {**_objects(moved(targets["masks"], 0), targets), "sizes": kept}
        image = tf.cast(tf.clip_by_value(tf.round(picture), 0, 255), tf.uint8)
        return tf.ensure_shape(image, (*canvas, 3)), changed


def flip_and_scale(flip=True, reduce=1.0, enlarge=1.0, recolour=0.0, turn=0.0):
    """What `batches(augment=...)` of pictures with objects or label maps takes: see `FlipAndScale`."""
    return FlipAndScale(flip, reduce, enlarge, recolour, turn)


def _recoloured(picture, changes):
    """A picture with other contrast, and brightness, of three channels, float32 in [0, 255]."""
    import tensorflow as tf

    return tf.clip_by_value((1 + changes[:3]) * tf.cast(picture, tf.float32) + 127.5 * changes[3:], 0, 255)


def _turned(pictures, angle, interpolation, beside):
    """Pictures (n, height, width, channels) turned about their middle, and what comes in from outside."""
    import tensorflow as tf

    size = tf.shape(pictures)[1:3]
    # Places are numbered by the middles of pixels.
    y, x = tf.unstack(tf.cast(size - 1, tf.float32) / 2)
    cos, sin = tf.cos(angle), tf.sin(angle)
    back = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0.0, 0.0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack(back)[None],
        output_shape=size,
        fill_value=float(beside),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )


def _nearest(count, start, resized, size):
    """For `count` pixels of a side, from `start` on, of the `resized` ones: where in the `size` of before each lies."""
    import tensorflow as tf

    # In whole numbers: the middle of pixel i lies at (2 i + 1) size / (2 resized).
    places = (2 * (start + tf.range(count)) + 1) * size // (2 * resized)
    return tf.minimum(places, size - 1)


def _objects(masks, targets):
    """Targets of objects whose masks are now these."""
    import tensorflow as tf

    boxes, is_left = _bounds(masks)
    is_object = is_left & (targets["classes"] >= 0)
    return {
        "boxes": tf.where(is_object[:, None], boxes, 0.0),
        "classes": tf.where(is_object, targets["classes"], -1),
        "crowds": is_object & targets["crowds"],
        "masks": masks,
    }


def _bounds(masks):
    """Corners (n, 4) of boxes around masks (n, height, width), and whether there is anything in them (n,)."""
    import tensorflow as tf

    sides = []
    for axis in (1, 2):  # columns of any row, then rows of any column
        filled = tf.reduce_max(masks, axis=axis) > 0
        first = tf.argmax(filled, axis=1, output_type=tf.int32)
        last = filled.shape[1] - tf.argmax(filled[:, ::-1], axis=1, output_type=tf.int32)
        sides.append((first, last))
    (left, right), (top, bottom) = sides
    boxes = tf.cast(tf.stack([left, top, right, bottom], axis=1), tf.float32)
    return boxes, tf.reduce_max(masks, axis=(1, 2)) > 0
