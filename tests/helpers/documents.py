"""Documents of strangers: one that is right, changed in one place at a time."""

import copy

WRONG = (None, "x", "", -1, 2.5, True, [], {}, [1], ["a", "b", "c", "d"], float("nan"), 10**400, {"a": 1})


def replaced(value, path=()):
    """Every document that differs from one in a single place, which is gone or something else.

    Args:
        value: Dicts and lists of dicts, lists and scalars.
        path: Keys that led to it.

    Yields:
        (keys of the place and what became of it, document).
    """
    if path:
        for other in WRONG:
            yield (*path, repr(other)[:9]), other
    if isinstance(value, dict):
        for key in value:
            yield (*path, key, "gone"), {name: one for name, one in value.items() if name != key}
        pairs = value.items()
    else:
        pairs = enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        for where, other in replaced(one, (*path, key)):
            changed = copy.copy(value)
            changed[key] = other
            yield where, changed
