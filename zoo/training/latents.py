"""Models whose generator maps latents to examples: their average, their samples, and what they serve."""

import inspect

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from zoo import random
from zoo.checks import check_number, check_positive, check_whole
from zoo.rows import finite_only
from zoo.training.inputs import array_of, rows_of
from zoo.training.model import TrainStepModel
from zoo.training.outputs import last_operation
from zoo.training.updates import update_average


class LatentModel(TrainStepModel):
    """Base of models whose generator maps latents to examples: samples, and what is served.

    A subclass sets `generator`, `generator_ema` and, as its last network, `sampler` = `averaged(generator,
    generator_ema)`: Keras numbers the networks in its files by the order in which they were set.

    Example:
        >>> model = zoo.GAN(zoo.mlp_generator((2,), latent_dim=8), zoo.mlp_critic((2,)))
        >>> isinstance(model, LatentModel), sorted(model.signatures()), model.example_shape
        (True, ['sample', 'serving_default'], (2,))
    """

    @property
    def example_shape(self):
        """Shape of one example."""
        return self.generator.output_shape[1:]

    def latents(self, batch, stream, update=0):
        """Standard normal latents (rows, latent_dim) of a `GlobalBatch`, as its `normal` draws them."""
        return batch.normal(stream, self.generator.input_shape[1:], update)

    def update_sampler(self):
        """Moves the average that is sampled towards the generator, where there is one."""
        if self.generator_ema is not None:
            update_average(self.sampler, self.generator, self.generator_ema, self.step)

    def check_inputs(self, what, x):
        """Checks latents (batch, latent_dim)."""
        latents = array_of(what, x, f"latents of shape (batch, {self.sampler.input_shape[1]})")
        self._check_latents(latents.shape)
        return rows_of(what, latents, self.sampler.input_shape[1:])

    def call(self, latents, training=False):
        """Examples (batch, *example_shape) from latents (batch, latent_dim)."""
        self._check_latents(latents.shape)
        return self.sampler(latents, training=training)

    def _check_latents(self, shape):
        if len(shape) != 2 or shape[1] != self.sampler.input_shape[1]:
            raise ValueError(
                f"The model maps latents (batch, {self.sampler.input_shape[1]}) to examples. Received: shape "
                f"{tuple(shape)}. For samples: `model.generate(16)`."
            )

    def generate(self, num_samples, seed=0):
        """Samples as a float32 array (num_samples, *example_shape); the same seed gives the same samples."""
        return generate(self.sampler, num_samples, seed)

    def signatures(self):
        """What is served: `serving_default` from latents, `sample` from one int64 seed per row."""
        return signatures(self.sampler)


def with_shapes(**networks):
    """Networks with known shapes: those of a class of somebody's own, once built, within a functional model.

    Args:
        **networks: {what messages call it: `keras.Model` or None}.

    Returns:
        List of the same networks in order. In place of one that knows only what it was built for is a functional
        model of one layer, the network, for batches of any size; they share their weights.

    Raises:
        ValueError: If one cannot be called on what it was built for.

    Example:
        >>> class Doubles(keras.Model):
        ...     def call(self, x):
        ...         return 2.0 * x
        >>> network = Doubles()
        >>> _ = network(np.zeros((4, 3)))
        >>> with_shapes(critic=network)[0].input_shape
        (None, 3)
    """
    made = {}
    for name, network in networks.items():
        # One that is given twice stays one.
        if id(network) not in made:
            made[id(network)] = _with_shape(name, network)
    return [made[id(network)] for network in networks.values()]


def _with_shape(name, network):
    if not isinstance(network, keras.Layer) or not network.built:
        return network
    is_known = hasattr(network, "input_shape") and hasattr(network, "output_shape")
    shape = network.input_shape if is_known else (network.get_build_config() or {}).get("input_shape")
    is_one = isinstance(shape, (tuple, list)) and all(side is None or isinstance(side, int) for side in shape)
    # One that is known from a call alone has the number of rows of that call.
    if not is_one or (is_known and shape[0] is None):
        return network
    inputs = keras.Input(tuple(shape[1:]))
    try:
        return keras.Model(inputs, network(inputs), name=network.name)
    except Exception as error:
        raise ValueError(
            f"The {name} was built for inputs of shape {tuple(shape)}, and cannot be called on `keras.Input` of it: "
            f"{error} Its `call` must work without values, as operations of `keras.ops` do."
        ) from error


