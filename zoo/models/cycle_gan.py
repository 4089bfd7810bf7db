"""CycleGAN: translation between two sets of images without pairs (Zhu et al. 2017)."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import check_choice, check_number, check_whole
from zoo.encoded import decode, encode
from zoo.losses.adversarial import (
    discriminator_cross_entropy,
    least_squares_discriminator,
    least_squares_generator,
    mean_absolute_error,
    non_saturating_generator,
)
from zoo.rows import finite_only
from zoo.training import (
    ImagePool,
    TrainStepModel,
    averaged,
    batch_norms,
    check_pairs,
    check_translators,
    images_by_size,
    in_order,
    minimize,
    only_pairs,
    rows_of,
    update_average,
    with_shapes,
)

ADVERSARIAL_LOSSES = {
    "least_squares": (least_squares_discriminator, least_squares_generator),
    "log": (discriminator_cross_entropy, non_saturating_generator),
}
DIRECTIONS = ("x_to_y", "y_to_x")
# Of a picture in a file, which a generator keeps at its size: 64 channels of so many are half a gigabyte.
_MAX_PIXELS = 2**21


@keras.saving.register_keras_serializable("zoo")
class CycleGAN(TrainStepModel):
    """Two generators G: X -> Y and F: Y -> X, each judged by a discriminator, that undo each other (Zhu et al. 2017).

    L = L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda (|F(G(x)) - x| + |G(F(y)) - y|), equation 3; both cycle terms reach both
    generators. One training step is an update of both generators, then one of both discriminators with the same
    generated images, or with earlier ones out of a pool.

    Args:
        generator_xy: G, a `keras.Model` from images of X to images of Y of the same height and width.
        generator_yx: F, the other way.
        discriminator_x: `keras.Model` from images of X, whose height and width are fixed, to logits (batch, ..., 1).
        discriminator_y: The same for Y.
        adversarial_loss: "least_squares", as in the paper's experiments (section 4), or "log", equation 1 with the
            generators' loss non-saturating.
        cycle_weight: lambda.
        identity_weight: Weight, as a multiple of lambda, of |G(y) - y| + |F(x) - x|, which keeps colours (section 5.2:
            0.5); 0 for none.
        pool_size: Number of earlier generated images of each domain to show to the discriminators; 0 for none.
        generator_ema: Decay of a moving average of the generators, in [0, 1), which is then what `translate` and
            `export` use; None for none.
        seed: Seed of all random draws in training, a whole number.

    `fit` takes images of both domains, (batch, height, width, channels) in [-1, 1], which are not pairs: `fit(x, y)`,
    or a data set of batches (x, y) such as `zoo.data.load_pair("emoji").batches(1)`. `evaluate` and `validation_data`
    give all terms on held-out images, without the pool. Errors |.| are means over values in [-1, 1], as in the authors'
    code, so lambda weighs them in that unit.

    The paper trains for 100 epochs at its learning rate and for 100 in which it falls linearly to 0. `compile()` leaves
    it constant, since a model does not know how long it will train: give each optimizer a
    `zoo.schedules.ConstantThenLinear`, as the example and the recipe do.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        >>> shape = (16, 16, 3)
        >>> generators = [resnet_generator(shape, filters=4, num_blocks=1) for _ in range(2)]
        >>> model = CycleGAN(*generators, *(patch_discriminator(shape, filters=4) for _ in range(2)))
        >>> model.translate(np.zeros((3, 16, 16, 3), "float32")).shape
        (3, 16, 16, 3)

        half = 100 * len(photos)  # updates in half of 200 epochs
        rates = [ConstantThenLinear(2e-4, half, half) for _ in range(2)]
        model.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for rate in rates))
        model.fit(photos, paintings, batch_size=1, epochs=200)
    """

    optimizer_networks = {
        "generator_optimizer": ("generator_xy", "generator_yx"),
        "discriminator_optimizer": ("discriminator_x", "discriminator_y"),
    }

    def __init__(
        self,
        generator_xy,
        generator_yx,
        discriminator_x,
        discriminator_y,
        *,
        adversarial_loss="least_squares",
        cycle_weight=10.0,
        identity_weight=0.0,
        pool_size=50,
        generator_ema=None,
        seed=0,
        **kwargs,
    ):
        check_number("identity_weight", identity_weight, 0)
        terms = ["adversarial_xy", "adversarial_yx", "cycle_x", "cycle_y"]
        terms += ["identity_x", "identity_y"] * (identity_weight > 0)
        super().__init__(seed=seed, terms=[*terms, "discriminator_x_loss", "discriminator_y_loss"], **kwargs)
        networks = with_shapes(
            generator_xy=generator_xy,
            generator_yx=generator_yx,
            discriminator_x=discriminator_x,
            discriminator_y=discriminator_y,
        )
        check_translators(*networks, identity_weight > 0)
        check_choice("adversarial_loss", adversarial_loss, ADVERSARIAL_LOSSES)
        check_number("cycle_weight", cycle_weight, 0)
        check_whole("pool_size", pool_size, low=0)
        self.generator_xy, self.generator_yx, self.discriminator_x, self.discriminator_y = networks
        self.adversarial_loss = adversarial_loss
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.pool_size, self.generator_ema = pool_size, generator_ema
        if pool_size:
            self.pool_x = ImagePool(pool_size, self.discriminator_x.input_shape[1:])
            self.pool_y = ImagePool(pool_size, self.discriminator_y.input_shape[1:])
        self.translator_xy = averaged(self.generator_xy, generator_ema)
        self.translator_yx = averaged(self.generator_yx, generator_ema)

    def default_optimizer(self):
        """The paper's (section 4), without the fall of the learning rate in its second half."""
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

    def generator_objective(self, x, y, training=True):
        """Adversarial, cycle and identity terms per row, and the generated images that they were computed from."""
        loss = ADVERSARIAL_LOSSES[self.adversarial_loss][1]
        if self.identity_weight > 0:
            fake_y, same_y = _of_both(self.generator_xy, x, y, training)
            fake_x, same_x = _of_both(self.generator_yx, y, x, training)
        else:
            fake_y, fake_x = self.generator_xy(x, training=training), self.generator_yx(y, training=training)
        cycled_x = self.generator_yx(fake_y, training=training)
        cycled_y = self.generator_xy(fake_x, training=training)
        terms = {
            "adversarial_xy": loss(self.discriminator_y(fake_y, training=training)),
            "adversarial_yx": loss(self.discriminator_x(fake_x, training=training)),
            "cycle_x": self.cycle_weight * mean_absolute_error(x, cycled_x),
            "cycle_y": self.cycle_weight * mean_absolute_error(y, cycled_y),
        }
        if self.identity_weight > 0:
            weight = self.cycle_weight * self.identity_weight
            terms["identity_x"] = weight * mean_absolute_error(x, same_x)
            terms["identity_y"] = weight * mean_absolute_error(y, same_y)
        return {**terms, "fake_x": fake_x, "fake_y": fake_y}

    def discriminator_objective(self, x, fake_x, y, fake_y, training=True):
        """Half of each discriminator's loss per row, which slows them down against the generators, as in the paper."""
        loss = ADVERSARIAL_LOSSES[self.adversarial_loss][0]
        return {
            "discriminator_x_loss": 0.5 * loss(*_of_both(self.discriminator_x, x, fake_x, training)),
            "discriminator_y_loss": 0.5 * loss(*_of_both(self.discriminator_y, y, fake_y, training)),
        }

    def train_step(self, pairs):
        """One update of both generators, then one of both discriminators."""
        x, y = pairs
        batch = self.open_batch(x)
        generators, judges = (self.generator_xy, self.generator_yx), (self.discriminator_x, self.discriminator_y)
        kept = ("fake_x", "fake_y")
        made = minimize(self.generator_objective, (x, y), generators, self.generator_optimizer, batch, keep=kept)
        fake_x, fake_y = (made.pop(name) for name in kept)
        if self.pool_size:
            fake_x, fake_y = self.pool_x.exchange(batch, fake_x, "x"), self.pool_y.exchange(batch, fake_y, "y")
        inputs = (x, fake_x, y, fake_y)
        judged = minimize(self.discriminator_objective, inputs, judges, self.discriminator_optimizer, batch)
        if self.generator_ema is not None:
            update_average(self.translator_xy, self.generator_xy, self.generator_ema, self.step)
            update_average(self.translator_yx, self.generator_yx, self.generator_ema, self.step)
        return self.track(batch, **made, **judged)

    def test_step(self, pairs):
        """All terms, of the images that are made now."""
        x, y = pairs
        batch = self.open_batch(x)
        made = self.generator_objective(x, y, training=False)
        judged = self.discriminator_objective(x, made["fake_x"], y, made["fake_y"], training=False)
        return self.observe(batch, **made, **judged)

    @property
    def example_shape(self):
        """Shape of an image of X."""
        return self.discriminator_x.input_shape[1:]

    def examples_of(self, data):
        """Images of both domains."""
        return only_pairs(data)

    def check_fit(self, given):
        """Checks images of both domains."""
        shapes = [judge.input_shape[1:] for judge in (self.discriminator_x, self.discriminator_y)]
        return check_pairs(given, shapes, self.distribute_strategy.num_replicas_in_sync)

    def call(self, images, training=False):
        """Images of X as images of Y."""
        return _translated(self.translator_xy, images)

    def translate(self, images, direction="x_to_y", batch_size=16):
        """Images of one domain as images of the other.

        Args:
            images: (n, height, width, channels) in [-1, 1], of any height and width if the generators take any, or a
                list of n images of different ones; what lacks to multiples of 4, and to 8, is added by reflection, and
                cut off again.
            direction: "x_to_y" or "y_to_x".
            batch_size: Images at a time.

        Returns:
            float32 array (n, height, width, channels); of images of different sizes a list.

        Raises:
            ValueError: If the direction is unknown, or the images do not fit or lie outside [-1, 1].
        """
        check_choice("direction", direction, DIRECTIONS)
        network = self.translators[direction]
        shape = network.input_shape[1:]

        def translate(images):
            return _translated(network, images)

        def translate_all(images):
            return self.in_batches(f"translate {direction}", translate, images, shape, batch_size)

        expected = f"images of shape (batch, {', '.join(map(str, shape))})"
        groups = images_by_size("translate", images, expected)
        return in_order([(places, translate_all(one)) for places, one in groups])

    def check_inputs(self, what, x):
        """Checks images of X."""
        return rows_of(what, x, self.translator_xy.input_shape[1:])

    @property
    def translators(self):
        """{direction: the network that translates}."""
        return dict(zip(DIRECTIONS, (self.translator_xy, self.translator_yx), strict=True))

    def signatures(self):
        """What is served: each direction for float images, and for encoded ones, which come back as PNG.

        `x_to_y`, which is `serving_default` too, and `y_to_x` take images of one size; `x_to_y_encoded` and
        `y_to_x_encoded` take JPEG, PNG, GIF or BMP files, each of a size of its own, and 2,097,152 pixels at most (1920
        x 1080 are fewer), since the generators keep them at that size.
        """
        served = {}
        for direction, network in self.translators.items():
            images = tf.TensorSpec(network.input_shape, tf.float32)
            served[direction] = (finite_only(partial(_from_images, network)), {"images": images})
            files = tf.TensorSpec((None,), tf.string)
            served[f"{direction}_encoded"] = (partial(_from_files, network), {"image_bytes": files})
        return {"serving_default": served["x_to_y"], **served}

    def warmup(self):
        """Requests that each version answers before it takes traffic: images of the size that was trained on."""
        requests = []
        for direction, network in self.translators.items():
            shape = (*self.example_shape[:2], network.input_shape[-1])
            # Not of one colour, which instance normalisation would turn into magnified rounding errors.
            images = np.stack([np.linspace(*ends, np.prod(shape), dtype="float32") for ends in ((-1, 1), (1, -0.5))])
            images = images.reshape(2, *shape)
            files = np.array([encode(image).numpy() for image in images], dtype=object)
            requests.append((direction, {"images": images}))
            requests.append((f"{direction}_encoded", {"image_bytes": files}))
        return [("serving_default", requests[0][1]), *requests]


