"""What `compile` is given: an optimizer for each network, checked and ready; and all of them as callbacks see them."""

from functools import partial

import keras
import tensorflow as tf


def named_optimizers(names, ordered, named, default):
    """The optimizer of each name.

    Args:
        names: Names of the optimizers of a model, in order.
        ordered: Optimizers or their names, in that order; as many or fewer; None for the default.
        named: {name: optimizer or its name}.
        default: Function that makes the one for names that are not given.

    Returns:
        {name: `keras.optimizers.Optimizer`}.

    Raises:
        ValueError: If a name is unknown or given twice, or something is no optimizer or given to two networks.
    """
    twice = {*named} & {*names[: len(ordered)]}
    if twice or {*named} - {*names} or len(ordered) > len(names):
        raise ValueError(
            f"`compile` takes one optimizer each for {', '.join(names)}, and how a step is executed; losses and "
            f"metrics are part of the model. Received: {len(ordered)} optimizers by position, and by name "
            f"{', '.join(named) or 'none'}."
        )
    given = {**dict.fromkeys(names), **dict(zip(names, ordered, strict=False)), **named}
    chosen = {name: default() if one is None else _optimizer(name, one) for name, one in given.items()}
    if len({id(one) for one in chosen.values()}) < len(chosen):
        raise ValueError(
            "Each network needs an optimizer of its own, since an optimizer keeps slots for the weights that it moves. "
            f"Received: one object for two of {', '.join(names)}. Make one for each."
        )
    return chosen


class NamedOptimizers:
    """What Keras's callbacks find as `optimizer` of a model with several: each in `optimizers`, by its name.

    Callbacks of learning rates change each of them, from its own value, and log `learning_rate_<name>`. As Keras's
    `MultiOptimizer`, it has no learning rate itself. It is no optimizer, and not saved: its parts are.

    Args:
        optimizers: {name: `keras.optimizers.Optimizer`}, built.
        iterations: Variable that counts the training steps.
    """

    built = True

    def __init__(self, optimizers, iterations):
        self.iterations = iterations
        self.optimizers = [_Named(name, optimizer) for name, optimizer in optimizers.items()]

    @property
    def variables(self):
        """The variables of all of them."""
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]

    @property
    def learning_rate(self):
        """Refused: each has its own."""
        names = [f"`model.{optimizer.name}.learning_rate`" for optimizer in self.optimizers]
        raise AttributeError(f"The model has {len(names)} optimizers with a learning rate each: {', '.join(names)}.")

    @learning_rate.setter
    def learning_rate(self, value):
        _ = self.learning_rate


class _Named:
    """An optimizer, without its loss scale, under the name that it has in the model."""

    def __init__(self, name, optimizer):
        self.__dict__.update(name=name, optimizer=getattr(optimizer, "inner_optimizer", optimizer))

    def __getattr__(self, name):
        # Not what `copy` asks an object for that has nothing yet.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __setattr__(self, name, value):
        setattr(self.optimizer, name, value)


def trainable_variables(networks):
    """What an optimizer moves: the trainable variables of a `keras.Model`, or of a tuple of several, in order.

    One that several share is there once: its gradient is the sum over all paths that lead to it.
    """
    networks = networks if isinstance(networks, tuple) else (networks,)
    return list({id(one): one for network in networks for one in network.trainable_variables}.values())


def ready(name, optimizer, networks):
    """The optimizer, built for its networks; with a loss scale where one of them computes in float16.

    Args:
        name: What messages call the optimizer.
        optimizer: `keras.optimizers.Optimizer`.
        networks: Tuple of the `keras.Model`s that it moves.

    Returns:
        `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If it accumulates gradients, or a network has no weights to move.
    """
    for network in networks:
        if not network.trainable_variables:
            raise ValueError(
                f"The {network.name} has no trainable weights for `{name}` to move. "
                "Was it frozen (`trainable = False`)?"
            )
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.gradient_accumulation_steps:
        raise ValueError(
            f"`{name}` must not accumulate gradients over steps, since the updates of one training step follow each "
            f"other. Received: gradient_accumulation_steps={inner.gradient_accumulation_steps} in the optimizer. "
            "Give `gradient_accumulation_steps` to `compile` instead: it takes each batch in parts."
        )
    half = any(layer.compute_dtype == "float16" for network in networks for layer in network._flatten_layers())
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(trainable_variables(networks))
    if type(inner).update_step is keras.optimizers.Adam.update_step and not inner.amsgrad:
        inner.update_step = partial(_adam_in_one_kernel, inner)
    return optimizer


def _adam_in_one_kernel(optimizer, gradient, variable, learning_rate):
    """Keras's update of a weight by Adam, the same formula, in one pass over memory instead of one for each operation.

    Args:
        optimizer: `keras.optimizers.Adam` or a subclass with its update, built.
        gradient: Of the weight.
        variable: `tf.Variable`, on one replica.
        learning_rate: Scalar.
    """
    if isinstance(gradient, tf.IndexedSlices):
        type(optimizer).update_step(optimizer, gradient, variable, learning_rate)
        return
    index, dtype = optimizer._get_variable_index(variable), variable.dtype
    number = tf.cast(optimizer.iterations + 1, dtype)
    beta_1, beta_2 = tf.cast(optimizer.beta_1, dtype), tf.cast(optimizer.beta_2, dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=tf.pow(beta_1, number),
        beta2_power=tf.pow(beta_2, number),
        lr=tf.cast(learning_rate, dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.cast(optimizer.epsilon, dtype),
        grad=tf.cast(gradient, dtype),
    )


def check_not_synchronised(name, network):
    """Refuses batch normalisation that meets the other replicas, where XLA or micro-batches would contain it.

    Raises:
        ValueError: If `network`, which messages call `name`, has such a layer.
    """
    for layer in network._flatten_layers():
        if getattr(layer, "synchronized", False):
            raise ValueError(
                f"The {name} has batch normalisation that meets the other replicas within each pass (layer "
                f"{layer.name!r}), which neither XLA nor the loop over micro-batches can contain. Leave out "
                "`jit_compile` and `gradient_accumulation_steps`, or use layer normalisation."
            )


def _optimizer(name, given):
    try:
        return keras.optimizers.get(given)
    except (ValueError, TypeError):
        raise ValueError(
            f"`{name}` must be a Keras optimizer or its name. Received: {given!r}. For a learning rate: "
            "`keras.optimizers.Adam(1e-4)`."
        ) from None
