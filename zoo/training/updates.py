"""How variables move: by gradients of an objective, or by a rule of their own, on every replica alike."""

from functools import partial

import keras
import tensorflow as tf
from keras import ops

from zoo.training.optimizers import trainable_variables


def minimize(objective, inputs, networks, optimizer, batch, joint=None, keep=()):
    """One update of `networks` that lowers the sum of the terms of `objective`, over the rows of all replicas.

    The gradient is the sum over micro-batches, one after the other, if the model was compiled with
    `gradient_accumulation_steps`: the same update in less memory.

    Args:
        objective: Function of `inputs` that returns {name: (rows,) tensor of weighted values}, each row's value
            made of that row only. Anything that differs between rows comes through `inputs`. For the terms in
            `joint` it returns a tuple of points instead, tensors (rows, ...).
        inputs: Tuple of tensors (rows, ...).
        networks: `keras.Model` whose `trainable_variables` move, or a tuple of several; no others are watched.
        optimizer: Built Keras optimizer; scales the loss if it is a `LossScaleOptimizer`.
        batch: `GlobalBatch` over which the terms are averaged.
        keep: Names of what the objective returns besides terms, tensors (rows, ...) that later updates of the step
            take up, such as generated examples; they come in float32, without gradients.
        joint: {name: function} of the terms that all rows of the batch make together, such as the distance between
            two sets of points. The function takes the term's points, of the rows of all replicas in order and in
            float32, and returns a scalar, float32, or it and {name: scalar} of what is to be logged beside it.

    Returns:
        {name: mean of the term over this replica's rows, or the joint value, float32 scalar}, what joint terms tell
        beside it, and what is to be kept, as it was before the update.

    Raises:
        ValueError: If no term depends on the networks.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        >>> network = keras.Sequential([keras.Input((1,)), layer])
        >>> optimizer = keras.optimizers.SGD(0.25)
        >>> optimizer.build(network.trainable_variables)
        >>> batch = zoo.training.GlobalBatch(num_rows=2, seed=0, step=0)
        >>> def objective(x):
        ...     return {"square": network(x)[:, 0] ** 2}
        >>> float(minimize(objective, (tf.ones((2, 1)),), network, optimizer, batch)["square"])
        1.0
        >>> float(layer.kernel[0, 0])  # 1 - 0.25 * 2
        0.5
    """
    variables = trainable_variables(networks)
    values = [variable.value for variable in variables]
    scale = optimizer.scale_loss(1.0)
    connected = [False] * len(values)
    joint, apart = joint or {}, {}
    if joint and (batch.micro_batches > 1 or batch.compile_gradients):
        objective, inputs, apart = _apart(objective, inputs, joint, batch)
        joint = {}

    def gradients_of(index, *inputs):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            terms = objective(*inputs)
            kept = {name: _placed(terms.pop(name), index, batch) for name in keep}
            together, told = _together(joint, {name: terms.pop(name) for name in joint}, batch)
            loss = scale * (sum(together.values()) + sum(batch.mean(rows) for rows in terms.values()))
        gradients = tape.gradient(loss, values)
        connected[:] = [gradient is not None for gradient in gradients]
        if not any(connected):
            raise ValueError(
                f"None of the terms {sorted({*terms, *together})} depends on the {len(values)} variables that they "
                "should train. Check that the network passed in is connected from its input to its output."
            )
        sums = {name: ops.sum(ops.cast(rows, "float32")) for name, rows in terms.items()}
        found = [
            # Those of embeddings come as rows of a matrix whose shape is forgotten.
            tf.ensure_shape(tf.convert_to_tensor(gradient), variable.shape)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        return found, sums, {**together, **told}, kept

    gradients, sums, together, kept = _computed(gradients_of, batch)(tf.range(batch.num_rows), *inputs)
    moved = [variable for variable, used in zip(variables, connected, strict=True) if used]
    # What is told of the weights as they were is made before they move: of a bias that no gradient depends on,
    # TensorFlow 2.21's dependency optimizer forgets, for batches of any size, that it is read first.
    with tf.control_dependencies([*sums.values(), *tf.nest.flatten(kept)]):
        gradients = [tf.identity(gradient) for gradient in gradients]
    optimizer.apply(_agreed(gradients, optimizer, batch), moved)
    rows = ops.cast(batch.num_rows, "float32")
    means = {name: tf.math.divide_no_nan(total, rows) for name, total in sums.items()}
    return {**means, **together, **apart, **kept}


def _apart(objective, inputs, joint, batch):
    """The same gradient from rows that are taken one by one.

    First the points of all rows are computed, without gradients. The gradient of a joint term in a point is then held
    fixed as that point's price: the sum of <price, point> over all rows has the same gradient in the weights as the
    term (Gao et al. 2021, Scaling deep contrastive learning batch size under memory limited setup, section 3.2).

    Returns:
        (objective without joint terms, its inputs, {name: value of the joint term, or what it tells}).
    """

    def points_of(*inputs):
        # Batch statistics and the like move in the second pass only.
        with keras.StatelessScope():
            terms = objective(*inputs[:-1])
        return [[_placed(one, inputs[-1], batch) for one in terms[name]] for name in joint]

    points = _computed(points_of, batch)(*inputs, tf.range(batch.num_rows))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        together, told = _together(joint, dict(zip(joint, points, strict=True)), batch)
        total = sum(together.values())
    prices = tape.gradient(total, points, unconnected_gradients="zero")

    def priced(*inputs_and_prices):
        terms = objective(*inputs_and_prices[: len(inputs)])
        left = iter(inputs_and_prices[len(inputs) :])
        for name in joint:
            pairs = [(ops.cast(one, "float32"), next(left)) for one in terms[name]]
            worth = sum(ops.sum(ops.reshape(one * price, (ops.shape(one)[0], -1)), 1) for one, price in pairs)
            terms[name] = worth * ops.cast(batch.size, "float32")
        return terms

    return priced, (*inputs, *tf.nest.flatten(prices)), {**together, **told}


def _together(joint, points, batch):
    """({name: value of a joint term}, {name: what it tells beside it}), from {name: its points}."""
    found = {name: batch.joint(function, points[name]) for name, function in joint.items()}
    pairs = {name: one if isinstance(one, tuple) else (one, {}) for name, one in found.items()}
    told = {name: tf.stop_gradient(one) for _, beside in pairs.values() for name, one in beside.items()}
    return {name: value for name, (value, _) in pairs.items()}, told


def _placed(points, index, batch):
    """Points of some rows among zeros for all others, so that micro-batches add up to all of them."""
    points = ops.cast(points, "float32")
    if batch.micro_batches == 1:
        return points
    return tf.scatter_nd(index[:, None], points, tf.stack([batch.num_rows, *ops.shape(points)[1:]]))


def _computed(function, batch):
    """A function of (rows, ...) tensors, executed as the model was compiled: in micro-batches, by XLA."""
    compute = function
    if batch.micro_batches > 1:
        compute = partial(_accumulate, function, num_parts=batch.micro_batches, num_rows=batch.num_rows)
    if batch.micro_batches > 1 or (batch.num_replicas == 1 and not tf.executing_eagerly()):
        # A call of its own: inlined, a gradient that is constant, as that of a bias often is for batches of a known
        # size, is found to be so after TensorFlow 2.21's dependency optimizer took it for what orders reads of a
        # weight before its update; and of a loop, it forgets that it reads. Replicas meet within, where no call may be.
        compute = tf.function(compute, autograph=False, experimental_attributes={"_noinline": True})
    if batch.compile_gradients:
        compute = tf.function(compute, jit_compile=True, autograph=False)
    return compute


def _accumulate(function, *inputs, num_parts, num_rows):
    """Sum of the results of `function` over what is left over and then over equal parts, one after the other."""
    size = ops.maximum(-(-num_rows // num_parts), 1) if tf.is_tensor(num_rows) else -(-num_rows // num_parts)
    rest = num_rows % size
    # Traced once for all parts: of a large model, that takes longer than many steps.
    rows = None if tf.is_tensor(rest) or rest else size
    specs = [tf.TensorSpec([rows, *one.shape[1:]], one.dtype) for one in inputs]
    part = tf.function(function, autograph=False).get_concrete_function(*specs)

    def result(start, count):
        sizes = [[-1 if size is None else size for size in one.shape[1:]] for one in inputs]
        rows = [
            tf.slice(one, [start, *[0] * len(size)], [count, *size]) for one, size in zip(inputs, sizes, strict=True)
        ]
        return part(*rows)

    def zeros():
        """Of the shapes that `function` returns; a size left open is that of all rows."""
        return tf.nest.map_structure(
            lambda spec: tf.zeros([num_rows if size is None else size for size in spec.shape], spec.dtype),
            part.structured_outputs,
        )

    def body(start, total):
        return start + size, tf.nest.map_structure(tf.add, total, result(start, size))

    if tf.is_tensor(rest):
        # At least one row also where none is left and the branch is not taken: XLA compiles it, and not every operation
        # can do without rows.
        total = tf.cond(rest > 0, lambda: result(0, ops.maximum(rest, 1)), zeros)
    else:
        total = result(0, rest) if rest else zeros()
    return tf.while_loop(lambda start, _: start < num_rows, body, (rest, total), parallel_iterations=1)[1]


def _agreed(gradients, optimizer, batch):
    """Gradients that an optimizer, which adds up those of all replicas, may look at on each replica alone.

    Keras clips each replica's gradient before the sum, and asks only the first replica whether 16-bit gradients
    overflowed. So the sum is made first where the optimizer clips, and an overflow is made known to all.
    """
    if batch.num_replicas == 1:
        return gradients
    context = tf.distribute.get_replica_context()
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.clipnorm or inner.global_clipnorm or inner.clipvalue:
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(one) for one in gradients])
        # One replica brings the sum, the others nothing, so that the optimizer's sum leaves it as it is.
        first = context.replica_id_in_sync_group == 0
        gradients = [tf.where(first, one, tf.zeros_like(one)) for one in summed]
    if inner is not optimizer:
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(one))) for one in gradients])
        overflows = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
        gradients = [tf.where(overflows > 0, tf.cast(float("nan"), one.dtype), one) for one in gradients]
    return gradients


