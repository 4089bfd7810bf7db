"""The problems, and what is true of them: float64 in the log domain by NumPy."""

import numpy as np


def points(batch, n, dimension=64):
    """Sources from N(0, 1) and targets from N(0.1, 1), seeded."""
    numbers = np.random.default_rng(0)
    shape = (batch, n, dimension) if batch else (n, dimension)
    return numbers.standard_normal(shape), 0.1 + numbers.standard_normal(shape)


def squared_distances(source, target):
    squares = np.sum(source**2, axis=-1)[..., :, None] + np.sum(target**2, axis=-1)[..., None, :]
    return np.maximum(squares - 2.0 * source @ np.swapaxes(target, -1, -2), 0.0)


def unit(features):
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def reference(cost, epsilon, iterations=None):
    """Potentials in float64 by the log domain from zoo's start; to an error of 1e-9 unless `iterations` are given."""
    cost = cost.astype("float64")
    n, m = cost.shape[-2:]
    scores, turned = -cost / epsilon, np.swapaxes(-cost / epsilon, -1, -2).copy()
    g = np.min(cost - np.min(cost, axis=-1, keepdims=True), axis=-2) / epsilon
    for count in range(1, (iterations or 2000) + 1):
        f = np.log(m) - log_sum(scores + g[..., None, :])
        g = np.log(n) - log_sum(turned + f[..., None, :])
        if iterations is None and count % 10 == 0 and errors(cost, epsilon, epsilon * f, epsilon * g).max() < 1e-9:
            break
    return epsilon * f, epsilon * g


def log_sum(scores):
    """Logarithm of the sum of exponentials over the last axis."""
    largest = np.max(scores, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(scores - largest), axis=-1)) + largest[..., 0]


def plan_of(cost, epsilon, f, g):
    """The plan of potentials, uniform weights."""
    scores = (f[..., :, None] + g[..., None, :] - cost.astype("float64")) / epsilon
    return np.exp(scores) / np.prod(cost.shape[-2:])


def values(cost, epsilon, f, g):
    """The three values as `zoo.ot.SinkhornResult` defines them, the regularised one by the dual objective."""
    plan = plan_of(cost, epsilon, f, g)
    regularized = f.mean(axis=-1) + g.mean(axis=-1) - epsilon * (plan.sum(axis=(-2, -1)) - 1.0)
    return {
        "transport_cost": np.sum(plan * cost, axis=(-2, -1)),
        "regularized_cost": regularized,
        "entropic_cost": regularized - epsilon * np.log(np.prod(cost.shape[-2:])),
    }


def errors(cost, epsilon, f, g):
    """L1 error of each problem's worse marginal."""
    plan = plan_of(cost, epsilon, f, g)
    sides = (np.abs(plan.sum(axis=axis) - 1.0 / plan.shape[-3 - axis]).sum(axis=-1) for axis in (-1, -2))
    return np.maximum(*sides)


def marginal(cost, epsilon, found):
    """The largest of `errors`, of a contestant's answer."""
    f, g = (found[f"{side}_potential"].reshape(*cost.shape[:-2], -1) for side in ("source", "target"))
    return float(errors(cost, epsilon, f, g).max())


def proximal(cost, beta, steps):
    """The plan of the inexact proximal point method (Xie et al. 2019, algorithm 1) in float64, uniform weights."""
    n, m = cost.shape[-2:]
    step = np.exp(-cost.astype("float64") / beta)
    plan, sigma = np.ones_like(step), np.full((*cost.shape[:-2], m, 1), 1.0 / m)
    for _ in range(steps):
        Q = step * plan
        delta = 1.0 / (n * (Q @ sigma))
        sigma = 1.0 / (m * (np.swapaxes(Q, -1, -2) @ delta))
        plan = delta * Q * np.swapaxes(sigma, -1, -2)
    return plan


def difference(found, expected):
    """Largest relative difference over the problems."""
    return float(np.max(np.abs(np.ravel(found) / np.ravel(expected) - 1.0)))
