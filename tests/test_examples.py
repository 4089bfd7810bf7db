"""Every public function and class has an example, and every example gives what it says.

A name is public by `__all__` of its package, or by standing without an underscore in a module that has no `__all__`.
Exceptions and warnings are shown by what raises them. Examples may use what their module has, the public names of
`zoo`, `zoo` itself, `np`, `tf` and `keras`; they write into an empty folder, and a warning is an error in them too.
"""

import doctest
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo

ROOMS = (
    "zoo",
    "zoo.ot",
    "zoo.metrics",
    "zoo.data",
    "zoo.losses",
    "zoo.callbacks",
    "zoo.serving",
    "zoo.training",
    "zoo.runs",
    "zoo.schedules",
    "zoo.random",
    "zoo.decoding",
    "zoo.distributions",
)
FINDER = doctest.DocTestFinder(exclude_empty=True)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_of(room):
    """A module, or a package and all that is in it."""
    module = importlib.import_module(room)
    within = pkgutil.walk_packages(module.__path__, f"{room}.") if hasattr(module, "__path__") else ()
    return [module, *(importlib.import_module(one.name) for one in within)]


def names_of(room):
    """{name: function or class} of what a package or module offers."""
    module = importlib.import_module(room)
    if hasattr(module, "__all__"):
        return {f"{room}.{name}": getattr(module, name) for name in module.__all__}
    return {
        f"{one.__name__}.{name}": value
        for one in modules_of(room)
        for name, value in vars(one).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == one.__name__
    }


def public():
    """{name: function or class}, each under the first of its names."""
    found = {}
    for room in ROOMS:
        for name, value in names_of(room).items():
            is_error = inspect.isclass(value) and issubclass(value, Exception)
            if callable(value) and not is_error and not any(value is other for other in found.values()):
                found[name] = value
    return found


PUBLIC = public()


def examples_of(name):
    """What `doctest` finds in the docstring of an object and of its methods, with what the examples may name."""
    value = PUBLIC[name]
    offered = {one: getattr(zoo, one) for one in zoo.__all__}
    here = vars(inspect.getmodule(value))
    given = {**offered, **here, "np": np, "tf": tf, "keras": keras, "zoo": zoo, "__name__": "examples"}
    return FINDER.find(value, name, inspect.getmodule(value), globs=given)


def fault_of(test):
    """What is wrong with an example, in words; None if it gives what it says."""
    try:
        doctest.DebugRunner(optionflags=OPTIONS).run(test, clear_globs=False)
    except doctest.DocTestFailure as failure:
        example, error = failure.example, f"gives\n{failure.got}instead of\n{failure.example.want}"
    except doctest.UnexpectedException as failure:
        example, error = failure.example, f"raises {failure.exc_info[0].__name__}: {failure.exc_info[1]}"
    else:
        return None
    return f"{test.name}: `{example.source.strip()}` {error}"


def test_what_is_public_is_found():
    # One of each kind of place: a model, a network, the packages with `__all__`, and modules without.
    few = {"zoo.WGAN", "zoo.mlp_critic", "zoo.load", "zoo.ot.sinkhorn", "zoo.data.load", "zoo.serving.write"}
    assert few | {"zoo.losses.categorical.cross_entropy", "zoo.random.bits", "zoo.decoding.greedy"} <= {*PUBLIC}
    assert "zoo.serving.RequestError" not in PUBLIC


def test_faults_are_told():
    parse = doctest.DocTestParser().get_doctest
    assert fault_of(parse(">>> 1 + 1\n2", {}, "sum", None, None)) is None
    assert fault_of(parse(">>> 1 + 1\n3", {}, "sum", None, None)) == "sum: `1 + 1` gives\n2\ninstead of\n3\n"
    assert fault_of(parse(">>> a", {}, "a", None, None)) == "a: `a` raises NameError: name 'a' is not defined"


@pytest.mark.parametrize("name", PUBLIC)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examples_of(name)
    if not any(example.want for test in found if test.name == name for example in test.examples):
        pytest.fail(f"{name} has no example: no `>>>` line with a result below it in its docstring.", pytrace=False)
    faults = [fault for fault in map(fault_of, found) if fault]
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)
