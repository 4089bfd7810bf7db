"""What an optimizer makes of a variable, without a model."""

import numpy as np


def moved(optimizer, variable, gradients):
    """What an optimizer makes of a variable by gradients in turn."""
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([np.reshape(gradient, variable.shape)])
    return np.array(variable)


def draws(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")
