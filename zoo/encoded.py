"""Images as files of bytes, in and out of a graph that TF Serving runs."""

import tensorflow as tf

# A file of kilobytes may hold so many that decoding them takes gigabytes, so they are counted first: in its header.
MAX_PIXELS = 2**25
# Files decoded at once; each may be as large as that.
_AT_ONCE = 4
# A JPEG this many times as large as its canvas is decoded at half, a quarter or an eighth of its size, as Pillow does
# where pictures are read to be learnt from (`zoo.data.decode.shrink`).
_SPARE = 4
_HEADER = 32
# What a GIF's walk may look at beyond a file that was cut: a table of 256 colours, and what is said of a frame.
_BEYOND = 1024


def decode(file, channels, max_pixels=MAX_PIXELS):
    """The image in a JPEG, PNG, GIF (first frame), BMP or still WebP file; transparency becomes white.

    Args:
        file: string tensor ().
        channels: 1 for grey or 3 for RGB, whatever the file has.
        max_pixels: Most pixels that it may have, all frames counted. What has more is refused before it is decoded.

    Returns:
        float32 tensor (height, width, channels) in [-1, 1].

    Raises:
        tf.errors.InvalidArgumentError: If it has more, or is no such file, or not a whole one.
    """
    pixels = tf.cast(_decoded(file, size_of(file, max_pixels), None), tf.float32)
    return (pixels if channels == 3 else tf.image.rgb_to_grayscale(pixels)) / 127.5 - 1


def encode(image):
    """An image as a PNG file.

    Args:
        image: Tensor (height, width, 1 or 3); what is outside [-1, 1] is clipped.

    Returns:
        string tensor ().
    """
    return tf.io.encode_png(tf.cast(tf.clip_by_value(tf.round((image + 1) * 127.5), 0, 255), tf.uint8))


def fit_to_canvas(file, canvas, max_pixels=MAX_PIXELS):
    """The image in a file, brought with its aspect kept to the largest size that fits a canvas, at its top left.

    It is what `zoo.data` reads of the file for a model to learn from (`zoo.data.canvas.put_image`), up to rounding: of
    photos less than 1 % of the values differ, by 1 or 2. But how a camera was held (EXIF) is not read.

    Args:
        file: string tensor (), as for `decode`.
        canvas: (height, width).
        max_pixels: As of `decode`.

    Returns:
        Tuple of float32 (*canvas, 3), whole numbers in [0, 255], 0 beside the image; int32 (2,), height and width of
        the image on the canvas; and the same of the file.

    Raises:
        tf.errors.InvalidArgumentError: As of `decode`.
    """
    size = size_of(file, max_pixels)
    pixels = _decoded(file, size, canvas)
    fitted = fitted_to(size, tf.constant(canvas))
    # One side after the other, each to 8 bits, as Pillow does. Columns are turned into rows, which TensorFlow takes
    # first: the other way it would keep floats of all pixels.
    pixels = tf.transpose(_with_rows(tf.transpose(pixels, (1, 0, 2)), fitted[1]), (1, 0, 2))
    pixels = _with_rows(pixels, fitted[0])
    pixels = tf.pad(pixels, ((0, canvas[0] - fitted[0]), (0, canvas[1] - fitted[1]), (0, 0)))
    return tf.ensure_shape(tf.cast(pixels, tf.float32), (*canvas, 3)), fitted, size


def fitted_to(size, canvas):
    """The largest size that fits a canvas with the aspect kept, as `zoo.data.canvas.fitted_size`, int32 (2,).

    Args:
        size: int tensor (2,), height and width.
        canvas: int tensor (2,), those of the canvas.
    """
    # In 64 bits, and halves to the even number, as Python counts.
    size, canvas = tf.cast(size, tf.float64), tf.cast(canvas, tf.float64)
    sides = tf.round(size * tf.reduce_min(canvas / size))
    return tf.cast(tf.minimum(tf.maximum(sides, 1), canvas), tf.int32)


