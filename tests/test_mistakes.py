"""What people type wrong in a notebook: each message says what was expected, what was received and what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import GAN, WGAN, WGANGP, data, dcgan_critic, dcgan_generator, mlp_critic, mlp_generator

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = WGANGP(dcgan_generator(SHAPE, 4, 4, norm="layer"), dcgan_critic(SHAPE, 4), critic_steps=1)
    model.compile()
    return model


@pytest.mark.parametrize(
    "fit, message",
    [
        (lambda fit, x: fit(), "`x` must be examples of shape .* Received: None"),
        (lambda fit, x: fit("digits"), "Received: 'digits'. A set of `zoo.data.load`"),
        (lambda fit, x: fit(data.load("digits")), "Received: <Source digits.*`source.batches\\(64\\)`"),
        (lambda fit, x: fit(x[:0]), "There are no images"),
        (lambda fit, x: fit(list(x)), "a list of 8. Make one array of it: `np.stack"),
        (lambda fit, x: fit({"pixels": x}), r"a dict with 'pixels'. Pick the examples: .*row\['pixels'\]"),
        (lambda fit, x: fit(x[0]), "This is one example: `examples\\[None\\]`"),
        (lambda fit, x: fit(np.moveaxis(x, -1, 1)), "Move the channels to the end"),
        (lambda fit, x: fit((x + 1) / 2), r"use both signs.* `images \* 2 - 1`"),
        (lambda fit, x: fit(x, np.zeros(8)), "takes no `y`. Leave the labels out"),
        (lambda fit, x: fit(x, sample_weight=np.ones(8)), "takes no `sample_weight`"),
        (lambda fit, x: fit(x, validation_data=x), "takes no `validation_data`.*zoo.callbacks.Evaluate"),
        (lambda fit, x: fit(x, validation_split=0.2), "takes no `validation_split`"),
        (lambda fit, x: fit(x, batch_size="32"), "`batch_size` must be a whole number of at least 1. Received: '32'"),
        (lambda fit, x: fit(x, batch_size=0), "`batch_size` must be"),
        (lambda fit, x: fit(x, epochs=0), "`epochs` must be"),
    ],
)
def test_fit(fit, message, model, images):
    with pytest.raises(ValueError, match=message):
        fit(model.fit, images)


def test_fit_takes_examples_alone_in_a_tuple(model, images):
    """As Keras's own data sets hand them over; batches of two arrays are refused within the step."""

    class Pictures(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return (images[4 * index : 4 * index + 4], *self.others)

    pictures = Pictures()
    pictures.others = ()
    for x in (pictures, tf.data.Dataset.from_tensor_slices((images,)).batch(4)):
        before = model.steps_taken
        model.fit(x, shuffle=False, verbose=0)
        assert model.steps_taken == before + 2
    assert np.isfinite(model.train_on_batch(images)).all()
    pictures.others = (np.zeros(4),)
    with pytest.raises(ValueError, match="2 arrays per batch"):
        model.fit(pictures, verbose=0)


@pytest.mark.parametrize(
    "options, message",
    [
        (lambda: {"loss": "mse"}, "losses and metrics are part of the model. Received: .* loss"),
        (lambda: {"critic_optimizer": 1e-4}, r"Received: 0.0001. For a learning rate: `keras.optimizers.Adam\(1e-4\)`"),
        (lambda: {"critic_optimizer": "adamm"}, "`critic_optimizer` must be a Keras optimizer or its name"),
        (
            lambda: dict.fromkeys(("critic_optimizer", "generator_optimizer"), keras.optimizers.SGD()),
            "an optimizer of its own",
        ),
        (lambda: {"jit_compile": "yes"}, "`jit_compile` must be one of True, False, 'auto'. Received: 'yes'"),
    ],
)
def test_compile(options, message):
    model = WGANGP(mlp_generator((2,), hidden=(4,)), mlp_critic((2,), hidden=(4,)))
    with pytest.raises(ValueError, match=message):
        model.compile(**options())
    with pytest.raises(ValueError, match="Received: 3 optimizers by position"):
        model.compile("sgd", "sgd", "sgd")


def two_inputs():
    latents = keras.Input((2,)), keras.Input((2,))
    return keras.Model(latents, keras.layers.Add()(latents))


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda g, c: GAN(g, mlp_critic((3,))), ValueError, "generator's output must be the discriminator's input"),
        (lambda g, c: WGAN(c, g), ValueError, "generator's output must be the critic's input"),
        (lambda g, c: WGANGP(g, keras.Sequential([keras.layers.Dense(1)])), ValueError, "no fixed input and output"),
        (lambda g, c: GAN(g, g), ValueError, "must end in one value per example"),
        (lambda g, c: GAN(g, c, generator_loss="hinge"), ValueError, "'non_saturating', 'minimax'. Received: 'hinge'"),
        (lambda g, c: GAN(g, c, discriminator_steps=0), ValueError, "at least 1. Received: 0"),
        (lambda g, c: WGAN(g, c, clip=0), ValueError, "above 0"),
        (lambda g, c: WGANGP(g, c, gradient_penalty_weight=-1), ValueError, "at least 0. Received: -1"),
        (lambda g, c: WGANGP(g, c, critic_steps=1.5), ValueError, "whole number"),
        (lambda g, c: GAN(g, c, generator_ema=1.0), ValueError, "at least 0 and below 1. Received: 1.0"),
        (lambda g, c: WGANGP(g, c, gradient_penalty_weight=None), ValueError, "finite number .* Received: None"),
        (lambda g, c: WGANGP(g, c, gradient_penalty_weight=float("nan")), ValueError, "finite number .* nan"),
        (lambda g, c: WGAN(g, c, clip="0.01"), ValueError, "`clip` must be a finite number above 0. Received: '0.01'"),
        (lambda g, c: WGAN(g, c, long_critic_phases="no"), ValueError, "True, False. Received: 'no'"),
        (lambda g, c: GAN(g, c, generator_ema="0.9"), ValueError, "`generator_ema` must be a finite number"),
        (lambda g, c: GAN(g, c, seed=None), ValueError, "`seed` must be a whole number .* Received: None"),
        (lambda g, c: GAN(g, c, critic_steps=3), TypeError, "GAN takes .*discriminator_steps.* Received: critic_steps"),
        (lambda g, c: GAN(mlp_generator, c), ValueError, r"Call it: `mlp_generator\(...\)`"),
        (lambda g, c: GAN(two_inputs(), c), ValueError, "must take one tensor and return one"),
        (
            lambda g, c: GAN(dcgan_critic(SHAPE, 4), dcgan_generator(SHAPE, 4, 4)),
            ValueError,
            "give the generator first",
        ),
        (
            lambda g, c: GAN(g, keras.Sequential([c, keras.layers.Activation("sigmoid")])),
            ValueError,
            "'sigmoid' at its end. End it with `Dense",
        ),
    ],
)
def test_constructors(build, error, message):
    with pytest.raises(error, match=message):
        build(mlp_generator((2,), hidden=(4,)), mlp_critic((2,), hidden=(4,)))


