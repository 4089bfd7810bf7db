"""What custom train steps share: one place that knows replicas, loss scale and random streams.

A train step reads

    batch = self.open_batch(images)
    latents = batch.normal("generator", (latent_dim,))
    terms = minimize(partial(self.generator_objective, latents), network.trainable_variables, optimizer, batch)
    return self.track(batch, **terms)

and gives the same weights on one replica and on many, in one run and in an interrupted one.
"""

import inspect
import zlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from zoo import random
from zoo.checks import check_examples, check_replicas, first_examples


class GlobalBatch:
    """This replica's rows of the batch that all replicas share, and the random numbers that belong to them.

    Draws are keyed by (seed, stream, update, training step) and made for the whole batch; each replica takes its
    own rows. They repeat after a resume and do not depend on how the batch is split.

    Args:
        num_rows: Rows on this replica: int or scalar tensor.
        seed: Seed of the model, int.
        step: Training steps taken so far: int64 scalar tensor.
    """

    def __init__(self, num_rows, seed, step):
        self.num_rows = num_rows
        self.seed = seed
        self.step = ops.cast(step, "int32")
        context = tf.distribute.get_replica_context()
        self.num_replicas = context.num_replicas_in_sync
        self.start, self.size = 0, num_rows
        if self.num_replicas > 1:
            replica = context.replica_id_in_sync_group
            # In float32, exact up to 2^24 rows: GPUs keep int32 in host memory, where their collectives do not reach.
            rows = tf.one_hot(replica, self.num_replicas) * tf.cast(num_rows, tf.float32)
            rows = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, rows), tf.int32)
            self.start = tf.reduce_sum(rows[:replica])
            self.size = tf.reduce_sum(rows)

    def normal(self, stream, shape, update=0):
        """Standard normal numbers for these rows.

        Args:
            stream: Name of what the numbers are for; two streams are independent.
            shape: Shape of one example's numbers.
            update: Number of the update within the step, int.

        Returns:
            float32 tensor (num_rows, *shape).
        """
        return self._rows(random.normal, stream, shape, update)

    def uniform(self, stream, shape=(), update=0):
        """Uniform numbers in (0, 1) for these rows; arguments and result as of `normal`."""
        return self._rows(random.uniform, stream, shape, update)

    def mean(self, values):
        """This replica's share of the mean over all rows: shares add up to the mean, as Keras adds up gradients.

        Args:
            values: One value per row, (num_rows,).

        Returns:
            float32 scalar.
        """
        return ops.sum(ops.cast(values, "float32")) / ops.cast(self.size, "float32")

    def _rows(self, draw, stream, shape, update):
        key = zlib.crc32(f"{self.seed}/{stream}/{update}".encode()) & 0x7FFFFFFF
        numbers = draw((self.size, *shape), seed=tf.stack([key, self.step]))
        return numbers if self.num_replicas == 1 else numbers[self.start : self.start + self.num_rows]


