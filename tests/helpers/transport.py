"""What several tests of transport compare with: HiGHS, finite differences, and the draws they work on."""

import numpy as np
import tensorflow as tf
from scipy.optimize import linprog


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def weigh(*shape, seed=0):
    weights = np.random.default_rng(seed).random(shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def program(cost, a, b):
    """The transport linear program, solved by HiGHS; it knows nothing of order."""
    n, m = cost.shape
    constraints = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    result = linprog(cost.ravel(), A_eq=constraints[:-1], b_eq=np.concatenate([a, b])[:-1], method="highs")
    assert result.success
    return result.fun


def gradients(function, *arguments):
    arguments = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = tf.reduce_sum(function(*arguments))
    return [gradient.numpy() for gradient in tape.gradient(value, arguments)]


def finite_differences(function, *arguments, step=1e-6):
    """Central differences in each entry of each vector; the moved copies of it are a batch."""
    found = []
    for place, argument in enumerate(arguments):
        moves = step * np.eye(len(argument))
        batch = [np.tile(each, (len(argument), 1)) for each in arguments]
        up, down = ([*batch[:place], argument + sign * moves, *batch[place + 1 :]] for sign in (1, -1))
        found.append((function(*up) - function(*down)) / (2 * step))
    return found
