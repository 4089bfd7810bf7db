"""Checks of what a user passes in: each error says what happened, what was expected and how to mend it."""

import difflib

import numpy as np

# The label of a pixel that does not count.
VOID = 255


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


def check_kind(name, value, kinds, expected):
    """Checks that `value` is an instance of one of some classes.

    Args:
        name: Name of the argument.
        value: What was given.
        kinds: Class, or tuple of classes.
        expected: What is expected, in words, such as "a dict".

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, kinds):
        received = repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
        raise ValueError(f"`{name}` must be {expected}. Received: {received}.")


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


def check_number(name, value, low, *, below=float("inf"), above=False):
    """Checks that `value` is a finite number from `low` on.

    Args:
        name: What the message calls it.
        value: Number.
        low: The least number allowed.
        below: What it must be less than.
        above: Whether `low` itself is excluded.

    Raises:
        ValueError: If it is not.
    """
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not good or not np.isfinite(value) or not low <= value < below or (above and value == low):
        end = "" if below == float("inf") else f" and below {below:g}"
        raise ValueError(
            f"`{name}` must be a finite number {'above' if above else 'of at least'} {low:g}{end}. Received: {value!r}."
        )


def are_whole(values):
    """Whether `values` is a sequence of whole numbers of 1 or more."""
    return hasattr(values, "__len__") and all(
        isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1 for value in values
    )


def check_folder(name, path):
    """Checks that `path`, a `Path`, is a folder or nothing yet.

    Raises:
        NotADirectoryError: If it is a file.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"`{name}` must be a folder to write to. Received: a file, {path}. Give another path.")


def no_such_name(module, names, elsewhere=None):
    """The `__getattr__` of a module, which names what there is where something else is asked for.

    Args:
        module: Name of the module.
        names: What it has.
        elsewhere: Names that others have for something, with ours; None for none.

    Returns:
        Function of a name that raises `AttributeError`, with the name that was likely meant.
    """

    def missing(name):
        if name in (elsewhere or {}):
            hint = f" Here it is {elsewhere[name]}."
        else:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}.{hint} It has: {', '.join(names)}.")

    return missing
