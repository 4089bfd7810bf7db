"""What holds for every public function of `zoo.ot`: what is no number, weights of 0, padding, order, duplicates, types.

Expected values come from the same function on the smaller problem, whose own tests compare with POT, HiGHS and SciPy.
"""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import transport_rows as rows
from tests.helpers.transport_rows import ROWS, arrays_of, draw, outputs
from zoo import ot

# Variants of one computation, which the smaller tests see.
ALIKE = {"ipot:inner", "sinkhorn_divergence:function", "point_cloud_sinkhorn:cosine", "cost_matrix"}
IN_GRAPHS = [name for name in ROWS if name != "exact" and name not in ALIKE]
WEIGHTED = [
    name
    for name, row in ROWS.items()
    if (row.kind in ("cost", "line") or row.arrays == "x y a b") and name not in ALIKE
]
MASKED = [
    "sinkhorn",
    "sinkhorn:penalty",
    "ipot",
    "ipot:unrolled",
    "sinkhorn_divergence",
    "sinkhorn_divergence:euclidean",
]
# These depend on where the origin is.
ANGLES = {"cosine", "cost_matrix:function", "point_cloud_sinkhorn:cosine"}
EXACTLY = {"rtol": 1e-5, "atol": 1e-7}


@functools.cache
def plain(name, dtype="float64"):
    """What a row makes of the arrays that were drawn, which many tests compare with."""
    return outputs(name, *arrays_of(name, dtype).values())


def one_of_each(names):
    """The rows of these names, of which variants of a function are left to `make test-all`."""
    return [pytest.param(name, marks=pytest.mark.exhaustive) if ":" in name else name for name in names]


def test_every_public_function_has_a_row():
    assert {name.split(":")[0] for name in ROWS} == rows.FUNCTIONS


@pytest.mark.parametrize("name", one_of_each(ROWS))
def test_what_is_not_finite_is_refused(name):
    passed = rows.passes_what_is_not_finite(name)
    assert not passed, f"`{name}` answers where (array, number) is no number: {passed}"


@pytest.mark.parametrize("name", one_of_each(IN_GRAPHS))
def test_in_a_graph_what_is_not_finite_stays_so(name):
    compiled = tf.function(lambda *arrays: outputs(name, *arrays), autograph=False)
    finite = rows.finite_in_a_graph(name, compiled)
    assert not finite, f"in a graph, `{name}` gives numbers where (array, number) is none: {finite}"
    whole = [tf.constant(array) for array in arrays_of(name, "float32").values()]
    for found, expected in zip(compiled(*whole), plain(name, "float32"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


PROGRAM = """
import sys
from tests.helpers import transport_rows as rows

names = sys.argv[1:]
passed = {name: rows.passes_what_is_not_finite(name) for name in names}
import keras

if keras.backend.backend() == "jax":
    import jax

    for name in names:
        passed[name] += rows.finite_in_a_graph(name, jax.jit(lambda *arrays: rows.outputs(name, *arrays)))
assert "tensorflow" not in sys.modules
assert not any(passed.values()), passed
"""
CHEAP = ["euclidean", "cosine", "wasserstein_1d", "barycentric_map", "ipot"]
CHEAP += [name for name, row in ROWS.items() if row.kind == "histograms"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("backend", "names"), [("jax", CHEAP), ("numpy", IN_GRAPHS)])
def test_what_is_not_finite_without_tensorflow(backend, names):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: it comes with the tests")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *names]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def slopes(name, arrays):
    """Values, and gradients of their weighted sum in each array."""
    tensors = [tf.constant(array) for array in arrays.values()]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        found = outputs(name, *tensors)
        total = tf.add_n([tf.reduce_sum(output) * (1 + 0.3 * place) for place, output in enumerate(found)])
    gradients = tape.gradient(total, tensors, unconnected_gradients="zero")
    return [np.array(output) for output in found], dict(zip(arrays, map(np.array, gradients), strict=True))


def side_axis(array, side):
    """The axis of an array along which the points of a side lie, or None."""
    if array == "C":
        return side
    return 0 if array in (("x", "a", "s", "u"), ("y", "b", "t", "v"))[side] else None


def taken(name, arrays, side, places):
    """The arrays with only some points of a side."""
    return {
        array: values if side_axis(array, side) is None else np.take(values, places, side_axis(array, side))
        for array, values in arrays.items()
    }


def put(name, arrays, side, places, content):
    """The arrays with `content` for the points at places of a side; weights are not points."""
    changed = {}
    for array, values in arrays.items():
        axis = side_axis(array, side)
        changed[array] = values.copy()
        if axis is not None and array not in "ab":
            np.moveaxis(changed[array], axis, 0)[places] = content
    return changed


def weigh(name, arrays, side, places, weight):
    """The arrays with a weight for the points at places of a side, and the others' weights summing to 1."""
    weights = "ab"[side]
    changed = arrays[weights].copy()
    changed[places] = 0
    changed = changed / changed.sum()
    changed[places] = weight
    return arrays | {weights: changed.astype(arrays[weights].dtype)}


def compare(name, arrays, side, kept, found, expected):
    """Compares values, and gradients at the points that are kept; at others those of points are 0."""
    for place, (value, other) in enumerate(zip(found[0], expected[0], strict=True)):
        np.testing.assert_allclose(value, other, **EXACTLY, err_msg=f"output {place}, points of side {side}")
    for array, gradient in found[1].items():
        assert np.isfinite(gradient).all(), array
        axis = side_axis(array, side)
        other = expected[1][array]
        if axis is not None:
            gone = np.setdiff1d(np.arange(gradient.shape[axis]), kept)
            if array not in "ab":
                np.testing.assert_allclose(np.take(gradient, gone, axis), 0, atol=1e-7, err_msg=array)
            gradient = np.take(gradient, kept, axis)
        if array in "ab":
            # Weights keep their sum: their gradients matter up to a constant.
            gradient, other = gradient - gradient.mean(), other - other.mean()
        np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=2e-4, err_msg=array)


@pytest.mark.parametrize("name", one_of_each(WEIGHTED))
def test_a_weight_of_zero_leaves_a_point_out(name):
    arrays = arrays_of(name)
    for side, places, content in [(1, [1, 4], None), (0, [0], 20.0)]:
        weighed = weigh(name, arrays, side, places, 0.0)
        weighed = weighed if content is None else put(name, weighed, side, places, content)
        kept = np.setdiff1d(np.arange(len(arrays["ab"[side]])), places)
        expected = slopes(name, taken(name, weighed, side, kept))
        compare(name, weighed, side, kept, slopes(name, weighed), expected)


@pytest.mark.parametrize("name", one_of_each(WEIGHTED))
def test_weights_of_zero_on_both_sides(name):
    arrays = weigh(name, weigh(name, arrays_of(name), 0, [0, 3], 0.0), 1, [0], 0.0)
    expected = slopes(name, taken(name, taken(name, arrays, 0, [1, 2, 4, 5]), 1, [1, 2, 3, 4]))[0]
    found, gradients = slopes(name, arrays)
    for value, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, other, **EXACTLY)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("name", one_of_each(WEIGHTED))
