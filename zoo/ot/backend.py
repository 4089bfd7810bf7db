"""The only file of `zoo.ot` that knows which backend Keras runs on: how to compile, and how to repeat."""

import functools

import keras
from keras import ops


def compiled(function):
    """Compiles a function of tensors, None and nested tuples of them; keyword arguments are fixed at compilation.

    TensorFlow compiles it by XLA, as a function of its own inside a caller's graph, so that a training step runs it
    compiled with and without `jit_compile`. JAX compiles it by `jax.jit`. PyTorch and NumPy run it as it is.

    Returns:
        The function with one more argument, `jit_compile`: False runs the operations one by one, or as part of the
        caller's graph, as an export for TensorFlow Serving needs it, whose XLA is off.
    """

    @functools.cache
    def compilation(**fixed):
        chosen = functools.partial(function, **fixed)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.function(chosen, jit_compile=True, autograph=False)
        if keras.backend.backend() == "jax":
            import jax

            return jax.jit(chosen)
        return chosen

    @functools.wraps(function)
    def call(*arguments, jit_compile=True, **fixed):
        return compilation(**fixed)(*arguments) if jit_compile else function(*arguments, **fixed)

    return call


def repeat(body, state, times):
    """Applies `body` to the tuple `state` `times` times, in a way that gradients pass on every backend.

    Args:
        body: Function of the members of `state`, returning a tuple of the same shapes.
        state: Tuple of tensors.
        times: int.

    Returns:
        The last state.
    """
    if keras.backend.backend() == "tensorflow":
        # XLA derives a loop only where it knows the largest number of turns.
        return ops.while_loop(lambda *_: True, body, state, maximum_iterations=times)
    return ops.fori_loop(0, times, lambda _, state: body(*state), state)


def wide(tensor):
    """The widest floating-point type where a tensor lies: float32 in JAX, unless told else, NumPy and Apple's GPUs."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return "float64" if jax.config.jax_enable_x64 else "float32"
    # Keras 3.15 brings float64 arrays to float32 on NumPy.
    narrow = backend == "numpy" or (backend == "torch" and tensor.device.type == "mps")
    return "float32" if narrow else "float64"


def has_values(tensor):
    """Whether a tensor's values can be read now: False while a graph is traced."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly() and hasattr(tensor, "numpy")
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    return True
