"""What is executed: graphs after TensorFlow's optimizers, accesses to a variable without order, layers in training."""

import functools
import graphlib
import operator
from contextlib import contextmanager
from unittest import mock

import keras
from tensorflow.python.eager import context


@contextmanager
def executed_graphs():
    """A list of the graphs of what is executed within, filled at the end."""
    graphs = []
    with context.collect_graphs(optimized=True) as collected:
        yield graphs
    graphs += collected


@contextmanager
def called_for_training():
    """A list of the names of the layers that are called with `training=True` within."""
    names, call = [], keras.layers.Layer.__call__

    def noted(layer, *args, **kwargs):
        if kwargs.get("training"):
            names.append(layer.name)
        return call(layer, *args, **kwargs)

    with mock.patch.object(keras.layers.Layer, "__call__", noted):
        yield names


def races(graph):
    """Pairs of a read and a write of one variable, by name, of which neither has to wait for the other.

    TensorFlow 2.21's dependency optimizer forgets some of these orders; then a weight may be read before or after its
    update, as chance has it.
    """
    inputs = {node.name: [one.lstrip("^").split(":")[0] for one in node.input] for node in graph.node}
    operations = {node.name: node.op for node in graph.node}
    reads, writes = {}, {}
    for name, operation in operations.items():
        if operation == "ReadVariableOp":
            reads.setdefault(inputs[name][0], []).append(name)
        elif "Assign" in operation or operation.startswith("ResourceApply"):
            writes.setdefault(inputs[name][0], []).append(name)
    for name, operation in operations.items():
        if operation.endswith("PartitionedCall"):  # It reads what it is given.
            for variable in {*inputs[name]} & {*writes}:
                reads.setdefault(variable, []).append(name)

    # Each access has a bit; of a node, those of all accesses that it has to wait for. What a loop hands to its next
    # round is no order within a round.
    accesses = {name: 1 << place for place, name in enumerate({*sum([*reads.values(), *writes.values()], [])})}
    before = {}
    waits = {name: [one for one in ones if operations[one] != "NextIteration"] for name, ones in inputs.items()}
    for name in graphlib.TopologicalSorter(waits).static_order():
        before[name] = functools.reduce(operator.or_, (before[one] | accesses.get(one, 0) for one in waits[name]), 0)
    return [
        (read, write)
        for variable, names in writes.items()
        for write in names
        for read in reads.get(variable, ())
        if not (accesses[read] & before[write] or accesses[write] & before[read])
    ]
