"""The base of models with a train step of their own."""

import inspect
import math
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import check_choice, check_positive, check_whole
from zoo.training.batch import GlobalBatch
from zoo.training.examples import NO_HELD_OUT_LOSS, check_fit, only_examples, with_steps
from zoo.training.guard import StopOnNonFinite
from zoo.training.inputs import examples_in, is_symbolic, rows_of
from zoo.training.loop import EpochSteps, TestFunction, TrainFunction
from zoo.training.monitors import settle_monitors
from zoo.training.optimizers import NamedOptimizers, check_not_synchronised, named_optimizers, ready
from zoo.training.sharing import check_apart, check_restorable
from zoo.training.workers import lost_workers_named, num_workers


class TrainStepModel(keras.Model):
    """Base of models with a train step of their own.

    It gives a subclass a running `Mean` for each name in its `terms`, optimizers that are saved and restored, a
    configuration made of its constructor's arguments, and input checks. A subclass keeps every constructor
    argument as an attribute of the same name, says in `optimizer_networks` which optimizer moves which network, or
    tuple of networks, and defines `example_shape`, `default_optimizer`, `train_step`, `signatures` and `call`. Where
    its terms depend on its arguments, it passes them to this constructor; `smallest_batch` is the fewest examples that
    it can learn from, `gauges` what its steps tell of themselves beside the terms, logged as its mean over the epoch,
    `counted` what its `figures` add to both, `higher_is_better` which of all these rise as the model learns, and
    `remedy` what to try where training has broken. Where one optimizer moves all, `fit` lowers the sum of the
    `objective_terms`, and logs it as `loss`. One with a loss that means something on held-out examples has a
    `test_step`, which ends in `observe`.

    Example:
        >>> class Copier(TrainStepModel):
        ...     terms = ("squared_error",)
        ...     optimizer_networks = {"optimizer": "network"}
        ...     example_shape = (2,)
        ...     def __init__(self, network, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.network = network
        ...     def default_optimizer(self):
        ...         return keras.optimizers.Adam(1e-3)
        ...     def call(self, x, training=False):
        ...         return self.network(x)
        ...     def objective(self, x):
        ...         return {"squared_error": tf.reduce_sum((self.network(x) - x) ** 2, axis=1)}
        ...     def train_step(self, x):
        ...         batch = self.open_batch(x)
        ...         terms = zoo.training.minimize(self.objective, (x,), self.network, self.optimizer, batch)
        ...         return self.track(batch, **terms)
        >>> model = Copier(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
        >>> model.compile()
        >>> history = model.fit(np.eye(2), verbose=0)
        >>> sorted(history.history), model.steps_taken
        (['loss', 'squared_error'], 1)
    """

    terms = ()
    gauges = ()
    counted = ()
    higher_is_better = ()
    optimizer_networks = {}
    smallest_batch = 1
    remedy = "Look for NaN or unscaled values in the data, or lower the learning rate."

    def __init__(self, *, seed=0, terms=None, **kwargs):
        unknown = sorted({*kwargs} - {"name", "dtype", "trainable"})
        if unknown:
            own = ", ".join(name for name in inspect.signature(type(self)).parameters if name != "kwargs")
            raise TypeError(f"{type(self).__name__} takes {own}. Received: {', '.join(unknown)}.")
        super().__init__(**kwargs)
        check_whole("seed", seed, low=0)
        self.seed = seed
        self.terms = tuple(terms or type(self).terms)
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self.trackers = [keras.metrics.Mean(name=name) for name in (*self.terms, *self.gauges)]
        self.stop_requested = self.interrupted = False
        self.steps_left = math.inf
        self.built = True

    @property
    def has_held_out_loss(self):
        """Whether `evaluate` and `validation_data` mean something: a subclass with a `test_step` says so."""
        return type(self).test_step is not TrainStepModel.test_step

    @property
    def better(self):
        """Which way each name in the logs is better, {name: "min" or "max"}."""
        names = (*(["loss"] if self.objective_terms else []), *self.terms, *self.gauges, *self.counted)
        return {name: "max" if name in self.higher_is_better else "min" for name in names}

    @property
    def steps_taken(self):
        """Training steps taken so far, as a Python number."""
        return whole_number(self.step)

    @property
    def metrics(self):
        """The running means of the loss terms and gauges, reset at each epoch."""
        return list(self.trackers)

    @property
    def objective_terms(self):
        """The terms whose sum is the objective; none where several players have one each."""
        if len(self.optimizer_networks) > 1:
            return ()
        return tuple(term for term in self.terms if term not in self.higher_is_better)

    @property
    def optimizers(self):
        """The optimizers, in the order of `optimizer_networks`."""
        return [getattr(self, name) for name in self.optimizer_networks]

    def networks_of(self, optimizer):
        """{attribute: network} that the optimizer of a name moves."""
        attributes = self.optimizer_networks[optimizer]
        attributes = (attributes,) if isinstance(attributes, str) else attributes
        return {attribute: getattr(self, attribute) for attribute in attributes}

    def open_batch(self, examples):
        """The `GlobalBatch` that `examples`, (rows, ...), are this replica's part of."""
        return GlobalBatch(
            examples.shape[0] or tf.shape(examples)[0],
            self.seed,
            self.step.value,
            micro_batches=self.gradient_accumulation_steps,
            compile_gradients=self.jit_compile and self.distribute_strategy.num_replicas_in_sync > 1,
        )

    def track(self, batch, weights=None, **terms):
        """Counts the step, and adds each term's mean to its tracker.

        Args:
            batch: `GlobalBatch` of the step.
            weights: As of `observe`.
            **terms: What `minimize` returned of each name in `self.terms` and `self.gauges` that this step computed.

        Returns:
            {name: running mean over the epoch, on this replica}.
        """
        self.step.assign_add(1)
        return self.observe(batch, weights, **terms)

    def observe(self, batch, weights=None, **terms):
        """Adds each term's mean to its tracker, as a `test_step` does; result as of `track`.

        Args:
            batch: `GlobalBatch` of the step.
            weights: {name: number of what a term is the mean of, on this replica}, such as tokens; None for rows.
            **terms: The mean over this replica's rows, or the values of the rows, of which there may be none.
        """
        rows = tf.cast(batch.num_rows, tf.float32)
        for tracker in self.trackers:
            if tracker.name in terms:
                value = tf.convert_to_tensor(terms[tracker.name])
                mean = tf.math.divide_no_nan(tf.reduce_sum(value), rows) if value.shape.rank else value
                tracker.update_state(mean, sample_weight=(weights or {}).get(tracker.name, rows))
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def sums(self):
        """What this replica has added up since the epoch began, in one vector: of each tracker total and weight."""
        return tf.stack([part.value for tracker in self.trackers for part in (tracker.total, tracker.count)])

    def figures(self, sums):
        """What is logged, {name: scalar}, made of the `sums` of all replicas: the mean of each term, and `loss`."""
        means = tf.math.divide_no_nan(sums[::2], sums[1::2])
        means = {tracker.name: means[index] for index, tracker in enumerate(self.trackers)}
        objective = [means[term] for term in self.objective_terms]
        return {"loss": tf.add_n(objective), **means} if objective else means

    def _flatten_metrics_in_order(self, logs):
        """What `evaluate` returns if no dict is asked for: as Keras, without `loss`, which is the sum of others."""
        return super()._flatten_metrics_in_order({name: value for name, value in logs.items() if name != "loss"})

    def compile(
        self,
        *optimizers,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile=False,
        gradient_accumulation_steps=1,
        **named,
    ):
        """Sets one optimizer for each entry of `optimizer_networks`, and how a step is executed.

        Args:
            *optimizers: Keras optimizers or their names, in the order of `optimizer_networks`; for those that are
                left out, or None, the paper's (`default_optimizer`).
            run_eagerly: As in `keras.Model.compile`.
            steps_per_execution: Steps between two looks of the callbacks, at least 1.
            jit_compile: Whether XLA compiles the step; on several replicas, the gradients within it. "auto" does so
                where there is a GPU.
            gradient_accumulation_steps: Parts in which each gradient is computed, one after the other, at least 1.
                The update is the same, in less memory.
            **named: The same by their names in `optimizer_networks`, such as `generator_optimizer`.

        Raises:
            ValueError: If an option is unknown or out of range, an optimizer accumulates gradients itself or is given
                to two networks, networks of two optimizers share a weight, or a network whose batch normalisation
                is synchronised over replicas is to be compiled or to accumulate.

        Example:
            model.compile()
            model.compile("adam", generator_optimizer=keras.optimizers.Adam(1e-4), jit_compile=True)
        """
        names = list(self.optimizer_networks)
        optimizers = named_optimizers(names, optimizers, named, self.default_optimizer)
        check_apart({name: self.networks_of(name) for name in names})
        check_positive("steps_per_execution", steps_per_execution)
        check_positive("gradient_accumulation_steps", gradient_accumulation_steps)
        check_choice("jit_compile", jit_compile, (True, False, "auto"))
        self._execution = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "gradient_accumulation_steps": gradient_accumulation_steps,
        }
        self.gradient_accumulation_steps = gradient_accumulation_steps
        super().compile(
            optimizer=None,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        for name in self.optimizer_networks:
            networks = self.networks_of(name)
            if self.distribute_strategy.num_replicas_in_sync > 1 and (
                self.jit_compile or gradient_accumulation_steps > 1
            ):
                for attribute, network in networks.items():
                    check_not_synchronised(attribute, network)
            setattr(self, name, ready(name, optimizers[name], tuple(networks.values())))
        if len(names) > 1:
            self.optimizer = NamedOptimizers(dict(zip(names, self.optimizers, strict=True)), self.step)

    def make_train_function(self, force=False):
        """The function that `fit` calls, made once for each `compile`."""
        if self.train_function is None or force:
            self.train_function = TrainFunction(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        """The function that `evaluate` calls, made once for each `compile`."""
        if self.test_function is None or force:
            self.test_function = TestFunction(self, self.test_step)
        return self.test_function

    def request_stop(self, interrupted=False):
        """Ends `fit` after a step that all workers agree on: this one, or with several workers the next.

        Callbacks that decide by the clock or by a signal call it; `stop_training` is for decisions that every worker
        takes alike, such as by the logs.

        Args:
            interrupted: Whether training is to go on later; then `interrupted` becomes true on all workers.
        """
        self.stop_requested = True
        self.interrupted = self.interrupted or interrupted
        if num_workers(self.distribute_strategy) == 1:
            self.stop_training = True

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

    def examples_of(self, data):
        """What `train_step` takes, from what `fit` hands over: the examples alone."""
        return only_examples(data)

    def check_fit(self, given):
        """Checks what `fit` or `evaluate` is given, {argument: value}, before the first step.

        Of `validation_data`, "x" is that, and "trained_on" has all arguments of `fit`.

        Returns:
            The examples that were looked at, an array; None where a look would use up what `x` yields.
        """
        return check_fit(
            given,
            self.example_shape,
            self.distribute_strategy.num_replicas_in_sync,
            self.examples_of,
            smallest_batch=self.smallest_batch,
            has_held_out_loss=self.has_held_out_loss,
        )

    def fit(self, *args, **kwargs):
        """`keras.Model.fit`, after a look at the examples, and stopped by `StopOnNonFinite`.

        Args:
            *args: As in `keras.Model.fit`; first `x`, an array, tensor or `tf.data.Dataset` of examples. An epoch of
                `source.batches(64)` of `zoo.data`, which have no end, is one pass, unless `steps_per_epoch` is given.
            **kwargs: As in `keras.Model.fit`. Callbacks of learning rates change those of all optimizers.

        Returns:
            `keras.callbacks.History`.

        Raises:
            ValueError: If the examples come with targets, have another shape than the networks, are not finite, are
                images outside [-1, 1], or if a batch is smaller than the number of replicas; if data without end come
                without a number of steps; or if a callback watches what is never logged.
            FloatingPointError: If a loss or a weight becomes NaN or infinite.
            ConnectionError: If another worker is gone.
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        if self.compiled:
            self.check_fit(given)
            if given.get("validation_data") is not None:
                self.check_fit({"x": given["validation_data"], "trained_on": given})
        given = with_steps(given, {"x": "steps_per_epoch", "validation_data": "validation_steps"})
        if hasattr(given.get("x"), "element_spec") or hasattr(given.get("x"), "__next__"):
            # They have an order of their own; Keras warns of its own default.
            given.setdefault("shuffle", False)
        callbacks = given.pop("callbacks", None) or []
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        settle_monitors(self, callbacks)
        # A wish that came before `fit` counts; what interrupted an earlier one does not.
        self.interrupted = self.interrupted and self.stop_requested
        try:
            with lost_workers_named(self.distribute_strategy):
                return super().fit(**given, callbacks=[StopOnNonFinite(), EpochSteps(), *callbacks])
        finally:
            self.stop_requested = False

    def evaluate(self, *args, **kwargs):
        """`keras.Model.evaluate`, after a look at the examples.

        Args:
            *args: As in `keras.Model.evaluate`; first `x`, an array, tensor or `tf.data.Dataset` of examples. Of
                `source.batches(64)` of `zoo.data`, which have no end, it takes one pass, unless `steps` is given.
            **kwargs: As in `keras.Model.evaluate`.

        Returns:
            The mean of each term over the examples, as `keras.Model.evaluate` has it; with `return_dict=True` also
            `loss`, their sum, where the model has one objective.

        Raises:
            ValueError: If the model has no loss on held-out data, or the examples are not what `fit` takes.
        """
        given = inspect.signature(super().evaluate).bind(*args, **kwargs).arguments
        of_fit = given.pop("kwargs", {})
        if not self.has_held_out_loss:
            self.test_step(None)
        # Within `fit`, what is to be evaluated was looked at.
        if self.compiled and not of_fit:
            self.check_fit({name: given.get(name) for name in ("x", "y", "batch_size", "sample_weight")})
        return super().evaluate(**with_steps(given, {"x": "steps"}), **of_fit)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """`keras.Model.train_on_batch`, after the look at the examples that `fit` takes."""
        if self.compiled:
            self.check_fit({"x": x, "y": y, "sample_weight": sample_weight, "class_weight": class_weight})
        return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """`keras.Model.test_on_batch`, after the look at the examples that `evaluate` takes."""
        if not self.has_held_out_loss:
            self.test_step(None)
        if self.compiled:
            self.check_fit({"x": x, "y": y, "sample_weight": sample_weight})
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def check_inputs(self, what, x):
        """Checks what the model itself maps, as `predict` is given it.

        Args:
            what: Name of the method.
            x: Array.

        Returns:
            `x` as an array.

        Raises:
            ValueError: If it has another shape or type, is not finite, or out of range.
        """
        return rows_of(what, x, self.example_shape)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`, after a look at what it is given.

        Args:
            x: What `call` maps: an array or `tf.data.Dataset`. Of batches of `zoo.data`, which have no end, it takes
                one pass, unless `steps` is given.
            *args: As in `keras.Model.predict`.
            **kwargs: As in `keras.Model.predict`.

        Raises:
            ValueError: If it is something else.
        """
        x = examples_in("predict", x, partial(self.check_inputs, "predict"))
        given = inspect.signature(super().predict).bind(x, *args, **kwargs).arguments
        return super().predict(**with_steps(given, {"x": "steps"}))

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`, after the look of `predict`."""
        return super().predict_on_batch(self.check_inputs("predict_on_batch", x))

    def __call__(self, x, *args, **kwargs):
        """What `call` makes of tensors; numbers that can be looked at are, as by `predict`."""
        if not is_symbolic(x):
            self.check_inputs(type(self).__name__, x)
        return super().__call__(x, *args, **kwargs)

    def test_step(self, examples):
        """Refused, if a subclass has none: `fit` lowers no loss that means something on held-out data."""
        raise ValueError(f"{type(self).__name__} has {NO_HELD_OUT_LOSS}")

    def in_batches(self, what, function, rows, shape, batch_size, *others):
        """What a function of tensors makes of many rows, some at a time, as an array or a dict of them.

        Args:
            what: Name of the method, and what tells its functions apart, under which one is compiled once.
            function: Function of (batch, *shape) that returns (batch, ...).
            rows: Array (n, *shape).
            shape: Expected shape of one row; None for a size that is open.
            batch_size: Rows at a time.
            others: Further arguments of the function, with as many rows.

        Raises:
            ValueError: If the rows are not what `rows_of` takes, or `batch_size` is no whole number of 1 or more.
        """
        rows = rows_of(what.split()[0], rows, shape)
        check_positive("batch_size", batch_size)
        compiled = self.compiled_once(what, function)
        parts = [
            compiled(*(tf.convert_to_tensor(one[start : start + batch_size]) for one in (rows, *others)))
            for start in range(0, len(rows), batch_size)
        ]
        return tf.nest.map_structure(lambda *part: np.concatenate(part).astype("float32"), *parts)

    def compiled_once(self, name, function):
        """A function of tensors (rows, ...) as a graph, the same one at each call with this name."""
        compiled = self.__dict__.setdefault("_compiled", {})
        return compiled.setdefault(name, _of_any_rows(tf.function(function, reduce_retracing=True, autograph=False)))

    def save(self, filepath, overwrite=True, **kwargs):
        """`keras.Model.save`, in the format that keeps the slots of several optimizers."""
        if not str(filepath).endswith(".keras"):
            raise ValueError(f"A model is saved in a file that ends in .keras. Received: {filepath}.")
        networks = [self.networks_of(name) for name in self.optimizer_networks]
        check_restorable({attribute: network for part in networks for attribute, network in part.items()})
        super().save(filepath, overwrite=overwrite, **kwargs)

    def export(self, filepath, format="tf_saved_model", *, signature="serving_default"):
        """Writes `signatures()` as a SavedModel for TF Serving, or one of them for another runtime.

        Args:
            filepath: Folder to make; for TF Serving it ends in a version number, as `exports/wgan_gp/1`. For another
                format a file to make.
            format: "tf_saved_model"; or by Keras's exporters "litert", a file that ends in .tflite, "onnx" in .onnx, or
                "openvino" in .xml. These have not all of TensorFlow's operations, such as those of texts, files of
                images and seeds; LiteRT may need its delegate for operations of TensorFlow (Flex). docs/serving.md has
                a table of what runs where. The file appears only if it gives what the model does, which a warning says
                was not tried where the runtime is not installed. In ONNX and OpenVINO an output `x` beside an input of
                that name is called `output_x`, since both share one list of names.
            signature: Name of the signature to write in such a format.

        Raises:
            FileExistsError: If `filepath` exists.
            ImportError: If a format needs a package that is not installed.
            ValueError: If the format is unknown, or cannot hold the signature.

        Example:
            model.export("exports/wgan_gp/1")
            model.export("wgan_gp.tflite", format="litert")
        """
        from zoo.serving.publishing import converting, saved_model

        converting.check_format(format)
        given = {"track": [self], "warmup": self.warmup() if hasattr(self, "warmup") else ()}
        if format == "tf_saved_model":
            saved_model.write(self.signatures(), filepath, **given)
        else:
            converting.convert(self.signatures(), filepath, format=format, signature=signature, **given)


def _of_any_rows(function):
    """Traces for any number of rows at once, instead of first for one number and then, as a last batch has less, again.

    Args:
        function: `tf.function` of tensors (rows, ...).
    """

    def call(*inputs):
        specs = [tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in inputs]
        return function.get_concrete_function(*specs)(*inputs)

    return call


def whole_number(variable):
    """The value of a scalar Keras variable, on one replica or many, as a Python number.

    Example:
        >>> whole_number(keras.Variable(3, dtype="int64"))
        3
    """
    return int(tf.convert_to_tensor(variable.value))