def minimize(objective, variables, optimizer, batch):
    """One update of `variables` that lowers the sum of the terms of `objective`.

    Args:
        objective: Function without arguments that returns {name: (rows,) tensor of weighted values}.
        variables: The variables to move; no others are watched.
        optimizer: Built Keras optimizer; scales the loss if it is a `LossScaleOptimizer`.
        batch: `GlobalBatch` over which the terms are averaged.

    Returns:
        The terms, as `objective` gave them.

    Raises:
        ValueError: If no term depends on `variables`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        terms = objective()
        loss = sum(batch.mean(values) for values in terms.values())
        loss = optimizer.scale_loss(loss)
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    if all(gradient is None for gradient in gradients):
        raise ValueError(
            f"None of the terms {sorted(terms)} depends on the {len(variables)} variables that they should train. "
            "Check that the network passed in is connected from its input to its output."
        )
    optimizer.apply(gradients, variables)
    return terms


def update_each(function, variables, *sources):
    """Sets each variable to `function(variable, source, ...)`, on every replica alike.

    Args:
        function: Function of a variable's value and the values of its sources.
        variables: List of Keras variables.
        *sources: Lists of Keras variables, as long as `variables`.
    """

    def update(strategy):
        for variable, *values in zip(variables, *sources, strict=True):
            values = [tf.convert_to_tensor(value.value) for value in values]
            strategy.extended.update(
                variable.value, lambda target, *given: target.assign(function(target, *given)), args=values
            )

    tf.distribute.get_replica_context().merge_call(update)


def update_average(average, network, decay, step):
    """Moves the weights of `average` towards those of `network`: w <- d w + (1 - d) v, d = min(decay, (1+t)/(10+t)).

    The growing d keeps the untrained start out of the average. Non-trainable state (batch statistics) is copied.

    Args:
        average: Network of the same architecture that holds the average.
        network: The network in training.
        decay: Limit of d, in [0, 1).
        step: Training steps taken so far.
    """
    step = ops.cast(step, "float32")
    decay = ops.minimum(decay, (1.0 + step) / (10.0 + step))
    pairs = list(zip(average.variables, network.variables, strict=True))
    trained = [(old, new) for old, new in pairs if new.trainable]
    state = [(old, new) for old, new in pairs if not new.trainable]
    update_each(lambda old, new: new + decay * (old - new), *zip(*trained, strict=True))
    if state:
        update_each(lambda old, new: new, *zip(*state, strict=True))


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a message as soon as a loss, or at the end of an epoch a weight, is NaN or infinite.

    Losses are running means, so that one bad step stays visible; they are read every ten steps.
    `TrainStepModel.fit` puts it before all other callbacks, so no checkpoint is written of a broken model.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Begins to count."""
        self.tens = -1

    def on_train_batch_end(self, batch, logs=None):
        """Reads the losses of every tenth step, also where one execution takes many."""
        if batch // 10 > self.tens:
            self.tens = batch // 10
            self._check_losses(logs, f"step {batch + 1} of the epoch")

    def on_epoch_end(self, epoch, logs=None):
        """Reads the losses of the epoch, and all weights."""
        self._check_losses(logs, f"epoch {epoch + 1}")
        for variable in self.model.trainable_variables:
            if not np.isfinite(ops.convert_to_numpy(variable)).all():
                self._stop(f"the weight `{variable.path}` is not finite after epoch {epoch + 1}")

    def _check_losses(self, logs, when):
        bad = {name: float(value) for name, value in (logs or {}).items() if not np.isfinite(np.sum(value))}
        if bad:
            self._stop(f"{', '.join(f'{name} = {value}' for name, value in bad.items())} at {when}")

    def _stop(self, what):
        raise FloatingPointError(
            f"Training stopped: {what}. The last checkpoint was written before and is kept. Look for NaN or "
            "unscaled values in the data, or lower the learning rate."
        )