def test_a_tiny_weight_is_nearly_none(name):
    arrays = arrays_of(name, "float32")
    for side, places in ((0, [0]), (1, [1, 4])):
        tiny, none = (weigh(name, arrays, side, places, weight) for weight in (1e-30, 0.0))
        found, gradients = slopes(name, tiny)
        for value, other in zip(found, outputs(name, *none.values()), strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("name", one_of_each(MASKED))
@pytest.mark.parametrize("weighted", [False, True])
def test_padding_of_any_content_changes_nothing(name, weighted):
    """Four contents, as a batch of four problems: operation by operation, four take as long as one."""
    arrays = arrays_of(name)
    arrays = arrays if weighted else {array: values for array, values in arrays.items() if array not in "ab"}
    options = {} if weighted else {"a": None, "b": None}
    contents, kept = (0.0, 1e6, np.nan, np.inf), (range(1, 5), range(3))
    present = [np.isin(range(len(draw()[points])), places) for points, places in zip("xy", kept, strict=True)]
    each = [np.tile(one, (len(contents), 1)) for one in present]
    masks = {"source_mask": each[0], "target_mask": each[1]}
    small = padded = arrays
    for side in (0, 1):
        gone = np.flatnonzero(~present[side])
        if weighted:
            padded = weigh(name, padded, side, gone, 0.0)
            padded["ab"[side]][gone] = np.nan
            small = small | {"ab"[side]: padded["ab"[side]]}
        small = taken(name, small, side, list(kept[side]))
    expected = pair(name, small, options)
    problems = []
    for content in contents:
        filled = padded
        for side in (0, 1):
            filled = put(name, filled, side, ~present[side], content)
        problems.append(filled)
    batch = {array: np.stack([one[array] for one in problems]) for array in padded}
    values, gradients = pair(name, batch, options | masks)
    for row, content in enumerate(contents):
        for value, other in zip(values, expected[0], strict=True):
            np.testing.assert_allclose(value[row], other, **EXACTLY, err_msg=f"padding of {content}")
        for array, unpadded in expected[1].items():
            case, gradient = f"{array}, padding of {content}", gradients[array][row]
            index = np.ix_(*[list(kept[side]) for side in (0, 1) if side_axis(array, side) is not None])
            if array in "ab":
                assert np.isfinite(gradient).all(), case
                gradient, other = (one - one.mean() for one in (gradient[index], unpadded))
                np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=2e-4, err_msg=case)
                continue
            whole = np.zeros_like(gradient)
            whole[index] = unpadded
            np.testing.assert_allclose(gradient, whole, rtol=1e-3, atol=2e-5, err_msg=case)


