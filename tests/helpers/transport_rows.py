"""Every public function of `zoo.ot` as a row of a table, on any backend: what properties are tried on."""

import warnings
from typing import NamedTuple

import numpy as np
from keras import ops

from zoo import ot

N, M, D = 6, 5, 5  # More coordinates than those whose differences are taken one by one.
FAST = {"jit_compile": False, "tolerance": 1e-6}
FUNCTIONS = {name for name in ot.__all__ if not isinstance(getattr(ot, name), type)}


class Row(NamedTuple):
    """A function of named arrays, and how their axes are the points.

    Attributes:
        call: Function of the arrays (and of masks of both sides, if it has them) to a tensor or a tuple of tensors.
        arrays: Names of the arrays, of those in `draw`.
        kind: "points", "cost", "line", "histograms", "plan" or "energy": which axes of the arrays are points.
        zero: Whether the value of two equal measures is 0.
    """

    call: object
    arrays: str
    kind: str
    zero: bool = False


def draw(dtype="float64"):
    """The arrays that rows name."""
    numbers = np.random.default_rng(4)
    x, y = numbers.normal(size=(N, D)), numbers.normal(size=(M, D)) + 0.3
    a, b, p, q = (numbers.random(size) + 0.2 for size in (N, M, M, M))
    arrays = {
        "x": x,
        "y": y,
        "a": a / a.sum(),
        "b": b / b.sum(),
        "C": np.square(x[:, None] - y).sum(-1) / 4,
        "u": x[:, :2],
        "v": y[:, :2],
        "s": x[:, 0],
        "t": y[:, 0],
        "s2": x[:, 1],
        "p": p / p.sum(),
        "q": q / q.sum(),
        "z": np.sort(numbers.normal(size=M)),
        "A": np.exp(-np.abs(np.arange(M)[:, None] - np.arange(M))),
        "P": np.outer(a, b),
        "x2": x + 0.1,
        "y2": x - 0.2,
        "y3": x[::-1] * 1.1,
    }
    return {name: array.astype(dtype) for name, array in arrays.items()}


def members(result, *names):
    return tuple(getattr(result, name) for name in names)


def sinkhorn(C, a, b, **options):
    result = ot.sinkhorn(C, 1.0, a, b, **(FAST | options))
    return members(result, "transport_cost", "regularized_cost", "entropic_cost")


def proximal(C, a, b, **options):
    options = {"num_iterations": 8, "jit_compile": False} | options
    with warnings.catch_warnings():
        # Eight iterations, for speed: properties hold after any number of them.
        warnings.simplefilter("ignore", ot.ConvergenceWarning)
        return ot.ipot(C, 0.5, a, b, **options).transport_cost


def clouds(cost):
    def call(x, y, a, b, **options):
        result = ot.point_cloud_sinkhorn(x, y, 3.0, a, b, cost=cost, block_size=4, **(FAST | options))
        return members(result, "transport_cost", "regularized_cost", "entropic_cost")

    return call


def divergence(cost):
    return lambda x, y, a, b, **options: ot.sinkhorn_divergence(x, y, 3.0, a, b, cost=cost, **(FAST | options))