def check_functional(**networks):
    """Checks that networks of several inputs or outputs, {what messages call it: network or None}, know their shapes.

    Raises:
        ValueError: If one does not.

    Example:
        >>> check_functional(mask_head=keras.layers.Dense(1))
        Traceback (most recent call last):
        ValueError: The mask_head has no fixed inputs and outputs. Expected a functional `keras.Model`...
    """
    for name, network in networks.items():
        if network is not None and not (hasattr(network, "inputs") and hasattr(network, "outputs")):
            raise ValueError(
                f"The {name} has no fixed inputs and outputs. Expected a functional `keras.Model`: "
                "`keras.Model(inputs, network(inputs))` makes one of a class of your own. "
                f"Received: {network!r}."
            )


def check_network(name, network):
    """Checks that a network has its shapes already.

    Args:
        name: What messages call it, such as "critic".
        network: `keras.Model`.

    Raises:
        ValueError: If it has no fixed input and output shape.
    """
    if not hasattr(network, "input_shape") or not hasattr(network, "output_shape"):
        advice = f" Call it: `{network.__name__}(...)`." if inspect.isfunction(network) else ""
        if isinstance(network, keras.Layer):
            advice = f" Call it once, on {'one tensor' if network.built else 'a batch or `keras.Input(shape)`'}."
        raise ValueError(
            f"The {name} has no fixed input and output shape. Expected a functional or sequential `keras.Model` "
            "that starts with `keras.Input(...)`, or one of a class of your own that was built for one input. "
            f"Received: {network!r}.{advice}"
        )
    if not all(isinstance(shape, tuple) for shape in (network.input_shape, network.output_shape)):
        raise ValueError(
            f"The {name} must take one tensor and return one. Received: input shape {network.input_shape}, output "
            f"shape {network.output_shape}. Join them within the network."
        )
    structures = {"input": getattr(network, "input", None)}
    if not isinstance(structures["input"], dict):
        structures["output"] = network.compute_output_spec(keras.KerasTensor(network.input_shape))
    for side, structure in structures.items():
        if isinstance(structure, dict):
            raise ValueError(
                f"The {name} must take one tensor and return one. Received: its {side} is a dict with "
                f"{', '.join(map(repr, structure))}. Give `keras.Model` the tensor itself."
            )


def check_generator(generator):
    """Checks that a generator takes latents (batch, latent_dim).

    Raises:
        ValueError: If it takes something else, or has no fixed shapes yet.

    Example:
        >>> check_generator(zoo.dcgan_critic((28, 28, 1), filters=4))
        Traceback (most recent call last):
        ValueError: The generator must take latents of shape (batch, latent_dim). Received: ...
    """
    check_network("generator", generator)
    if len(generator.input_shape) != 2 or generator.input_shape[1] is None:
        raise ValueError(
            "The generator must take latents of shape (batch, latent_dim). "
            f"Received: input shape {generator.input_shape}. Start it with `keras.Input((latent_dim,))`, and "
            "give the generator first."
        )


def check_judge(name, judge, generator):
    """Checks that a generator takes latents, and a discriminator or critic what it gives, and answers a score.

    Args:
        name: What messages call it, such as "critic".
        judge: Built `keras.Model` from examples to scores.
        generator: Built `keras.Model` from latents (batch, latent_dim) to examples.

    Raises:
        ValueError: If the shapes do not fit, or a network has no fixed shapes yet.

    Example:
        >>> check_judge("critic", zoo.mlp_critic((3,)), zoo.mlp_generator((2,)))
        Traceback (most recent call last):
        ValueError: The generator's output must be the critic's input. Received: output shape (None, 2), ...
    """
    _check_pair(name, judge, generator)
    check_scores(name, judge)


def check_scores(name, judge):
    """Checks that a discriminator or critic ends in a score for each example, or for each of its patches.

    Args:
        name: What messages call it, such as "critic".
        judge: Built `keras.Model` from examples to scores.

    Raises:
        ValueError: If it ends in something else, or in a probability.

    Example:
        >>> check_scores("critic", keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")]))
        Traceback (most recent call last):
        ValueError: The critic must end in a value without bounds...
    """
    if judge.output_shape[-1] != 1:
        raise ValueError(
            f"The {name} must end in one value per example (or per patch): shape (batch, ..., 1). "
            f"Received: output shape {judge.output_shape}. End it with `Dense(1)` and no activation."
        )
    last = last_operation(judge)
    if last in ("Sigmoid", "Softmax"):
        raise ValueError(
            f"The {name} must end in a value without bounds, since the loss applies what it needs. Received: "
            f"activation {last.lower()!r} at its end. End it with `Dense(1)` and no activation."
        )


