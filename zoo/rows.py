"""Functions of batches, of which each row stands for itself."""

import functools

import tensorflow as tf


def never_empty(function):
    """A function of batches that is never called without rows, whatever it is given.

    Convolutions are not made for it: those that oneDNN fuses refuse a batch of no rows, as do reflections. Where there
    is none, the function sees one row of zeros, which is cut off what it returns.

    Args:
        function: Function of tensors (batch, ...), numbers or booleans, that returns tensors (batch, ...), in dicts or
            tuples of any depth; each row of them depends on the same row of what is given.

    Returns:
        The same function for batches of 0 rows and more. An output whose first dimension is known stays as it is.

    Example:
        served = tf.function(never_empty(network), input_signature=[tf.TensorSpec((None, 32, 32, 3))])
        served(tf.zeros((0, 32, 32, 3))).shape  # (0, ...)
    """

    @functools.wraps(function)
    def given_rows(*args, **kwargs):
        rows = tf.shape(tf.nest.flatten((args, kwargs))[0])[0]
        missing = tf.cast(tf.equal(rows, 0), tf.int32)

        def filled(tensor):
            # The sum of no rows is a row of zeros, as is the largest of no bytes, which LiteRT has instead. Converters
            # to other runtimes know its shape; of one that is filled or padded they do not.
            kinds = {tf.bool: tf.reduce_any, tf.uint8: tf.reduce_max}
            row = kinds.get(tensor.dtype, tf.reduce_sum)(tensor[:1], 0, keepdims=True)
            return tf.concat([tensor, row[:missing]], 0)

        def cut(tensor):
            has_rows = isinstance(tensor, tf.Tensor) and (tensor.shape.rank is None or tensor.shape[:1] == [None])
            return tensor[:rows] if has_rows else tensor

        args, kwargs = tf.nest.map_structure(filled, (args, kwargs))
        return tf.nest.map_structure(cut, function(*args, **kwargs))

    return given_rows


def finite_only(function):
    """A function of named tensors that fails, in a graph too, where a float that it is given is NaN or infinite.

    Classes and texts cannot show it, and nor do numbers: a rectifier may turn NaN into 0. Programs of other runtimes do
    not look.

    Args:
        function: Function of tensors by keyword.

    Returns:
        The same function, which raises `tf.errors.InvalidArgumentError`; TF Serving answers INVALID_ARGUMENT.

    Example:
        served = finite_only(lambda latents: {"images": generator(latents)})
    """

    @functools.wraps(function)
    def of_finite(**inputs):
        return function(**{name: _checked(name, tensor) for name, tensor in inputs.items()})

    return of_finite


def _checked(name, tensor):
    tensor = tf.convert_to_tensor(tensor)
    if not tensor.dtype.is_floating:
        return tensor
    # TensorFlow adds ": Tensor had NaN values".
    message = f"`{name}` must be finite, since what is not may give an answer that looks right. Received "
    return tf.debugging.check_numerics(tensor, message)