def _of_both(network, first, second, training):
    """What a network makes of two batches: in one pass, which is faster for small ones, unless that would mix them."""
    if any(batch_norms(network)):
        return network(first, training=training), network(second, training=training)
    made = network(tf.concat([first, second], 0), training=training)
    rows = first.shape[0] or tf.shape(first)[0]
    return made[:rows], made[rows:]


def _translated(network, images):
    """What a network makes of images (batch, height, width, channels) of any size, also of one pixel."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    if None in network.input_shape[1:3]:
        images = tf.gather(images, _reflected(height), axis=1)
        images = tf.gather(images, _reflected(width), axis=2)
    made = tf.cast(network(images, training=False), tf.float32)
    return made[:, :height, :width]


def _reflected(size):
    """Places of the pixels of an image that is reflected up to a multiple of 4, and to 8, which its blocks need."""
    # No remainder of a negative number, which has another sign in ONNX.
    places = tf.range(tf.maximum((size + 3) // 4 * 4, 8))
    # Back and forth between the first pixel and the last.
    turn = tf.maximum(2 * (size - 1), 1)
    there = places % turn
    return tf.minimum(there, turn - there)


def _from_images(network, images):
    return {"images": _translated(network, images)}


def _from_files(network, image_bytes):
    def translate(file):
        return encode(_translated(network, decode(file, network.input_shape[-1], _MAX_PIXELS)[None])[0])

    # One by one, since the sizes differ.
    return {"image_bytes": tf.map_fn(translate, image_bytes, fn_output_signature=tf.string)}
