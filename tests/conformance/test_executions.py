"""Every model ends with the same weights, however its training is executed; tests/test_workers.py adds workers."""

import numpy as np
import pytest

from tests.helpers.graphs import executed_graphs, races
from tests.helpers.rows import ROWS_PER_BATCH, fit, largest_difference
from tests.helpers.subject import Subject, subject

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
def test_every_execution_gives_the_same_weights_and_logs(row_name, execution, two_replicas):
    """Replicas get four and three rows, at last three and three. The difference allowed, 1e-5, is the design's."""
    replicas, options = EXECUTIONS[execution]
    start, expected, expected_logs, _ = subject(row_name).first
    executed = Subject(row_name, two_replicas if replicas == 2 else None, **options)
    own_start, found, logs, _ = executed.first
    assert largest_difference(start, own_start) == 0
    assert executed.model.distribute_strategy.num_replicas_in_sync == replicas
    assert executed.model.steps_taken == 6
    assert largest_difference(expected, found) < 1e-5
    for term, values in expected_logs.items():
        np.testing.assert_allclose(logs[term], values, atol=1e-4, rtol=1e-4)


def test_no_weight_is_read_while_it_is_written(row_name, row):
    """Not by chance: in the graph that is executed, each read of a variable has to come before or after each write.

    Of batches of any size, and of those of one size, for which TensorFlow makes another graph.
    """
    *_, graphs = subject(row_name).first
    of_one_size = row.build()
    of_one_size.compile()
    with executed_graphs() as more:
        fit(of_one_size, row.examples(ROWS_PER_BATCH), epochs=1, batch_size=ROWS_PER_BATCH)
    for found in (graphs, more):
        steps = [graph for graph in found if any("Assign" in node.op for node in graph.node)]
        assert steps and not [pair for graph in steps for pair in races(graph)]