ROWS = {
    "squared_euclidean": Row(ot.squared_euclidean, "x y", "points"),
    "squared_euclidean:plane": Row(ot.squared_euclidean, "u v", "points"),
    "euclidean": Row(ot.euclidean, "x y", "points"),
    "cosine": Row(ot.cosine, "x y", "points"),
    "cost_matrix": Row(lambda x, y: ot.cost_matrix(x, y, "euclidean"), "x y", "points"),
    "cost_matrix:function": Row(lambda x, y: ot.cost_matrix(x, y, lambda x, y: x @ ops.transpose(y)), "x y", "points"),
    "sinkhorn": Row(sinkhorn, "C a b", "cost"),
    "sinkhorn:log": Row(lambda *arrays, **options: sinkhorn(*arrays, method="log", **options), "C a b", "cost"),
    "sinkhorn:unrolled": Row(
        lambda *arrays, **options: sinkhorn(*arrays, gradient="unrolled", max_iterations=10, **options), "C a b", "cost"
    ),
    "sinkhorn:penalty": Row(
        lambda *arrays, **options: sinkhorn(*arrays, marginal_penalty=2.0, **options)[:2], "C a b", "cost"
    ),
    "ipot": Row(proximal, "C a b", "cost"),
    "ipot:inner": Row(lambda *arrays, **options: proximal(*arrays, inner_iterations=2, **options), "C a b", "cost"),
    "ipot:unrolled": Row(lambda *arrays, **options: proximal(*arrays, gradient="unrolled", **options), "C a b", "cost"),
    "exact": Row(lambda *arrays: ot.exact(*arrays).transport_cost, "C a b", "cost"),
    "point_cloud_sinkhorn": Row(clouds("squared_euclidean"), "x y a b", "points"),
    "point_cloud_sinkhorn:euclidean": Row(clouds("euclidean"), "x y a b", "points"),
    "point_cloud_sinkhorn:cosine": Row(clouds("cosine"), "x y a b", "points"),
    "sinkhorn_divergence": Row(divergence("squared_euclidean"), "x y a b", "points", zero=True),
    "sinkhorn_divergence:euclidean": Row(divergence("euclidean"), "x y a b", "points", zero=True),
    "sinkhorn_divergence:function": Row(
        divergence(lambda x, y: 2.0 * ot.squared_euclidean(x, y)), "x y a b", "points", zero=True
    ),
    "minibatch_energy_distance": Row(
        lambda x, x2, y2, y3: ot.minibatch_energy_distance(x, x2, y2, y3, 0.5, **FAST),
        "x x2 y2 y3",
        "energy",
        zero=True,
    ),
    "minibatch_energy_distance:euclidean": Row(
        lambda x, x2, y2, y3: ot.minibatch_energy_distance(x, x2, y2, y3, 0.5, cost="euclidean", **FAST),
        "x x2 y2 y3",
        "energy",
        zero=True,
    ),
    "wasserstein_1d": Row(lambda s, t, a, b: ot.wasserstein_1d(s, t, a, b, p=2), "s t a b", "line", zero=True),
    "wasserstein_1d:1": Row(ot.wasserstein_1d, "s t a b", "line", zero=True),
    "wasserstein_1d:uniform": Row(ot.wasserstein_1d, "s s2", "energy", zero=True),
    "barycentric_map": Row(ot.barycentric_map, "P y", "plan"),
    "total_variation": Row(ot.total_variation, "p q", "histograms", zero=True),
    "kl_divergence": Row(ot.kl_divergence, "p q", "histograms", zero=True),
    "js_divergence": Row(ot.js_divergence, "p q", "histograms", zero=True),
    "earth_mover": Row(ot.earth_mover, "p q z", "histograms", zero=True),
    "earth_mover:steps": Row(ot.earth_mover, "p q", "steps", zero=True),
    "minkowski": Row(ot.minkowski, "p q", "histograms", zero=True),
    "minkowski:1": Row(lambda p, q: ot.minkowski(p, q, order=1), "p q", "histograms", zero=True),
    "minkowski:inf": Row(lambda p, q: ot.minkowski(p, q, order=float("inf")), "p q", "histograms", zero=True),
    "chi_squared": Row(ot.chi_squared, "p q", "histograms", zero=True),
    "histogram_intersection": Row(ot.histogram_intersection, "p q", "histograms", zero=True),
    "quadratic_form": Row(ot.quadratic_form, "p q A", "histograms", zero=True),
}
# By pairs of points rather than by problem: others stay as they are.
BY_POINT = {name for name in ROWS if name.split(":")[0] in ("squared_euclidean", "euclidean", "cosine", "cost_matrix")}


def arrays_of(name, dtype="float64"):
    """The arrays of a row, in the order of its arguments."""
    drawn = draw(dtype)
    return {array: drawn[array] for array in ROWS[name].arrays.split()}


def outputs(name, *arrays, **options):
    """What a row gives, as a tuple of tensors."""
    found = ROWS[name].call(*arrays, **options)
    return found if isinstance(found, tuple) else (found,)


def broken(name):
    """(array, number, arguments) with a number that is not finite at either end of each array in turn."""
    arrays = arrays_of(name, "float32")
    for array in arrays:
        for number, place in ((np.nan, 0), (np.inf, -1), (-np.inf, 0)):
            spoiled = arrays[array].copy()
            spoiled.flat[place] = number
            yield array, number, list((arrays | {array: spoiled}).values())


def passes_what_is_not_finite(name):
    """What a row answers, eagerly, instead of an error where an input is not finite; empty where all is well."""
    passed = []
    for array, number, arguments in broken(name):
        try:
            found = [
                ops.convert_to_numpy(output).tolist()
                for output in outputs(name, *map(ops.convert_to_tensor, arguments))
            ]
        except ValueError:
            continue
        passed.append((array, number, found))
    return passed


def finite_in_a_graph(name, compiled):
    """What a row gives, compiled, as finite numbers where an input is not finite; empty where all is well."""
    passed = []
    for array, number, arguments in broken(name):
        found = [ops.convert_to_numpy(output) for output in compiled(*map(ops.convert_to_tensor, arguments))]
        bad = [~np.isfinite(argument).all(axis=-1) for argument in arguments]
        if name in BY_POINT:
            found = [found[0][bad[0][:, None] | bad[1]]]
        if name == "barycentric_map":
            found = [found[0][bad[0] | bad[1].any()]]
        if any(np.isfinite(output).any() for output in found):
            passed.append((array, number, [output.tolist() for output in found]))
    return passed
