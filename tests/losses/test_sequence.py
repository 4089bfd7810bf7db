"""Losses of sequences: formulas in NumPy, the transport linear program, finite differences."""

import numpy as np
import ot as pot
import pytest
import tensorflow as tf

from tests.helpers.transport import draw
from zoo.losses.sequence import sequence_transport, soft_embeddings

# Three pairs of sequences, of 5 and 3, of 1 and 6, and of 6 and 6 embeddings.
SAID, MEANT = draw(3, 6, 4, seed=0), draw(3, 6, 4, seed=1)
SAID_MASK, MEANT_MASK = (np.arange(6) < np.array(counts)[:, None] for counts in ((5, 1, 6), (3, 6, 6)))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def cosine(x, y):
    """1 - <x, y> / |x| |y|."""
    x, y = (one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (x, y))
    return 1 - x @ np.swapaxes(y, -1, -2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_soft_embeddings_are_expected_embeddings(temperature):
    logits, embeddings = draw(2, 3, 7), draw(7, 4, seed=1)
    given, weights = [tf.constant(logits), tf.constant(embeddings)], draw(2, 3, 4, seed=2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        found = soft_embeddings(*given, temperature)
        total = tf.reduce_sum(weights * found)
        by_tensorflow = tf.reduce_sum(weights * (tf.nn.softmax(given[0] / temperature) @ given[1]))
    np.testing.assert_allclose(found, softmax(logits / temperature) @ embeddings, rtol=1e-10)
    for one, other in zip(tape.gradient(total, given), tape.gradient(by_tensorflow, given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_cold_soft_embeddings_are_those_of_the_most_likely():
    logits, embeddings = draw(2, 3, 7), draw(7, 4, seed=1)
    found = soft_embeddings(tf.constant(logits), tf.constant(embeddings), 1e-3)
    np.testing.assert_allclose(found, embeddings[logits.argmax(-1)], atol=1e-10)


def transport(said=SAID, meant=MEANT, said_mask=SAID_MASK, meant_mask=MEANT_MASK, **options):
    return sequence_transport(tf.constant(said), tf.constant(meant), said_mask, meant_mask, **options)


SMALL = {"method": "sinkhorn", "strength": 2e-3}


@pytest.mark.parametrize(
    "options", [{"num_iterations": 3000}, pytest.param(SMALL, marks=pytest.mark.exhaustive)], ids=str
)
def test_transport_approaches_the_linear_program(options):
    """POT's exact solver, of each pair without its padding, with the same weight for each word."""
    options = {"num_iterations": 5000, **options}
    expected = [
        pot.emd2([], [], cosine(said[mask], meant[other]))
        for said, meant, mask, other in zip(SAID, MEANT, SAID_MASK, MEANT_MASK, strict=True)
    ]
    np.testing.assert_allclose(transport(**options), expected, rtol=2e-3)
    # One word alone goes to all others alike, which needs no program.
    assert expected[1] == pytest.approx(cosine(SAID[1, :1], MEANT[1]).mean())


def test_a_sequence_costs_nothing_to_itself_in_any_order():
    order = np.random.default_rng(0).permutation(6)
    mask = np.ones((3, 6), bool)
    found = transport(SAID, 7 * SAID[:, order], mask, mask, num_iterations=2000)
    np.testing.assert_allclose(found, 0, atol=1e-3)


def test_padding_has_no_influence():
    expected = transport()
    said, meant = (np.where(mask[..., None], one, 1e3) for mask, one in ((SAID_MASK, SAID), (MEANT_MASK, MEANT)))
    np.testing.assert_allclose(transport(said, meant), expected, rtol=1e-10)
    wider = [np.pad(one, ((0, 0), (0, 3), (0, 0))) for one in (SAID, MEANT)]
    masks = [np.pad(one, ((0, 0), (0, 3))) for one in (SAID_MASK, MEANT_MASK)]
    np.testing.assert_allclose(transport(*wider, *masks), expected, rtol=1e-10)
    # Words in the middle count as well as those at the beginning.
    back = [one[:, ::-1] for one in (SAID, MEANT, SAID_MASK, MEANT_MASK)]
    np.testing.assert_allclose(transport(*back), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"gradient": "unrolled"}, {"method": "sinkhorn", "strength": 0.1, "tolerance": 0.0}], ids=str
)
def test_where_nothing_counts_there_is_no_cost_and_no_gradient(options):
    """Embeddings of zeros, which padding may have, have no direction."""
    said = np.where(np.arange(3)[:, None, None] == 0, 0, SAID)
    said_mask, meant_mask = SAID_MASK & [[False], [True], [True]], MEANT_MASK & [[True], [False], [True]]
    given = [tf.constant(said), tf.constant(MEANT)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        costs = sequence_transport(*given, said_mask, meant_mask, **{"num_iterations": 20, **options})
    np.testing.assert_array_equal(costs[:2], 0)
    assert costs[2] > 0.1
    for gradient in tape.gradient(costs, given):
        np.testing.assert_array_equal(gradient[:2], 0)
        assert np.all(np.isfinite(gradient)) and np.abs(gradient[2]).max() > 0.01


def slopes(function, *arguments, step=1e-5):
    """Central differences in a direction for each argument, and the directions."""
    found = []
    for place, one in enumerate(arguments):
        direction = draw(*one.shape, seed=10 + place)
        up, down = (
            function(*arguments[:place], one + sign * step * direction, *arguments[place + 1 :]) for sign in (1, -1)
        )
        found.append((direction, (up - down) / (2 * step)))
    return found


def gradients(*arguments, **options):
    arguments = [tf.constant(one) for one in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        total = tf.reduce_sum(sequence_transport(*arguments, SAID_MASK, MEANT_MASK, **options))
    return tape.gradient(total, arguments)


def test_envelope_gradient_is_that_of_the_cost_of_a_plan_held_fixed():
    """<P, C(said, meant)> with the NumPy cosine costs, and P from the same iterations written in NumPy."""
    iterations, plans = 30, []
    for cost, mask, other in zip(cosine(SAID, MEANT), SAID_MASK, MEANT_MASK, strict=True):
        plan = np.zeros((6, 6))
        plan[np.ix_(mask, other)] = ipot(cost[np.ix_(mask, other)], 0.5, iterations)
        plans.append(plan)
    expected = slopes(lambda said, meant: (plans * cosine(said, meant)).sum(), SAID, MEANT)
    found = gradients(SAID, MEANT, num_iterations=iterations)
    for (direction, slope), gradient in zip(expected, found, strict=True):
        assert (gradient.numpy() * direction).sum() == pytest.approx(slope, rel=1e-6)


def ipot(cost, beta, iterations):
    """Xie et al. 2019, algorithm 1."""
    n, m = cost.shape
    plan, sigma = np.ones((n, m)), np.ones(m) / m
    for _ in range(iterations):
        Q = np.exp(-cost / beta) * plan
        delta = 1 / (n * (Q @ sigma))
        sigma = 1 / (m * (Q.T @ delta))
        plan = delta[:, None] * Q * sigma
    return plan


@pytest.mark.parametrize("options", [{}, {"method": "sinkhorn", "strength": 0.2, "tolerance": 0.0}], ids=str)
def test_unrolled_gradient_is_that_of_the_value(options):
    options = {"num_iterations": 10, "gradient": "unrolled", **options}
    expected = slopes(lambda said, meant: np.sum(transport(said, meant, **options)), SAID, MEANT)
    for (direction, slope), gradient in zip(expected, gradients(SAID, MEANT, **options), strict=True):
        assert abs(slope) > 0.01
        assert (gradient.numpy() * direction).sum() == pytest.approx(slope, rel=1e-6)
    held = gradients(SAID, MEANT, **{**options, "gradient": "envelope"})
    assert np.abs(held[0] - gradients(SAID, MEANT, **options)[0]).max() > 1e-3
