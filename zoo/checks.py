"""Checks of what a user passes in: each error says what happened, what was expected and how to mend it."""

import numpy as np


def first_examples(x):
    """The examples to check before training: all of an array, the first batch of a data set.

    Args:
        x: Array, tensor, `tf.data.Dataset`, or anything else that `fit` takes.

    Returns:
        Array, or None where a look would use up what `x` yields.
    """
    if hasattr(x, "take"):
        if hasattr(x, "element_spec"):
            x = next(iter(x.take(1)), None)
            if x is None:
                raise ValueError("The data set is empty. Expected at least one batch: is it smaller than a batch?")
    if isinstance(x, (tuple, list)):
        if len(x) != 1:
            raise ValueError(
                f"This model learns from examples alone. Received: {len(x)} arrays per batch, as images with labels. "
                "Drop the others: `dataset.map(lambda images, labels: images)`."
            )
        x = x[0]
    return np.asarray(x) if hasattr(x, "shape") else None


def check_examples(examples, shape):
    """Checks examples against the input of the networks.

    Args:
        examples: Array (rows, *shape), or (rows, updates, *shape).
        shape: Shape of one example; three axes are an image, whose values lie in [-1, 1].

    Raises:
        ValueError: If shape, range or finiteness is not as expected.
    """
    expected = ", ".join(map(str, shape))
    kind = "images" if len(shape) == 3 else "examples"
    if examples.shape[1:] != tuple(shape) and examples.shape[2:] != tuple(shape):
        raise ValueError(
            f"The {kind} do not fit the networks. Expected shape (batch, {expected}). Received: {examples.shape}. "
            + _shape_advice(examples.shape[1:], shape)
        )
    if not np.issubdtype(examples.dtype, np.floating):
        raise ValueError(
            f"The {kind} must be floating point numbers. Received: dtype {examples.dtype}. "
            "Convert them: `images.astype('float32') / 127.5 - 1` for 8-bit images."
        )
    check_finite(f"The {kind} hold", examples, "Remove or repair those rows before training.")
    low, high = examples.min(), examples.max()
    if kind == "images" and (low < -1 - 1e-3 or high > 1 + 1e-3):
        raise ValueError(
            "The images must lie in [-1, 1] because the generator ends in tanh. "
            f"Received: min={low:g}, max={high:g}. Divide by 127.5 and subtract 1 if they are 8-bit."
        )


def check_network(name, network):
    """Checks that a network has its shapes already.

    Args:
        name: What messages call it, such as "critic".
        network: `keras.Model`.

    Raises:
        ValueError: If it has no fixed input and output shape.
    """
    if not hasattr(network, "input_shape") or not hasattr(network, "output_shape"):
        raise ValueError(
            f"The {name} has no fixed input and output shape. Expected a functional or sequential `keras.Model` "
            f"that starts with `keras.Input(...)`. Received: {network!r}."
        )


def check_generator(generator):
    """Checks that a generator takes latents (batch, latent_dim).

    Raises:
        ValueError: If it takes something else, or has no fixed shapes yet.
    """
    check_network("generator", generator)
    if len(generator.input_shape) != 2 or generator.input_shape[1] is None:
        raise ValueError(
            "The generator must take latents of shape (batch, latent_dim). "
            f"Received: input shape {generator.input_shape}. Start it with `keras.Input((latent_dim,))`."
        )


def check_judge(name, judge, generator):
    """Checks that a generator takes latents, and a discriminator or critic what it gives, and answers a score.

    Args:
        name: What messages call it, such as "critic".
        judge: Built `keras.Model` from examples to scores.
        generator: Built `keras.Model` from latents (batch, latent_dim) to examples.

    Raises:
        ValueError: If the shapes do not fit, or a network has no fixed shapes yet.
    """
    check_generator(generator)
    check_network(name, judge)
    if generator.output_shape[1:] != judge.input_shape[1:]:
        raise ValueError(
            f"The generator's output must be the {name}'s input. Received: output shape "
            f"{generator.output_shape}, input shape {judge.input_shape}. Build both for the same example shape."
        )
    if judge.output_shape[-1] != 1:
        raise ValueError(
            f"The {name} must end in one value per example (or per patch): shape (batch, ..., 1). "
            f"Received: output shape {judge.output_shape}. End it with `Dense(1)` and no activation."
        )


def check_replicas(rows, replicas):
    """Checks that a batch of `rows` examples can be split over `replicas`.

    Raises:
        ValueError: If a replica would get no example.
    """
    if rows < replicas:
        raise ValueError(
            f"A batch of {rows} examples cannot be split over {replicas} replicas: each needs one or more. "
            "Raise the batch size, or use fewer replicas."
        )


def check_choice(name, value, choices):
    """Checks that `value` is one of `choices`.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}. Received: {value!r}.")


def check_positive(name, value):
    """Checks that `value` is a whole number of 1 or more.

    Raises:
        ValueError: If it is not.
    """
    check_whole(name, value, low=1)


def check_whole(name, value, *, low, high=float("inf")):
    """Checks that `value` is a whole number from `low` to `high`.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        expected = f"of at least {low}" if high == float("inf") else f"from {low} to {high}"
        raise ValueError(f"`{name}` must be a whole number {expected}. Received: {value!r}.")


def check_finite(who, values, advice):
    """Checks that an array has neither NaN nor infinite values.

    Args:
        who: How the message begins, such as "The images hold".
        values: NumPy array of floating point numbers.
        advice: How the message ends.

    Raises:
        ValueError: If it has; the message counts them.
    """
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(
            f"{who} {bad} values that are NaN or infinite, of {values.size}. Expected finite numbers. {advice}"
        )


def _shape_advice(received, expected):
    if len(received) == len(expected) - 1:
        return "Add the missing axis, for example `images[..., None]` for grey images."
    if len(received) == len(expected) and received[:-1] == tuple(expected[:-1]):
        return "Convert the channels, or build the networks for them."
    return "Resize the data, or build the networks for its shape."