def fit_all_to_canvas(files, canvas, max_pixels=MAX_PIXELS):
    """`fit_to_canvas` of each of many files, string (batch,): three tensors with the batch in front."""
    two = tf.TensorSpec((2,), tf.int32)
    kinds = (tf.TensorSpec((*canvas, 3), tf.float32), two, two)
    fit = lambda file: fit_to_canvas(file, canvas, max_pixels)  # noqa: E731
    return tf.map_fn(fit, files, fn_output_signature=kinds, parallel_iterations=_AT_ONCE)


def size_of(file, max_pixels=MAX_PIXELS):
    """Height and width of the image in a file, from its header.

    Args:
        file: string tensor (), as for `decode`.
        max_pixels: As of `decode`.

    Returns:
        int32 tensor (2,).

    Raises:
        tf.errors.InvalidArgumentError: As of `decode`; the message says what was received.
    """
    # Longer than any header, so that of a short file there is something to look at.
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(file + "\0" * _HEADER, 0, _HEADER), tf.uint8), tf.int64)
    kinds = {
        b"\x89PNG\r\n\x1a\n": lambda: _still(_number(head, 20, 4, big=True), _number(head, 16, 4, big=True)),
        # What is above the middle line may be first, by a sign.
        b"BM": lambda: _still(tf.abs(_signed(_number(head, 22, 4))), tf.abs(_signed(_number(head, 18, 4)))),
        b"\xff\xd8\xff": lambda: _still(*tf.unstack(tf.cast(tf.io.extract_jpeg_shape(file)[:2], tf.int64))),
        b"GIF8": lambda: _frames(file),
        b"RIFF": lambda: _still(*_of_webp(head)),
    }
    is_kind = {start: tf.reduce_all(head[: len(start)] == list(start)) for start in kinds}
    known = tf.reduce_any(tf.stack(list(is_kind.values())))
    count = tf.strings.length(file)
    message = "The file must be a JPEG, PNG, GIF, BMP or WebP picture. Received, number of bytes, and the first:"
    is_known = tf.debugging.Assert(known, [message, count, head[:8]])
    # TensorFlow 2.21 writes outside its memory where it decodes them, which ends the process.
    message = "An animated WebP is not read. Send its first frame as a still picture. Received, number of bytes:"
    is_still = tf.debugging.Assert(~(is_kind[b"RIFF"] & _is_animated_webp(head)), [message, count])
    with tf.control_dependencies([is_known, is_still]):
        cases = [(tf.identity(is_kind[start]), kinds[start]) for start in kinds]
        height, width, pixels = tf.case(cases, default=lambda: _still(*tf.unstack(tf.zeros(2, tf.int64))))
    message = (
        "The file is no whole JPEG, PNG, GIF, BMP or WebP picture: it does not say a height and a width above 0. "
        "Received, number of bytes, height and width:"
    )
    is_whole = tf.debugging.Assert((height > 0) & (width > 0), [message, count, height, width])
    message = f"A picture may have {max_pixels} pixels at most, over all of its frames. Received, height and width:"
    # Each side too, since the product of two of 32 bits may be beyond 64.
    sides = tf.stack([height, width])
    fits = tf.reduce_all(sides <= max_pixels) & (pixels <= max_pixels)
    with tf.control_dependencies([is_whole]):
        is_small = tf.debugging.Assert(fits, [message, height, width, "Send a smaller one."])
    with tf.control_dependencies([is_small]):
        return tf.cast(sides, tf.int32)


def _decoded(file, size, canvas):
    """uint8 (height, width, 3), over white; of a JPEG far larger than a canvas, if there is one, only some pixels."""
    # The size is of the header, whose check comes first.
    with tf.control_dependencies([size]):
        file = tf.identity(file)
    is_jpeg = tf.strings.substr(file, 0, 3) == b"\xff\xd8\xff"
    pixels = tf.cond(is_jpeg, lambda: _of_jpeg(file, size, canvas), lambda: _of_other(file))
    return tf.ensure_shape(pixels, (None, None, 3))