def update_each(function, variables, *sources):
    """Sets each variable to `function(variable, source, ...)`, on every replica alike.

    Args:
        function: Function of a variable's value and the values of its sources.
        variables: List of Keras variables.
        *sources: Lists of Keras variables, as long as `variables`.

    Example:
        >>> clipped, limit = keras.Variable([-3.0, 0.5]), keras.Variable(1.0)
        >>> update_each(lambda value, most: tf.clip_by_value(value, -most, most), [clipped], [limit])
        >>> clipped.numpy()
        array([-1. ,  0.5], dtype=float32)
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

    Example:
        >>> network, average = (keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]) for _ in range(2))
        >>> network.set_weights([np.ones((1, 1)), np.ones(1)])
        >>> average.set_weights([np.zeros((1, 1)), np.zeros(1)])
        >>> update_average(average, network, decay=0.999, step=8)  # d is (1 + 8) / (10 + 8)
        >>> round(float(average.weights[0][0, 0]), 4)
        0.5
    """
    step = ops.cast(step, "float32")
    decay = ops.minimum(decay, (1.0 + step) / (10.0 + step))
    pairs = list(zip(average.variables, network.variables, strict=True))
    trained = [(old, new) for old, new in pairs if new.trainable]
    state = [(old, new) for old, new in pairs if not new.trainable]
    update_each(lambda old, new: new + decay * (old - new), *zip(*trained, strict=True))
    if state:
        update_each(lambda old, new: new, *zip(*state, strict=True))