def check_features(critic, generator):
    """Checks that a generator takes latents, and a critic what it gives, and answers features.

    Args:
        critic: Built `keras.Model` from examples to features (batch, num_features).
        generator: Built `keras.Model` from latents (batch, latent_dim) to examples.

    Raises:
        ValueError: If the shapes do not fit, or a network has no fixed shapes yet.

    Example:
        >>> check_features(zoo.mlp_critic((2,)), zoo.mlp_generator((2,)))
        Traceback (most recent call last):
        ValueError: The critic must end in features, shape (batch, num_features) with two or more...
    """
    _check_pair("critic", critic, generator)
    if len(critic.output_shape) != 2 or critic.output_shape[1] == 1:
        raise ValueError(
            "The critic must end in features, shape (batch, num_features) with two or more, between which mass is "
            f"transported. Received: output shape {critic.output_shape}. Pass `num_features=64` to `mlp_critic` or "
            "`dcgan_critic`, or end it with `Flatten` or `Dense(64)`."
        )


def check_no_batch_norm(network, name="critic", penalty="the gradient penalty"):
    """Refuses batch normalisation, also within other layers, under a penalty on gradients at single examples.

    Args:
        network: `keras.Model`.
        name: What messages call it.
        penalty: What messages call the penalty.

    Raises:
        ValueError: If there is such a layer.

    Example:
        >>> check_no_batch_norm(zoo.dcgan_discriminator((28, 28, 1), filters=4))
        Traceback (most recent call last):
        ValueError: The critic must have no batch normalisation...
    """
    for layer in batch_norms(network):
        raise ValueError(
            f"The {name} must have no batch normalisation: {penalty} is defined example by example "
            f"(Gulrajani et al. 2017, section 4). Received: layer {layer.name!r}. "
            "Use layer normalisation, as `dcgan_critic` does."
        )


