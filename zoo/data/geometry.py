"""Random changes of pictures that keep boxes, masks and label maps on them, the same after a resume; and of colours.

KerasCV's layers take the whole canvas for the picture: RandomFlip moves a smaller one to the right, and JitteredResize
scales the padding along with it, so that `sizes` no longer holds.
"""

import math

from zoo.checks import VOID, check_number, check_positive

# Rows and columns of the parts of a picture whose middles are moved by random displacements.
_PARTS = 5


class FlipAndScale:
    """Mirrors, resizes, recolours, turns, warps and crops pictures to a canvas, by random numbers of keys.

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
        crop: Side of the square of pixels that is kept of each picture with a label map; None for the whole canvas. The
            square lies around a pixel, as far as the picture reaches: one of the pixels of one of the classes in the
            picture, which have equal chances, but for class 0, mostly the background, which counts where nothing else
            is. So what is small or rare is seen more often, as in nnU-Net (Isensee et al. 2021).
        stretch: Largest factor, at least 1, by which a picture becomes wider or narrower for its height, and keeps its
            area. Factors and their inverses have equal chances.
        warp: How far pixels move, for handwriting that differs from hand to hand: the standard deviation, at most 0.5,
            of displacements drawn for 5 x 5 parts of what is kept of a picture, as a share of the sides of such a part;
            between, they change smoothly (bicubic), as in U-Net (Ronneberger et al. 2015, section 3.1). What comes in
            from outside is as for `turn`.

    Raises:
        ValueError: If a number is out of range.

    Example:

        >>> from zoo import data
        >>> from zoo.data.detection import flip_and_scale
        >>> scenes = data.load_detection("scenes")
        >>> images, targets = next(iter(scenes.batches(8, augment=flip_and_scale(flip=False, enlarge=1.5))))
    """

    def __init__(self, flip=True, reduce=1.0, enlarge=1.0, recolour=0.0, turn=0.0, crop=None, stretch=1.0, warp=0.0):
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
        if crop is not None:
            check_positive("crop", crop)
        check_number("stretch", stretch, 1)
        check_number("warp", warp, 0)
        if warp > 0.5:
            raise ValueError(f"`warp` must be at most 0.5, beyond which pictures fold. Received: {warp!r}.")
        self.crop, self.stretch, self.warp = crop, float(stretch), float(warp)

    def __repr__(self):
        """What it does."""
        factors = f"reduce={self.reduce:g}, enlarge={self.enlarge:g}, recolour={self.recolour:g}, turn={self.turn:g}"
        more = f"crop={self.crop}, stretch={self.stretch:g}, warp={self.warp:g}"
        return f"<FlipAndScale flip={self.flip}, {factors}, {more}>"

    def __call__(self, images, targets, keys):
        """Changes each picture as its key says.

        Args:
            images: uint8 tensor (n, height, width, 3).
            targets: Dict of their targets, as `zoo.data.detection.DetectionSource.batches` gives them; or of "labels",
                uint8 (n, height, width), and "sizes", int32 (n, 2), height and width of the picture within the canvas.
            keys: int64 tensor (n, 2), a row for each picture, as `zoo.data.augment.keys_of` makes them.

        Returns:
            Images and targets of the same shapes; with `crop`, of squares.

        Raises:
            ValueError: If objects are to be cropped.
        """
        import tensorflow as tf

        specs = tf.nest.map_structure(lambda values: tf.TensorSpec(values.shape[1:], values.dtype), (images, targets))
        if self.crop:
            if "labels" not in targets:
                raise ValueError(
                    "`crop` is for pictures with a label map, since the room for masks has the size of the canvas. "
                    f"Received: targets {', '.join(sorted(targets))}. Leave `crop` out for objects."
                )
            square = (self.crop, self.crop)
            specs = tf.TensorSpec((*square, 3), tf.uint8), {**specs[1], "labels": tf.TensorSpec(square, tf.uint8)}
        return tf.map_fn(lambda one: self._changed(*one), (images, targets, keys), fn_output_signature=specs)

    def _changed(self, image, targets, key):
        import tensorflow as tf

        from zoo import random

        canvas, size = (self.crop, self.crop) if self.crop else image.shape[:2], targets["sizes"]
        draws, more = random.uniform((4,), seed=key), random.uniform((8,), seed=tf.bitwise.invert(key))
        factor = self.reduce + (self.enlarge - self.reduce) * draws[1]
        # Of height and width; the aspect changes by the square.
        factors = factor * self.stretch ** (tf.constant([-0.5, 0.5]) * (2 * more[7] - 1))
        resized = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * factors), tf.int32), 1)
        kept = tf.minimum(resized, canvas)
        is_mirrored = (draws[0] < 0.5) if self.flip else tf.constant(False)
        start = self._start(draws[2:], targets, resized, kept, is_mirrored)
        picture = image[: size[0], : size[1]]
        picture = tf.cond(is_mirrored, lambda: picture[:, ::-1], lambda: picture)
        scale = tf.cast(resized, tf.float32) / tf.cast(size, tf.float32)
        # An antialiased resize that computes no more than what is kept.
        picture = tf.raw_ops.ScaleAndTranslate(
            images=picture[None],
            size=canvas,
            scale=scale,
            translation=-tf.cast(start, tf.float32),
            kernel_type="triangle",
            antialias=True,
        )[0, : kept[0], : kept[1]]
        picture = _recoloured(picture, self.recolour * (2 * more[:6] - 1)) if self.recolour else picture
        rows, columns = (_nearest(kept[axis], start[axis], resized[axis], size[axis]) for axis in range(2))
        columns = tf.where(is_mirrored, size[1] - 1 - columns, columns)
        margin = [[0, canvas[0] - kept[0]], [0, canvas[1] - kept[1]]]

        angle = self.turn / 180 * math.pi * (2 * more[6] - 1)
        places = _places(random.normal((_PARTS, _PARTS, 2), seed=key + [1, 0]) * self.warp, kept) if self.warp else None

        def bent(pictures, interpolation, beside):
            """Pictures (n, height, width, channels), turned and warped."""
            pictures = _turned(pictures, angle, interpolation, beside) if self.turn else pictures
            return _warped(pictures, places, interpolation, beside) if self.warp else pictures

        def moved(maps, beside):
            """Maps (..., height, width) by nearest neighbour, and what is beside the picture."""
            around = [[0, 0]] * (maps.shape.rank - 2) + margin
            picture = tf.gather(tf.gather(maps, rows, axis=-2), columns, axis=-1)
            flat = tf.reshape(picture, (-1, *tf.unstack(kept), 1))
            picture = tf.reshape(bent(flat, "NEAREST", beside), tf.shape(picture))
            shape = (*maps.shape[:-2], *canvas)
            return tf.ensure_shape(tf.pad(picture, around, constant_values=beside), shape)

        picture = tf.pad(bent(picture[None], "BILINEAR", 0)[0], [*margin, [0, 0]])
        if "labels" in targets:
            changed = {"labels": moved(targets["labels"], VOID), "sizes": kept}
        else:
            changed = {**_objects(moved(targets["masks"], 0), targets), "sizes": kept}
        image = tf.cast(tf.clip_by_value(tf.round(picture), 0, 255), tf.uint8)
        return tf.ensure_shape(image, (*canvas, 3)), changed

    def _start(self, draws, targets, resized, kept, is_mirrored):
        """Row and column of the resized picture at which what is kept of it begins."""
        import tensorflow as tf

        if not self.crop:
            return _whole(draws, resized - kept + 1)
        height, width = tf.unstack(targets["sizes"])
        row, column = tf.unstack(_pixel_of_a_class(targets["labels"][:height, :width], draws[0], draws[1]))
        column = tf.where(is_mirrored, width - 1 - column, column)
        middle = tf.stack([row, column]) * resized // targets["sizes"]
        return tf.clip_by_value(middle - kept // 2, 0, resized - kept)


def flip_and_scale(flip=True, reduce=1.0, enlarge=1.0, recolour=0.0, turn=0.0, crop=None, stretch=1.0, warp=0.0):
    """What `batches(augment=...)` of pictures with objects or label maps takes: see `FlipAndScale`."""
    return FlipAndScale(flip, reduce, enlarge, recolour, turn, crop, stretch, warp)


def _pixel_of_a_class(labels, which, where):
    """Row and column of a pixel: each class in a label map has the same chance, and then each of its pixels.

    Args:
        labels: uint8 (height, width), `VOID` where there is no label. A pixel of class 0 is drawn where there is no
            other class, and any where there is no label at all.
        which: Number in [0, 1) that says which class.
        where: Number in [0, 1) that says which of its pixels.

    Returns:
        int32 (2,).
    """
    import tensorflow as tf

    counts = tf.math.bincount(tf.cast(tf.reshape(labels, [-1]), tf.int32), minlength=VOID + 1)
    classes = 1 + tf.where(counts[1:VOID] > 0)[:, 0]
    otherwise = tf.cast(tf.where(counts[0] > 0, 0, VOID), tf.int64)
    classes = tf.cond(tf.size(classes) > 0, lambda: classes, lambda: otherwise[None])
    pixels = tf.where(labels == tf.cast(classes[_whole(which, tf.size(classes))], tf.uint8))
    return tf.cast(pixels[_whole(where, tf.shape(pixels)[0])], tf.int32)


def _whole(draws, count):
    """Numbers in [0, 1) as whole ones below `count`, int32."""
    import tensorflow as tf

    # Counts above 2^24 may be rounded up.
    return tf.minimum(tf.cast(tf.floor(draws * tf.cast(count, tf.float32)), tf.int32), count - 1)


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


def _places(displacements, size):
    """Where each pixel of a warped picture comes from, (height, width, 2): row and column, counted by their middles.

    Args:
        displacements: (n, n, 2), of the middles of n x n equal parts, as shares of the sides of a part.
        size: int32 (2,), height and width.
    """
    import tensorflow as tf

    sides = tf.cast(size, tf.float32) / displacements.shape[0]
    there = tf.stack(tf.meshgrid(*map(tf.range, tf.unstack(size)), indexing="ij"), -1)
    return tf.cast(there, tf.float32) + tf.image.resize(displacements * sides, size, "bicubic")


def _warped(pictures, places, interpolation, beside):
    """Pictures (n, height, width, channels) whose pixels come from `places`, and what comes in from outside."""
    import tensorflow as tf

    shape = tf.shape(pictures)
    height, width = shape[1], shape[2]
    flat = tf.reshape(pictures, (-1, height * width, pictures.shape[3]))

    def at(rows_and_columns):
        rows, columns = tf.unstack(tf.cast(rows_and_columns, tf.int32), axis=-1)
        is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = tf.gather(flat, tf.where(is_inside, rows * width + columns, 0), axis=1)
        return tf.where(is_inside[..., None], found, tf.cast(beside, found.dtype))

    if interpolation == "NEAREST":
        return at(tf.floor(places + 0.5))
    first = tf.floor(places)
    down, right = tf.split(places - first, 2, axis=-1)
    upper = (1 - right) * at(first) + right * at(first + [0, 1])
    return (1 - down) * upper + down * ((1 - right) * at(first + [1, 0]) + right * at(first + 1))


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
