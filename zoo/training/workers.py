"""Several processes that train one model: who they are, and what they must agree on."""

from contextlib import contextmanager

import numpy as np
import tensorflow as tf


def num_workers(strategy):
    """Number of processes that train together under `strategy`.

    Example:
        >>> num_workers(tf.distribute.get_strategy())
        1
    """
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver and resolver.task_type else {}
    return sum(len(tasks) for tasks in cluster.values()) or 1


def is_chief(strategy):
    """Whether this process writes files for all: the chief, the first worker where there is none, or the only one.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    chief = "chief" if "chief" in resolver.cluster_spec().as_dict() else "worker"
    return (resolver.task_type, resolver.task_id) == (chief, 0)


def distribute(strategy, batches):
    """Batches of which each process reads only the rows of its own replicas.

    Args:
        strategy: `tf.distribute.Strategy`.
        batches: Function of `replicas=(first, count, total)` that returns the data set of so many of them, as
            `zoo.data.Source.batches`.

    Returns:
        `tf.data.Dataset`, or a distributed one, for `fit`, with the `steps_per_epoch` that the data set has.

    Example:
        >>> def batches(replicas=None):
        ...     return tf.data.Dataset.range(8).batch(4)
        >>> [len(batch) for batch in distribute(tf.distribute.get_strategy(), batches)]
        [4, 4]
    """
    total = strategy.num_replicas_in_sync
    if total == 1:
        return batches()
    count, steps = total // num_workers(strategy), None

    def batches_of(context):
        nonlocal steps
        own = batches(replicas=(context.input_pipeline_id * count, count, total))
        steps = getattr(own, "steps_per_epoch", None)
        return own

    distributed = strategy.distribute_datasets_from_function(batches_of)
    if steps is not None:
        distributed.steps_per_epoch = steps
    return distributed


def share_weights(model):
    """Gives the variables of a `TrainStepModel` and of its optimizers the chief's values, on all workers.

    Example:
        >>> model = zoo.GAN(zoo.mlp_generator((2,)), zoo.mlp_critic((2,)))
        >>> before = model.get_weights()
        >>> share_weights(model)  # of one worker: nothing to do
        >>> all(map(np.array_equal, before, model.get_weights()))
        True
    """
    strategy = model.distribute_strategy
    if num_workers(strategy) == 1:
        return
    on_read = tf.VariableSynchronization.ON_READ
    variables = [*model.variables, *(slot for optimizer in model.optimizers for slot in optimizer.variables)]
    variables = [one for one in variables if getattr(one.value, "synchronization", None) != on_read]
    for variable, value in zip(variables, _from_chief(strategy, [one.numpy() for one in variables]), strict=True):
        variable.assign(value)


def _from_chief(strategy, arrays):
    """Each of a list of arrays as the chief has it, to the bit; every worker calls this at the same point."""

    def from_first_replica(*tensors):
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return [tf.where(first, tensor, tf.zeros_like(tensor)) for tensor in tensors]

    @tf.function(autograph=False)
    def share(tensors):
        parts = strategy.run(from_first_replica, args=tensors)
        return [strategy.reduce("SUM", part, axis=None) for part in parts]

    # Whole numbers as float64, exact up to 2^53: GPUs keep int32 where their collectives do not reach.
    whole = [np.issubdtype(array.dtype, np.integer) for array in arrays]
    sent = [array.astype("float64") if is_whole else array for array, is_whole in zip(arrays, whole, strict=True)]
    received = share(tuple(tf.convert_to_tensor(array) for array in sent))
    return [value.numpy().astype(array.dtype) for value, array in zip(received, arrays, strict=True)]


@contextmanager
def lost_workers_named(strategy):
    """Turns the errors of a broken connection between workers into one that says what to do.

    Raises:
        ConnectionError: If another worker is gone, ended or cannot be reached.

    Example:
        >>> with lost_workers_named(tf.distribute.get_strategy()):
        ...     print("train here")
        train here
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if num_workers(strategy) == 1:
            raise
        reason = [line for line in str(error).splitlines() if "aborted by" in line or "/job:worker" in line]
        raise ConnectionError(
            f"Training stopped: worker {strategy.cluster_resolver.task_id} lost the connection to another worker "
            f"({' '.join(reason[:2]) or type(error).__name__}). The last checkpoint is kept. Look for the cause in the "
            "other workers' output, then start the same command on all of them again: it goes on from the checkpoint."
        ) from error
