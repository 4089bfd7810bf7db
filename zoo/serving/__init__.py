"""Exports that serve: write, publish, load and check SavedModels as TF Serving's own C++ loader sees them."""

import importlib

_HOMES = {
    "Client": "client",
    "RequestError": "client",
    "SavedModel": "loader.native",
    "check": "checking.conformance",
    "check_all": "checking.conformance",
    "publish": "publishing.saved_model",
    "run_native": "loader.isolated",
    "write": "publishing.saved_model",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    """Load a public name on first use, so that importing `zoo.serving` stays light and TensorFlow-free."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It has: {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    """List the public names."""
    return __all__
