"""Every model ends with the same weights, however its training is executed."""

import keras
import numpy as np
import pytest

from tests.helpers import worker
from tests.helpers.graphs import executed_graphs, races
from tests.helpers.rows import EVEN, ROWS, UNEVEN, fit, largest_difference, weights
from tests.helpers.subject import RATE, Subject, subject

# Ways to execute the same training: (replicas, sizes, options of `compile`), all with batches of one size, since XLA
# compiles for each and for each replica. Two workers train every row with batches of several, not compiled.
EXECUTIONS = {
    "two replicas, compiled, accumulating, two steps at a time": (
        2,
        EVEN,
        {"jit_compile": True, "gradient_accumulation_steps": 2, "steps_per_execution": 2},
    ),
    "compiled, two steps at a time": (1, EVEN, {"jit_compile": True, "steps_per_execution": 2}),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_every_execution_gives_the_same_weights_and_logs(row_name, execution, two_replicas):
    """The largest difference allowed, 1e-5, is the design's."""
    assert_equal_to_plain_training(row_name, two_replicas, *EXECUTIONS[execution])


# A term of each row alone, one that all rows make together, and one that is weighted by what counts in a row.
@pytest.mark.parametrize(
    "name, is_compiled",
    [
        pytest.param("autoencoder", True, id="row autoencoder-compiled", marks=pytest.mark.exhaustive),
        pytest.param("ot_gan", True, id="row ot_gan-compiled", marks=pytest.mark.exhaustive),
        pytest.param("gan", False, id="row gan"),
        pytest.param("fcn", False, id="row fcn", marks=pytest.mark.exhaustive),
        pytest.param("vae", False, id="row vae", marks=pytest.mark.exhaustive),
    ],
)
def test_batches_of_several_sizes_give_the_same_weights_and_logs(name, is_compiled, two_replicas):
    """All ways at once; replicas and micro-batches have one row more or less than others."""
    options = {"jit_compile": is_compiled, "gradient_accumulation_steps": 2, "steps_per_execution": 3}
    assert_equal_to_plain_training(name, two_replicas, 2, UNEVEN, options)


def assert_equal_to_plain_training(name, two_replicas, replicas, sizes, options):
    plain = subject(name)
    start = weights(plain.anew())
    expected, expected_logs = plain.trained(sizes)
    executed = Subject(name, two_replicas if replicas == 2 else None, sizes=sizes, **options)
    own_start, found, logs, _ = executed.first
    assert largest_difference(start, own_start) == 0
    assert executed.model.distribute_strategy.num_replicas_in_sync == replicas
    assert executed.model.steps_taken == plain.model.steps_taken == 2 * -(-sizes[0] // sizes[1])
    assert largest_difference(expected, found) < 1e-5
    for term, values in expected_logs.items():
        np.testing.assert_allclose(logs[term], values, atol=1e-4, rtol=1e-4)


@pytest.mark.exhaustive
def test_two_workers_equal_one(row_name, of_two_workers):
    """Batches of seven and six rows, split unevenly, three steps at a time; weights, running means, the saved file."""
    _, expected, logs, _ = subject(row_name).first
    assert largest_difference(expected, worker.read(of_two_workers / f"{row_name}.end.npz")) < 1e-5
    saved = keras.models.load_model(of_two_workers / f"{row_name}.keras")
    assert largest_difference(expected, saved.get_weights()) < 1e-5
    with np.load(of_two_workers / f"{row_name}.logs.npz") as found:
        assert set(found) == set(logs)
        for term, values in logs.items():
            np.testing.assert_allclose(found[term], values, atol=1e-4, rtol=1e-4)


def test_no_weight_is_read_while_it_is_written(row_name):
    """Not by chance: in the graph that is executed, each read of a variable has to come before or after each write.

    Of batches of any size, and of those of one size, for which TensorFlow makes another graph.
    """
    for rate in (None, RATE):
        *_, graphs = subject(row_name, rate).first
        assert_in_order(graphs)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "optimizer", ["Adadelta", "Adagrad", "Adamax", "Ftrl", "Lamb", "Lion", "Muon", "Nadam", "RMSprop", "SGD"]
)
def test_no_slot_is_read_while_it_is_written(optimizer):
    """Several updates a step, and the last bias of a critic, whose gradient is constant for batches of one size."""
    model = ROWS["wgan"].build()
    model.compile(*(getattr(keras.optimizers, optimizer)(1e-3) for _ in model.optimizer_networks))
    assert_in_order(graphs_of_one_size(model, ROWS["wgan"]))


def graphs_of_one_size(model, row):
    with executed_graphs() as graphs:
        fit(model, row.examples(EVEN[0]), epochs=1, batch_size=EVEN[1])
    return graphs


def assert_in_order(graphs):
    steps = [graph for graph in graphs if any("Assign" in node.op for node in graph.node)]
    pairs = [pair for graph in steps for pair in races(graph)]
    assert steps and not pairs, f"{len(pairs)} reads and writes of one variable have no order, as {pairs[:3]}"