def batch_norms(network):
    """The layers of a `keras.Model`, also within others, whose output for a row depends on the other rows.

    Example:
        >>> len(batch_norms(zoo.dcgan_discriminator((28, 28, 1), filters=4))), batch_norms(zoo.mlp_critic((2,)))
        (1, [])
    """
    return [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def _check_pair(name, judge, generator):
    check_generator(generator)
    check_network(name, judge)
    if generator.output_shape[1:] != judge.input_shape[1:]:
        raise ValueError(
            f"The generator's output must be the {name}'s input. Received: output shape "
            f"{generator.output_shape}, input shape {judge.input_shape}. Build both for the same example shape."
        )


def shares(examples, num_updates, example_shape):
    """The examples of each of the updates that one training step makes of a discriminator or critic.

    Args:
        examples: (rows, *example_shape): every update sees all of them; or (rows, num_updates, *example_shape):
            each update sees its own, as the papers' algorithms have it.
        num_updates: Number of updates.
        example_shape: Shape of one example.

    Returns:
        List of `num_updates` tensors (rows, *example_shape).

    Example:
        >>> [part.shape for part in shares(tf.zeros((8, 3, 2)), num_updates=3, example_shape=(2,))]
        [TensorShape([8, 2]), TensorShape([8, 2]), TensorShape([8, 2])]
    """
    if len(examples.shape) == len(example_shape) + 1:
        return [examples] * num_updates
    if examples.shape[1] != num_updates:
        raise ValueError(
            f"Examples of shape (batch, updates, {', '.join(map(str, example_shape))}) must have one entry for each "
            f"of the {num_updates} updates in a step. Received: shape {tuple(examples.shape)}."
        )
    return [examples[:, update] for update in range(num_updates)]


def averaged(generator, decay):
    """The network to sample from: a copy that will hold the moving average, or the generator itself.

    Args:
        generator: Built `keras.Model`.
        decay: Decay of the average in [0, 1), or None for no average.

    Returns:
        `keras.Model` with the weights of `generator`.

    Raises:
        ValueError: If a layer cannot be made again from what its `get_config` returns.

    Example:
        >>> generator = zoo.mlp_generator((2,))
        >>> averaged(generator, None) is generator, averaged(generator, 0.999) is generator
        (True, False)
    """
    if decay is None:
        return generator
    check_number("generator_ema", decay, 0, below=1)
    is_graph = isinstance(generator, (keras.Sequential, keras.Model)) and hasattr(generator, "inputs")
    try:
        make = keras.models.clone_model if is_graph else lambda network: type(network).from_config(network.get_config())
        average = make(generator)
        average.set_weights(generator.get_weights())
    except Exception as error:  # Layers raise what they like.
        raise ValueError(
            f"An average of the weights needs a second network like {generator.name!r}, which could not be made of "
            f"its configuration: {error} The `get_config` of each layer of a class of your own must return all "
            "arguments of its constructor. Or leave the average out."
        ) from error
    average.trainable = False
    return average


def draw_keys(seed, count):
    """Keys of the first `count` draws of a seed, an int64 tensor (count, 2).

    Raises:
        ValueError: If the seed is no whole number of 64 bits.

    Example:
        >>> draw_keys(seed=7, count=3).numpy()
        array([[7, 0],
               [7, 1],
               [7, 2]])
    """
    check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
    return tf.stack([tf.fill([count], tf.constant(seed, tf.int64)), tf.range(count, dtype=tf.int64)], axis=1)


def first_draw_keys(seeds):
    """Keys of the first draw of each of many seeds, from an int64 tensor (rows,) to one (rows, 2).

    Example:
        >>> first_draw_keys(tf.constant([5, 6], tf.int64)).numpy()
        array([[5, 0],
               [6, 0]])
    """
    return tf.stack([seeds, tf.zeros_like(seeds)], axis=1)


def latents_of(keys, latent_dim):
    """One standard normal latent per key, the same at any place in a batch and in any process.

    Args:
        keys: int tensor (rows, 2): seed and number of the draw.
        latent_dim: Length of a latent.

    Returns:
        float32 tensor (rows, latent_dim).

    Example:
        >>> keys = draw_keys(seed=7, count=3)
        >>> latents = latents_of(keys, latent_dim=8)
        >>> latents.shape, np.array_equal(latents[1:], latents_of(keys[1:], latent_dim=8))
        (TensorShape([3, 8]), True)
    """
    return tf.map_fn(
        lambda key: random.normal((latent_dim,), seed=key),
        tf.convert_to_tensor(keys),
        fn_output_signature=tf.TensorSpec((latent_dim,), tf.float32),
    )


_compiled_latents_of = tf.function(latents_of, reduce_retracing=True, autograph=False)


def generate(network, num_samples, seed=0, batch_size=256):
    """Samples of a generator.

    Args:
        network: `keras.Model` from (batch, latent_dim) to examples.
        num_samples: Number of samples, at least 1.
        seed: Whole number; the same seed gives the same samples, and the first n of a larger draw are those of a
            draw of n.
        batch_size: Samples drawn at a time.

    Returns:
        float32 array (num_samples, *example_shape).
    """
    check_positive("num_samples", num_samples)
    latents = _compiled_latents_of(draw_keys(seed, num_samples), network.input_shape[1])
    batches = [
        ops.convert_to_numpy(network(latents[start : start + batch_size], training=False)).astype("float32")
        for start in range(0, num_samples, batch_size)
    ]
    return np.concatenate(batches)


def signatures(network):
    """What is served: `serving_default` takes latents, `sample` one int64 seed per row.

    Args:
        network: `keras.Model` from (batch, latent_dim) to examples.

    Returns:
        {signature: (function of named tensors that returns named tensors, {input: `tf.TensorSpec`})}. Row r of
        `sample` is `generate(1, seed=seed[r])`.
    """
    latent_dim = network.input_shape[1]
    output = "images" if len(network.output_shape) == 4 else "points"

    def from_latents(latents):
        return {output: tf.cast(network(latents, training=False), tf.float32)}

    def from_seeds(seed):
        return from_latents(latents_of(first_draw_keys(seed), latent_dim))

    return {
        "serving_default": (finite_only(from_latents), {"latents": tf.TensorSpec((None, latent_dim), tf.float32)}),
        "sample": (from_seeds, {"seed": tf.TensorSpec((None,), tf.int64)}),
    }
