"""Every model ends with the same weights, however its training is executed; tests/test_workers.py adds workers."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.graphs import races
from tests.helpers.rows import (
    NUM_ROWS,
    ROWS,
    ROWS_PER_BATCH,
    compile_sgd,
    fit,
    largest_difference,
    plain_training,
    weights,
)

# Ways to execute the same training: (replicas, options of `compile`).
EXECUTIONS = {
    "two replicas": (2, {}),
    "two replicas, compiled, accumulating, three steps at a time": (
        2,
        {"jit_compile": True, "gradient_accumulation_steps": 2, "steps_per_execution": 3},
    ),
    "compiled, two steps at a time": (1, {"jit_compile": True, "steps_per_execution": 2}),
}


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", ROWS)
def test_every_execution_gives_the_same_weights_and_logs(name, execution, two_replicas):
    """Replicas get four and three rows, at last three and two. The difference allowed, 1e-5, is the design's."""
    replicas, options = EXECUTIONS[execution]
    start, expected, expected_logs, _ = plain_training(name)
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model = ROWS[name].build()
        model.set_weights(start)
        compile_sgd(model, ROWS[name].learning_rate, **options)
    logs = fit(model, ROWS[name].examples(NUM_ROWS), batch_size=ROWS_PER_BATCH).history
    assert model.distribute_strategy.num_replicas_in_sync == replicas
    assert model.steps_taken == 6
    assert largest_difference(expected, weights(model)) < 1e-5
    for term, values in expected_logs.items():
        np.testing.assert_allclose(logs[term], values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_no_weight_is_read_while_it_is_written(name):
    """Not by chance: in the graph that is executed, each read of a variable has to come before or after each write."""
    *_, graphs = plain_training(name)
    steps = [graph for graph in graphs if any("Assign" in node.op for node in graph.node)]
    assert steps and not [pair for graph in steps for pair in races(graph)]
