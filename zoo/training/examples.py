"""What `fit` is given: the examples, and the checks of them before training."""

import numpy as np

from zoo.checks import check_finite, check_positive, check_replicas

# Cardinality of data sets without end.
_INFINITE = -1
NO_HELD_OUT_LOSS = "no loss on held-out data. Measure between epochs: add `zoo.callbacks.Evaluate(metrics)`."
# Arguments of `keras.Model.fit` that a model of examples alone has no use for, and what to do instead.
NOT_FOR_EXAMPLES = {
    "y": "Leave the labels out: `model.fit(images)`.",
    "sample_weight": "Each example counts once; leave it out.",
    "class_weight": "It needs labels; leave it out.",
    "validation_data": f"It has {NO_HELD_OUT_LOSS}",
    "validation_split": f"It has {NO_HELD_OUT_LOSS}",
}


def only_examples(data):
    """The examples in what `fit` is given, or hands to a step: alone, or alone in a tuple.

    Args:
        data: Array or tensor, or a tuple that holds it and otherwise None.

    Returns:
        Array or tensor.

    Raises:
        ValueError: If there is something else, or something besides.
    """
    parts = [part for part in data if part is not None] if isinstance(data, (tuple, list)) else [data]
    if len(parts) == 1 and hasattr(parts[0], "shape"):
        return parts[0]
    if isinstance(data, dict):
        received = f"a dict with {', '.join(map(repr, data))}"
        advice = f"Pick the examples: `dataset.map(lambda row: row[{next(iter(data), None)!r}])`."
    elif isinstance(data, list):
        received, advice = f"a list of {len(data)}", "Make one array of it: `np.stack(images)`."
    else:
        received = f"{len(parts)} arrays per batch, as images with labels"
        advice = "Drop the others: `dataset.map(lambda images, labels: images)`."
    raise ValueError(f"This model learns from examples alone. Received: {received}. {advice}")


def check_fit(given, shape, replicas, examples_of=only_examples, *, smallest_batch=1, has_held_out_loss=False):
    """Checks what `fit` is given, before the first step.

    Args:
        given: {name: value} of the arguments of `keras.Model.fit`.
        shape: Shape of one example.
        replicas: Number of replicas over which a batch is split.
        examples_of: Function that finds the examples in `x` or in a batch of it.
        smallest_batch: The fewest examples in a batch that the model can learn from.
        has_held_out_loss: Whether the model can be evaluated on examples that it does not learn from.

    Returns:
        The examples that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If an argument is not for a model of examples alone, a number is out of range, or the examples do
            not fit the networks.
    """
    check_numbers(given)
    for name, advice in NOT_FOR_EXAMPLES.items():
        value = given.get(name)
        if has_held_out_loss and name.startswith("validation"):
            continue
        if value is not None and not (name == "validation_split" and value == 0):
            raise ValueError(f"This model learns from examples alone, so `fit` takes no `{name}`. {advice}")
    x = given.get("x")
    if x is None or isinstance(x, (str, bytes)) or hasattr(x, "batches"):
        raise ValueError(
            f"`x` must be examples of shape (batch, {', '.join(map(str, shape))}): an array, or a data set of batches. "
            f"Received: {x!r}. A set of `zoo.data.load` gives them: `source.examples()`, or `source.batches(64)`."
        )
    first = first_batch(x)
    if first is None:
        return None
    examples = np.asarray(examples_of(first))
    is_array = first is x
    check_examples(examples, shape, are_all=is_array)
    rows = min(len(examples), given.get("batch_size") or 32) if is_array else len(examples)
    check_replicas(rows, replicas)
    if rows < smallest_batch:
        raise ValueError(
            f"This model compares the examples of a batch with each other. Expected at least {smallest_batch} of them. "
            f"Received: {rows}. Raise the batch size; hundreds are usual."
        )
    return examples


def check_pairs_of(images_and, what, given, refused, replicas, check):
    """Checks what `fit` is given where a model learns from images and something for each of them.

    Args:
        images_and: Function that finds images and the other in what `fit` is given or hands to a step.
        what: What the other is called, such as "labels".
        given: {name: value} of the arguments of `keras.Model.fit`.
        refused: {argument: advice} of those that the model has no use for.
        replicas: Number of replicas over which a batch is split.
        check: Function of images, an array, and the other, which raises ValueError if they do not fit.

    Returns:
        The images that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If an argument is refused or out of range, or something is missing or does not fit.
    """
    check_numbers(given)
    for name, advice in refused.items():
        if given.get(name) is not None:
            raise ValueError(f"`fit` of this model takes no `{name}`. {advice}")
    x, y = given.get("x"), given.get("y")
    if hasattr(x, "batches"):
        raise ValueError(
            f"`x` must be images, or a data set of batches (images, {what}). Received: a set of `zoo.data`. "
            "`source.batches(8)` gives batches of both."
        )
    if y is not None:
        x = (x, y)
    first = first_batch(x)
    if first is None:
        return None
    images, other = images_and(first)
    images = np.asarray(images)
    check(images, other)
    rows = min(len(images), given.get("batch_size") or 32) if first is x else len(images)
    check_replicas(rows, replicas)
    return images


def check_numbers(given):
    """Checks the numbers among the arguments of `fit`, {name: value}.

    Raises:
        ValueError: If one is no whole number of 1 or more.
    """
    for name in ("batch_size", "epochs", "steps_per_epoch"):
        if given.get(name) is not None:
            check_positive(name, given[name])