def pair(name, arrays, options):
    """Values and gradients, with weights given by `arrays` or, as None, by `options`."""
    options = dict(options)
    fixed = {array: options.pop(array) for array in ("a", "b") if array in options}

    def call(*tensors):
        given = dict(zip(arrays, tensors, strict=True)) | fixed
        found = ROWS[name].call(*(given[array] for array in ROWS[name].arrays.split()), **options)
        return found if isinstance(found, tuple) else (found,)

    tensors = [tf.constant(array) for array in arrays.values()]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        found = call(*tensors)
        total = tf.add_n(list(map(tf.reduce_sum, found)))
    gradients = tape.gradient(total, tensors, unconnected_gradients="zero")
    return [np.array(output) for output in found], dict(zip(arrays, map(np.array, gradients), strict=True))


@pytest.mark.parametrize("cost", ["squared_euclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("coordinates", [2, 5])
def test_in_a_graph_a_mask_covers_points_that_are_not_finite(cost, coordinates):
    x, y = draw()["x"][:, :coordinates], draw()["y"][:, :coordinates]
    mask = np.arange(6) < 4

    @tf.function(autograph=False)
    def value(x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            found = ot.ipot(ot.cost_matrix(x, y, cost), 0.5, source_mask=mask, jit_compile=False).transport_cost
        return found, *tape.gradient(found, [x, y])

    expected = value(tf.constant(x), tf.constant(y))
    for content in (np.nan, np.inf):
        found = value(tf.constant(np.where(mask[:, None], x, content)), tf.constant(y))
        for result, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(result, other, atol=1e-12)


def reordered(name, arrays, numbers):
    """The arrays with their points in another order, and a function that does so to what is by point."""
    orders = [numbers.permutation(len(draw()[array])) for array in "xy"]
    if ROWS[name].kind in ("points", "cost", "line"):
        for side in (0, 1):
            arrays = taken(name, arrays, side, orders[side])
        return arrays, lambda output: output[np.ix_(*orders)] if output.ndim == 2 else output
    if ROWS[name].kind == "energy":
        return {
            array: values[numbers.permutation(len(values))] for array, values in arrays.items()
        }, lambda output: output
    if ROWS[name].kind == "plan":
        P, y = arrays.values()
        return {"P": P[np.ix_(*orders)], "y": y[orders[1]]}, lambda output: output[orders[0]]
    order = orders[1]
    return {array: values[np.ix_(*[order] * values.ndim)] for array, values in arrays.items()}, lambda output: output


# Bins of the line stand in an order.
@pytest.mark.parametrize("name", one_of_each([name for name in ROWS if not name.startswith("earth_mover")]))
def test_the_order_of_points_does_not_matter(name):
    arrays = arrays_of(name)
    other, reorder = reordered(name, arrays, np.random.default_rng(0))
    for found, expected in zip(outputs(name, *other.values()), plain(name), strict=True):
        np.testing.assert_allclose(found, reorder(np.array(expected)), **EXACTLY)


@pytest.mark.parametrize("name", one_of_each(WEIGHTED))
def test_a_point_twice_with_split_weight_is_one(name):
    arrays = arrays_of(name)
    for side in (0, 1):
        n = len(arrays["ab"[side]])
        double = taken(name, arrays, side, [*range(n), 0])
        weights = double["ab"[side]]
        weights[0], weights[n] = 0.3 * weights[0], 0.7 * weights[n]
        found, expected = outputs(name, *double.values()), plain(name)
        # The entropy of the plan, and with it the entropic cost, counts points.
        for place, (value, other) in enumerate(zip(found, expected, strict=True)):
            if place < 2:
                np.testing.assert_allclose(value, other, **EXACTLY)


@pytest.mark.parametrize("name", one_of_each(ROWS))
def test_float32_is_near_float64(name):
    singles, doubles = plain(name, "float32"), plain(name)
    for single, double in zip(singles, doubles, strict=True):
        assert keras.backend.standardize_dtype(single.dtype) == "float32"
        assert keras.backend.standardize_dtype(double.dtype) == "float64"
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", one_of_each([name for name, row in ROWS.items() if row.zero]))
def test_a_measure_is_at_distance_zero_from_itself(name):
    for dtype, bound in (("float64", 1e-7), ("float32", 3e-6)):
        arrays = arrays_of(name, dtype)
        twins = {"v": "u", "y": "x", "b": "a", "t": "s", "s2": "s", "q": "p", "x2": "x", "y2": "x", "y3": "x"}
        arrays = {array: draw(dtype)[twins.get(array, array)] for array in arrays}
        for found in outputs(name, *arrays.values()):
            np.testing.assert_allclose(found, 0, atol=bound, err_msg=dtype)


@pytest.mark.parametrize(
    "name", one_of_each([name for name, row in ROWS.items() if row.kind == "points" and name not in ANGLES])
)
def test_far_from_the_origin_costs_are_the_same(name):
    # Multiples of 1/64 are exact in float32 beside 8192.
    arrays = arrays_of(name, "float32")
    arrays = {array: values if array in "ab" else np.round(64 * values) / 64 for array, values in arrays.items()}
    far = {array: values if array in "ab" else values + np.float32(8192) for array, values in arrays.items()}
    for found, expected in zip(outputs(name, *far.values()), outputs(name, *arrays.values()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