class TrainStepModel(keras.Model):
    """Base of models with a train step of their own.

    It gives a subclass a running `Mean` for each name in its `terms`, optimizers that are saved and restored, a
    configuration made of its constructor's arguments, and input checks. A subclass keeps every constructor
    argument as an attribute of the same name, names its optimizers in `optimizer_networks`, and defines
    `train_step`, `signatures` and `call`.
    """

    terms = ()
    optimizer_networks = {}

    def __init__(self, *, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self.trackers = [keras.metrics.Mean(name=name) for name in self.terms]
        self.built = True

    @property
    def steps_taken(self):
        """Training steps taken so far, as a Python number."""
        return whole_number(self.step)

    @property
    def metrics(self):
        """The running means of the loss terms, reset at each epoch."""
        return list(self.trackers)

    def open_batch(self, examples):
        """The `GlobalBatch` that `examples`, (rows, ...), are this replica's part of."""
        return GlobalBatch(examples.shape[0] or tf.shape(examples)[0], self.seed, self.step.value)

    def track(self, batch, **terms):
        """Counts the step, adds each term's mean to its tracker, and returns the results to be logged.

        Args:
            batch: `GlobalBatch` of the step.
            **terms: Values (rows,) of each name in `self.terms` that this step computed.

        Returns:
            {name: running mean over the epoch}.
        """
        self.step.assign_add(1)
        for tracker in self.trackers:
            if tracker.name in terms:
                tracker.update_state(ops.cast(terms[tracker.name], "float32"))
        # Keras reduces the logs of several workers along an axis, which scalars lack.
        shape = (1,) if _many_workers() else ()
        return {tracker.name: ops.reshape(tracker.result(), shape) for tracker in self.trackers}

    def compile_optimizers(self, optimizers, run_eagerly=False, steps_per_execution=1, jit_compile="auto"):
        """Compiles with one optimizer for each entry of `optimizer_networks`, built and kept as attributes.

        Args:
            optimizers: {attribute name: optimizer, its name or its configuration}.
            run_eagerly: As in `keras.Model.compile`.
            steps_per_execution: As in `keras.Model.compile`.
            jit_compile: As in `keras.Model.compile`.
        """
        super().compile(
            optimizer=None,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        self._execution = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        for name, attribute in self.optimizer_networks.items():
            network = getattr(self, attribute)
            optimizer = keras.optimizers.get(optimizers[name])
            if network.compute_dtype == "float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(network.trainable_variables)
            setattr(self, name, optimizer)

    def get_compile_config(self):
        """What `compile` was given, serialised."""
        if not self.compiled:
            return {}
        optimizers = {name: getattr(self, name) for name in self.optimizer_networks}
        return {**keras.saving.serialize_keras_object(optimizers), **self._execution}

    def compile_from_config(self, config):
        """Compiles with the optimizers of `get_compile_config`, so that their slots can be restored."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self):
        """The constructor's arguments, networks included, serialised."""
        names = inspect.signature(type(self)).parameters
        config = {name: getattr(self, name) for name in names if name != "kwargs"}
        return {**keras.saving.serialize_keras_object(config), "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model of a `get_config`."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing is left to build; Keras would draw a batch here, and fail on uneven ones and on several workers."""

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        """`keras.Model.fit`, after a look at the examples, and stopped by `StopOnNonFinite`.

        Args:
            x: Array, tensor or `tf.data.Dataset` of examples as `example_shape` says.
            *args: As in `keras.Model.fit`.
            callbacks: As in `keras.Model.fit`.
            **kwargs: As in `keras.Model.fit`.

        Returns:
            `keras.callbacks.History`.

        Raises:
            ValueError: If the examples come with targets, have another shape than the networks, are not finite, are
                images outside [-1, 1], or if a batch is smaller than the number of replicas.
            FloatingPointError: If a loss or a weight becomes NaN or infinite.
        """
        targets = kwargs.get("y", args[0] if args else None)
        examples = first_examples(x if targets is None else (x, targets))
        if examples is not None and self.compiled:
            check_examples(examples, self.example_shape)
            batch_size = kwargs.get("batch_size", args[1] if len(args) > 1 else None) or 32
            rows = min(len(examples), batch_size) if hasattr(x, "shape") else len(examples)
            check_replicas(rows, self.distribute_strategy.num_replicas_in_sync)
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        return super().fit(x, *args, callbacks=[StopOnNonFinite(), *callbacks], **kwargs)

    def export(self, filepath):
        """Writes `signatures()` as a SavedModel for TF Serving.

        Args:
            filepath: Folder to make; for TF Serving it ends in a version number, as `exports/wgan_gp/1`.

        Raises:
            FileExistsError: If `filepath` exists.
        """
        from zoo.serving import saved_model

        saved_model.write(self.signatures(), filepath, track=[self])


def whole_number(variable):
    """The value of a scalar Keras variable, on one replica or many, as a Python number."""
    return int(tf.convert_to_tensor(variable.value))


def _many_workers():
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return sum(len(tasks) for tasks in strategy.cluster_resolver.cluster_spec().as_dict().values()) > 1