def with_steps(given, steps):
    """Arguments of `fit`, `evaluate` or `predict` with the number of steps in which data without end are gone through.

    Args:
        given: {name: value} of the arguments.
        steps: {argument of data: argument of its number of steps}.

    Returns:
        The same with the steps of one pass, where batches of `zoo.data` come without them.

    Raises:
        ValueError: If data have no end, or in `fit` do not say where an epoch of them ends, and no number of steps is
            given or known.
    """
    known = {}
    for data, name in steps.items():
        batches = given.get(data)
        if given.get(name) is not None or not _is_endless(batches, name != "steps"):
            continue
        known[name] = getattr(batches, "steps_per_epoch", None)
        if known[name] is None:
            raise ValueError(
                f"`{data}` does not say where an epoch of it ends. Expected `{name}`, the number of batches to take. "
                f"Received: {type(batches).__name__} without it. For a set of `zoo.data` it is "
                "`source.steps_per_epoch(64)`, which `source.batches(64)` brings along, unless `map` or the like made "
                "another data set of it; `dataset.take(n)` ends one."
            )
    return {**given, **known}


def _is_endless(batches, or_iterator):
    """Whether batches go on for ever; `or_iterator`: or can be gone through once, to an end that nothing tells."""
    if hasattr(batches, "num_batches"):
        return batches.num_batches is None
    cardinality = getattr(batches, "cardinality", None)
    if cardinality is not None:
        return int(cardinality() if callable(cardinality) else cardinality) == _INFINITE
    return or_iterator and hasattr(batches, "__next__")


def first_batch(x):
    """What to look at before training: all of an array, the first batch of a data set.

    Args:
        x: Array, tensor, `tf.data.Dataset`, or anything else that `fit` takes.

    Returns:
        Array, or what the data set gives; None where a look would use up what `x` yields.
    """
    if x is None or isinstance(x, (str, bytes, int, float)):
        raise ValueError(f"`x` must be an array, or a data set of batches. Received: {x!r}.")
    if not hasattr(x, "take") or not hasattr(x, "element_spec"):
        return x if isinstance(x, (tuple, list, dict)) or hasattr(x, "shape") else None
    first = next(iter(x.take(1)), None)
    if first is None:
        raise ValueError("The data set is empty. Expected at least one batch: is it smaller than a batch?")
    return first


def check_examples(examples, shape, are_all=False):
    """Checks examples against the input of the networks.

    Args:
        examples: Array (rows, *shape), or (rows, updates, *shape).
        shape: Shape of one example; three axes are an image, whose values lie in [-1, 1].
        are_all: Whether there are no others, so that images must use both signs.

    Raises:
        ValueError: If shape, range or finiteness is not as expected.
    """
    expected = ", ".join(map(str, shape))
    kind = "images" if len(shape) == 3 else "examples"
    if examples.shape[1:] != tuple(shape) and examples.shape[2:] != tuple(shape):
        raise ValueError(
            f"The {kind} do not fit the networks. Expected shape (batch, {expected}). Received: {examples.shape}. "
            + shape_advice(examples.shape, tuple(shape))
        )
    if not examples.size:
        raise ValueError(f"There are no {kind}. Expected shape (batch, {expected}). Received: {examples.shape}.")
    _check_floats(kind, examples)
    check_finite(f"The {kind} hold", examples, "Remove or repair those rows before training.")
    if kind == "images":
        check_range(examples)
    low, high = examples.min(), examples.max()
    if kind == "images" and are_all and 0 <= low < high <= 1:
        raise ValueError(
            "The images must lie in [-1, 1] and use both signs, as those that the networks make do. Received: "
            f"min={low:g}, max={high:g}. `images * 2 - 1` takes [0, 1] to [-1, 1]."
        )


def check_image_values(images):
    """Checks that an array of images holds finite floating point numbers in [-1, 1].

    Raises:
        ValueError: If it does not.
    """
    _check_floats("images", images)
    check_finite("The images hold", images, "Remove or repair those rows.")
    check_range(images)


def check_range(images):
    """Checks that an array of images lies in [-1, 1].

    Raises:
        ValueError: If it does not.
    """
    low, high = images.min(), images.max()
    if low < -1 - 1e-3 or high > 1 + 1e-3:
        raise ValueError(
            "The images must lie in [-1, 1], as those that the networks make do. "
            f"Received: min={low:g}, max={high:g}. Divide by 127.5 and subtract 1 if they are 8-bit."
        )


def _check_floats(kind, examples):
    if not np.issubdtype(examples.dtype, np.floating):
        advice = (
            "`images.astype('float32') / 127.5 - 1` for 8-bit images" if kind == "images" else "`astype('float32')`"
        )
        raise ValueError(
            f"The {kind} must be floating point numbers. Received: dtype {examples.dtype}. Convert them: {advice}."
        )


def shape_advice(received, expected):
    """What to do about examples of a shape (batch, ...) that is not the expected one."""
    if received == expected:
        return "This is one example: `examples[None]` makes a batch of it, `dataset.batch(64)` batches of a data set."
    received = received[1:]
    if len(received) == len(expected) - 1:
        return "Add the missing axis, for example `images[..., None]` for grey images."
    if received[1:] + received[:1] == expected:
        return "Move the channels to the end: `np.moveaxis(images, 1, -1)`."
    if len(received) == len(expected) and received[:-1] == expected[:-1]:
        return "Convert the channels, or build the networks for them."
    return "Resize the data, or build the networks for its shape."
