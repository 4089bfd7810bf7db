"""TensorFlow and Keras without what they import for nobody here, which takes almost half of the time that they do."""

import sys
from contextlib import contextmanager

# TensorFlow Lite looks for JAX, Keras's wrappers for scikit-learn and its galleries for pyplot; Zoo and its tests use
# none of these three.
UNUSED = ("jax", "sklearn", "matplotlib.pyplot")


@contextmanager
def without_what_is_unused():
    """Within, packages that are looked for in vain are not found; afterwards they are, by whoever needs them."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
