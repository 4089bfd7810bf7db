"""The train function that `fit` calls: steps on every replica of every worker, and what they agree on afterwards.

Keras 3.15 has one of its own, which fails with several workers, and with XLA or several steps per execution on
several replicas. Here the step runs in `Strategy.run` inside one `tf.function`, which is all that
`tf.distribute` asks for; XLA compiles the whole step on one replica, and the gradients within it on several
(`zoo.training.updates`), where updates meet and cannot be part of a cluster.
"""

import math

import keras
import tensorflow as tf

from zoo.training.optimizers import trainable_variables
from zoo.training.workers import num_workers


class TrainFunction:
    """Takes `steps_per_execution` steps of an iterator and returns the running mean of each loss term.

    Args:
        model: `TrainStepModel`.
        step: Function of one replica's data.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> step = TrainFunction(model, model.train_step)
        >>> batches = iter(tf.data.Dataset.from_tensors(tf.eye(2)))
        >>> "loss" in step(batches), model.steps_taken
        (True, 1)
    """

    def __init__(self, model, step):
        self.model = model
        self.strategy = model.distribute_strategy
        self.many_workers = num_workers(self.strategy) > 1

        def step_on(data):
            # Where the data have ended, nothing of a step must happen, not even its count.
            with tf.control_dependencies([part for part in tf.nest.flatten(data) if part is not None]):
                return step(model.examples_of(data))

        self.step = step_on
        if model.jit_compile and not model.run_eagerly and self.strategy.num_replicas_in_sync == 1:
            self.step = tf.function(step_on, jit_compile=True, reduce_retracing=True, autograph=False)
        self._on_data, self._on_iterator = self._steps_on_data, self._steps_on_iterator
        if not model.run_eagerly:
            self._on_data = tf.function(self._on_data, reduce_retracing=True, autograph=False)
            self._on_iterator = tf.function(self._on_iterator, reduce_retracing=True, autograph=False)

    def __call__(self, iterator):
        """Takes the steps.

        Args:
            iterator: Iterator of a data set, distributed or not, or of batches.

        Returns:
            What `figures` of the model makes of the sums over all replicas of all workers since the epoch began.
        """
        model = self.model
        steps = max(1, min(model.steps_per_execution, model.steps_left))
        wish = tf.constant([float(model.stop_requested), float(model.interrupted)])
        if isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            for count in self._loops(steps):
                wishes, logs = self._on_iterator(iterator, tf.constant(count), wish)
        else:
            for data, _ in zip(iterator, range(steps), strict=False):
                wishes, logs = self._on_data(data, wish)
        model.steps_left -= steps
        # Only with several workers is there anyone to ask; the answer waits for the device. A wish that came during
        # the step is in the next message.
        stop, interrupted = (wishes.numpy() > 0) if self.many_workers else (model.stop_requested, model.interrupted)
        if stop:
            model.stop_requested = model.stop_training = True
            model.interrupted = model.interrupted or bool(interrupted)
        return logs

    def _loops(self, steps):
        """The steps of each of the loops that make up an execution.

        On several replicas the last step of an epoch, whose batch may be smaller, has one to itself, and where no one
        knows which is the last, each. Within a loop of TensorFlow 2.21, all messages of one place must have one shape,
        and points that all replicas gather have that of the batch.
        """
        left = self.model.steps_left
        if steps == 1 or self.strategy.num_replicas_in_sync == 1:
            return [steps]
        if left == math.inf:
            return [1] * steps
        return [steps - 1, 1] if steps == left else [steps]

    def _steps_on_iterator(self, iterator, steps, wish):
        if self.model.steps_per_execution == 1 or self.model.run_eagerly:
            for _ in range(1 if self.model.steps_per_execution == 1 else int(steps)):
                self.strategy.run(self.step, args=(next(iterator),))
        else:

            def body(index):
                self.strategy.run(self.step, args=(next(iterator),))
                return [index + 1]

            tf.while_loop(lambda index: index < steps, body, [0], parallel_iterations=1)
        return self._results(wish)

    def _steps_on_data(self, data, wish):
        self.strategy.run(self.step, args=(data,))
        return self._results(wish)

    def _results(self, wish):
        """Stop wishes and running figures, summed over all replicas in one message."""

        def of_replica(wish):
            sums = self.model.sums()
            return tf.concat([tf.cast(wish, sums.dtype), sums], 0)

        summed = self.strategy.reduce("SUM", self.strategy.run(of_replica, args=(wish,)), axis=None)
        return summed[:2], self.model.figures(summed[2:])


class TestFunction(TrainFunction):
    """Takes `steps_per_execution` steps of an iterator, or what is left of it, none of which moves the model."""

    def __call__(self, iterator):
        """As of `TrainFunction`, without a word to other workers."""
        logs, no_wish = None, tf.zeros(2)
        is_graphs = isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator))
        for _ in range(self.model.steps_per_execution):
            try:
                if is_graphs:
                    _, logs = self._on_iterator(iterator, tf.constant(1), no_wish)
                else:
                    _, logs = self._on_data(next(iterator), no_wish)
            except (StopIteration, tf.errors.OutOfRangeError):
                if logs is None:
                    raise
                break
        return logs


class EpochSteps(keras.callbacks.Callback):
    """Tells the train function how many steps an epoch has, since its last execution may have to be shorter.

    It also ends training as Keras does for one optimizer: those with `use_ema` leave their averages as the weights.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """All of the epoch's steps are left, if their number is known."""
        self.model.steps_left = self.params.get("steps") or math.inf

    def on_train_end(self, logs=None):
        """What follows is no epoch."""
        self.model.steps_left = math.inf
        if len(self.model.optimizers) > 1:
            for name, optimizer in zip(self.model.optimizer_networks, self.model.optimizers, strict=True):
                networks = tuple(self.model.networks_of(name).values())
                optimizer.finalize_variable_values(trainable_variables(networks))