def _of_jpeg(file, size, canvas):
    def at(ratio):
        # The transform that Pillow takes; TensorFlow's own choice is faster by a little, and up to 6 of 255 off.
        return lambda: tf.io.decode_jpeg(file, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    if canvas is None:
        return at(1)()
    spare = tf.reduce_min(size) // (_SPARE * max(canvas))
    return tf.case([(spare >= ratio, at(ratio)) for ratio in (8, 4, 2)], default=at(1))


def _of_other(file):
    pixels = tf.io.decode_image(file, expand_animations=False)
    pixels = tf.cond(tf.shape(pixels)[-1] % 2 == 0, lambda: _over_white(pixels), lambda: pixels)
    return tf.cond(tf.shape(pixels)[-1] == 1, lambda: tf.repeat(pixels, 3, -1), lambda: pixels)


def _over_white(pixels):
    """255 - opacity (255 - colour), rounded."""
    missing = tf.cast(255 - pixels[..., :-1], tf.uint16) * tf.cast(pixels[..., -1:], tf.uint16) + 128
    # A division by 255 that rounds, as Pillow's; all of it fits into 16 bits.
    missing = tf.bitwise.right_shift(missing + tf.bitwise.right_shift(missing, 8), 8)
    return 255 - tf.cast(missing, tf.uint8)


def _with_rows(pixels, count):
    """uint8 pixels, resized to another number of rows."""
    found = tf.image.resize(pixels, (count, tf.shape(pixels)[1]), antialias=True)
    return tf.cast(tf.clip_by_value(tf.floor(found + 0.5), 0, 255), tf.uint8)


def _number(octets, start, count, big=False):
    """The whole number in so many bytes of an int64 vector, the lowest first unless `big`."""
    weights = [256**place for place in range(count)]
    return tf.reduce_sum(octets[start : start + count] * tf.constant(weights[:: -1 if big else 1], tf.int64))


def _signed(number):
    return tf.where(number < 2**31, number, number - 2**32)


def _still(height, width):
    return height, width, height * width


def _is_animated_webp(head):
    """Whether the flag of the extended kind says so, which is what TensorFlow asks (libwebp, `WebPGetFeatures`)."""
    return (head[15] == ord("X")) & (head[20] // 2 % 2 == 1)


def _of_webp(head):
    """Height and width of the three kinds of WebP, whose names end in a blank, L and X."""
    bits = _number(head, 21, 4)
    sides = {
        ord("L"): (1 + (bits // 2**14) % 2**14, 1 + bits % 2**14),
        ord("X"): (1 + _number(head, 27, 3), 1 + _number(head, 24, 3)),
        ord(" "): (_number(head, 28, 2) % 2**14, _number(head, 26, 2) % 2**14),
    }
    found = tf.zeros(2, tf.int64)
    for letter, pair in sides.items():
        found = tf.where(tf.reduce_all(head[8:15] == list(b"WEBPVP8")) & (head[15] == letter), tf.stack(pair), found)
    return tf.unstack(found)


def _frames(file):
    """Height and width of a GIF's first frame, and the pixels of all, which TensorFlow decodes even for the first."""
    # A trailer that is missing ends the walk too.
    octets = tf.cast(tf.io.decode_raw(file + b";" * _BEYOND, tf.uint8), tf.int32)
    last = tf.strings.length(file)

    def number(start):
        return tf.cast(octets[start] + 256 * octets[start + 1], tf.int64)

    def colours(flags):
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def after_data(place):
        # Blocks that say how long they are, up to one of no length.
        (place,) = tf.while_loop(
            lambda place: (place < last) & (octets[place] > 0),
            lambda place: (place + 1 + octets[place],),
            (place,),
            parallel_iterations=1,
        )
        return place + 1

    def is_open(place, size, pixels):
        return (place < last) & (octets[place] != ord(";"))

    def walk(place, size, pixels):
        # Of what was cut within the frame's size nothing is counted.
        is_frame = (octets[place] == ord(",")) & (place + 9 < last)
        found = tf.stack([number(place + 7), number(place + 5)])
        found = tf.where(is_frame, found, tf.zeros_like(found))
        data = tf.where(is_frame, place + 11 + colours(octets[place + 9]), place + 2)
        return after_data(data), tf.where(tf.reduce_any(size > 0), size, found), pixels + found[0] * found[1]

    begin = (13 + colours(octets[10]), tf.zeros(2, tf.int64), tf.zeros((), tf.int64))
    _, size, pixels = tf.while_loop(is_open, walk, begin, parallel_iterations=1)
    return size[0], size[1], pixels