@pytest.mark.parametrize(
    "use, message",
    [
        (lambda model, x: model.generate(2.5), "whole number of at least 1. Received: 2.5"),
        (lambda model, x: model.generate(2, seed=1.5), "`seed` must be a whole number"),
        (lambda model, x: model(x), r"maps latents \(batch, 4\) to examples. Received: shape .*`model.generate\(16\)`"),
        (lambda model, x: model.evaluate(x, verbose=0), "no loss on held-out data.*zoo.callbacks.Evaluate"),
        (lambda model, x: model.save("model.h5"), "ends in .keras. Received: model.h5"),
    ],
)
def test_use(use, message, model, images):
    with pytest.raises(ValueError, match=message):
        use(model, images)


def test_a_frozen_network_is_named():
    critic = mlp_critic((2,), hidden=(4,))
    critic.trainable = False
    model = WGANGP(mlp_generator((2,), hidden=(4,)), critic)
    with pytest.raises(ValueError, match="The critic has no trainable weights"):
        model.compile()


@pytest.mark.parametrize("name, hint", [("WGANPG", "WGANGP"), ("sevring", "serving"), ("dcgan_genertor", "dcgan_gen")])
def test_names(name, hint):
    with pytest.raises(AttributeError, match=f"Did you mean {hint}"):
        getattr(zoo, name)
