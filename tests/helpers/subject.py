"""A model of the table that is built, compiled and traced once, and begins anew for each test."""

import functools

import keras
import tensorflow as tf

from tests.helpers.graphs import executed_graphs
from tests.helpers.rows import ROWS, UNEVEN, compile_sgd, fit, weights
from tests.helpers.seeds import seed


class Subject:
    """A row's model as one way of execution runs it.

    To trace a step takes longer than the few steps of a test, and weights, slots, learning rates, the step's number and
    running means are variables: so tests of one way of execution share what was traced, each from the start.

    Args:
        name: Of the row.
        strategy: `tf.distribute.Strategy`; None for one replica.
        rate: Of Adam, for every optimizer; None for SGD at the row's rate, which shows a gradient of the wrong size.
        sizes: (number of examples, batch size) of the first training.
        **execution: Options of `compile`.

    Attributes:
        model: As what came last has left it.
        first: Weights before and after the first training, two epochs of, by default, batches of 7, 7 and 6; its logs,
            and the graphs that were executed. Where the last batch is smaller, its trace takes batches of any size.
    """

    def __init__(self, name, strategy=None, rate=None, sizes=UNEVEN, **execution):
        # Whatever was built before: from some starts, plain SGD runs away.
        seed()
        self.row = ROWS[name]
        with (strategy or tf.distribute.get_strategy()).scope():
            self.model = self.row.build()
            if rate is None:
                compile_sgd(self.model, self.row.learning_rate, **execution)
            else:
                self.model.compile(*(keras.optimizers.Adam(rate) for _ in self.row.trains), **execution)
        start = weights(self.model)
        self._start = [(variable, keras.ops.convert_to_numpy(variable)) for variable in self._variables()]
        with executed_graphs() as graphs:
            self.first = start, *self.trained(sizes), graphs

    def trained(self, sizes):
        """Weights after two epochs of some examples in batches, from where the model is, and logs."""
        count, batch_size = sizes
        logs = fit(self.model, self.row.examples(count), batch_size=batch_size).history
        return weights(self.model), logs

    def _variables(self):
        """All that a step reads and writes, beside its examples."""
        slots = [variable for optimizer in self.model.optimizers for variable in optimizer.variables]
        return [*self.model.variables, *slots, *self.model.metrics_variables]

    def anew(self, rates=None):
        """The model as it was made.

        Args:
            rates: Learning rates by the names of the optimizers, or one for all; None for those of the beginning.
        """
        for variable, value in self._start:
            variable.assign(value)
        if rates is not None:
            rates = rates if isinstance(rates, dict) else dict.fromkeys(self.row.trains, rates)
            for optimizer, rate in rates.items():
                getattr(self.model, optimizer).learning_rate = rate
        return self.model


# Tests of one way of execution take batches of one size, since XLA compiles transport for each.
BATCH = UNEVEN[1]
# Of a training by Adam of one step an epoch, which is repeated often: its rate, number of examples and batch size.
RATE, WHOLE = 0.003, (64, 64)


def subject(name, rate=None):
    """The one of this process on one replica; tests come row by row, so that those of earlier rows may go.

    Without `rate`, for batches of any size; with it, for all of `WHOLE`.
    """
    return _subject(name, rate)


@functools.lru_cache(maxsize=2)
def _subject(name, rate):  # Arguments given by name would be others to the cache.
    return Subject(name, rate=rate, sizes=UNEVEN if rate is None else WHOLE)


def exported(name):
    """A row's model as it is when it is published: after one epoch."""
    model = subject(name).anew()
    fit(model, ROWS[name].examples(BATCH), 1, BATCH)
    return model
