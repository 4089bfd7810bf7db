"""What CycleGAN alone has: two cycles, shared passes, pools, two domains, images of any size."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.helpers.examples import examples_of
from tests.helpers.rows import largest_difference
from tests.helpers.seeds import seed
from zoo import CycleGAN, data, patch_discriminator, resnet_generator

SHAPE = (16, 16, 1)


def build(shape_x=SHAPE, shape_y=SHAPE, **options):
    return CycleGAN(
        resnet_generator(shape_x, 4, 1, out_channels=shape_y[-1]),
        resnet_generator(shape_y, 4, 1, out_channels=shape_x[-1]),
        patch_discriminator(shape_x, 4),
        patch_discriminator(shape_y, 4),
        **options,
    )


def images(count, domain=0, shape=SHAPE):
    return examples_of(shape, count, seed=domain)


@pytest.fixture(scope="module")
def model():
    seed()
    model = build(identity_weight=0.5)
    model.compile()
    return model


def test_arguments_left_out_are_the_papers(model):
    """Zhu et al. 2017, section 4: Adam, 2e-4, lambda 10, pools of 50, least squares; beta_1 0.5 in their code."""
    for optimizer in model.optimizers:
        np.testing.assert_allclose([optimizer.learning_rate, optimizer.beta_1], [2e-4, 0.5])
    plain = build()
    assert (plain.cycle_weight, plain.pool_size, plain.adversarial_loss) == (10, 50, "least_squares")
    assert plain.terms == (
        *("adversarial_xy", "adversarial_yx", "cycle_x", "cycle_y"),
        *("discriminator_x_loss", "discriminator_y_loss"),
    )


def test_both_cycles_reach_both_generators(model):
    """Equation 2 is minimised over G and F; a well-known implementation gives each of them one cycle."""
    x, y = tf.constant(images(2)), tf.constant(images(2, 1))
    for term in ("cycle_x", "cycle_y"):
        for network in (model.generator_xy, model.generator_yx):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model.generator_objective(x, y)[term])
            gradients = tape.gradient(loss, [weight.value for weight in network.trainable_weights])
            assert all(np.abs(gradient).max() > 0 for gradient in gradients), (term, network)


@pytest.mark.parametrize("adversarial_loss", ["least_squares", pytest.param("log", marks=pytest.mark.exhaustive)])
def test_a_step_moves_each_network_as_if_each_loss_had_passes_of_its_own(adversarial_loss):
    """Equations 1 to 3 written down anew, each network's loss on a tape of its own; SGD(1) moves by the gradient."""
    model = build(adversarial_loss=adversarial_loss, identity_weight=0.5, pool_size=0)
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
    x, y = tf.constant(images(4)), tf.constant(images(4, 1))
    g, f, d_x, d_y = model.generator_xy, model.generator_yx, model.discriminator_x, model.discriminator_y

    def real(logits):
        return tf.square(logits - 1) if adversarial_loss == "least_squares" else -tf.math.log_sigmoid(logits)

    def fake(logits):
        return tf.square(logits) if adversarial_loss == "least_squares" else -tf.math.log_sigmoid(-logits)

    def mean(values):
        return tf.reduce_mean(values)

    def cycles():
        return 10 * (mean(tf.abs(f(g(x)) - x)) + mean(tf.abs(g(f(y)) - y)))

    losses = {
        g: lambda: mean(real(d_y(g(x)))) + cycles() + 5 * mean(tf.abs(g(y) - y)),
        f: lambda: mean(real(d_x(f(y)))) + cycles() + 5 * mean(tf.abs(f(x) - x)),
        d_x: lambda: 0.5 * (mean(real(d_x(x))) + mean(fake(d_x(f(y))))),
        d_y: lambda: 0.5 * (mean(real(d_y(y))) + mean(fake(d_y(g(x))))),
    }
    expected, largest = {}, 0.0
    for network, loss in losses.items():
        with tf.GradientTape() as tape:
            value = loss()
        steps = [
            np.array(step) for step in tape.gradient(value, [weight.value for weight in network.trainable_weights])
        ]
        largest = max(largest, *(np.abs(step).max() for step in steps))
        expected[network] = [weight - step for weight, step in zip(network.get_weights(), steps, strict=True)]
    model.fit(x, y, batch_size=4, verbose=0)
    for network, weights in expected.items():
        assert largest_difference(weights, network.get_weights()) < 1e-5 * largest


def test_batch_statistics_are_those_of_one_set_of_images():
    """Images to translate and images to leave alone share a pass, unless a normalisation would mix them."""
    shape = (*SHAPE[:2], 1)
    inputs = keras.Input(shape)
    outputs = keras.layers.BatchNormalization()(keras.layers.Conv2D(1, 3, padding="same")(inputs))
    generators = [keras.models.clone_model(keras.Model(inputs, outputs)) for _ in range(2)]
    model = CycleGAN(*generators, patch_discriminator(shape, 2), patch_discriminator(shape, 2), identity_weight=1.0)
    x, y = tf.constant(images(4)), tf.constant(images(4, 1) * 0.5)
    found = model.generator_objective(x, y)["identity_y"]
    np.testing.assert_allclose(found, 10 * np.abs(generators[0](y, training=True) - y).mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.exhaustive
def test_discriminators_are_shown_images_of_the_pool():
    """With a pool of one and images that stand still, half of the steps show the one that was kept first."""
    model = build(pool_size=1)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    x, y = images(24), images(24, 1)
    kept, swapped = [], 0
    for row, made in enumerate(model.translate(x)):
        model.fit(x[row : row + 1], y[row : row + 1], batch_size=1, verbose=0)
        (held,) = model.pool_y.images.numpy()
        if kept and np.abs(held - kept[-1]).max() > 0:
            swapped += 1
            np.testing.assert_allclose(held, made, atol=1e-5)
        kept.append(held)
    assert 5 < swapped < 18  # 23 fair coins: outside with a probability of 1 %


def test_evaluation_gives_the_terms_of_held_out_images(model):
    x, y = images(6), images(6, 1)
    found = model.evaluate(x, y, batch_size=4, return_dict=True, verbose=0)
    there_and_back = model.translate(model.translate(x), "y_to_x")
    np.testing.assert_allclose(found["cycle_x"], 10 * np.abs(there_and_back - x).mean(), rtol=1e-4)
    assert set(found) == set(model.terms)


@pytest.mark.exhaustive
def test_validation_data_is_a_pair_too(model):
    held_out = images(2, 2), images(2, 3)
    history = model.fit(images(4), images(4, 1), batch_size=2, validation_data=held_out, verbose=0).history
    assert {"val_cycle_x", "cycle_x"} <= set(history)


def test_domains_of_different_length_come_as_batches_of_a_pair(model):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 16, 16), dtype="uint8")
    pair = data.Pair(data.Source("x", pixels), data.Source("y", 255 - pixels[:7]))
    before = model.steps_taken
    model.fit(pair.batches(2), steps_per_epoch=pair.steps_per_epoch(2), shuffle=False, verbose=0)
    assert model.steps_taken - before == 5


@pytest.mark.exhaustive
def test_domains_may_differ_in_channels():
    model = build(SHAPE, (16, 16, 3))
    model.compile()
    model.fit(images(4), images(4, 1, (16, 16, 3)), verbose=0)
    assert model.translate(images(2)).shape == (2, 16, 16, 3)
    assert model.translate(images(2, 1, (16, 16, 3)), "y_to_x").shape == (2, 16, 16, 1)
    with pytest.raises(ValueError, match="both domains need as many channels. Received: .*1.* and .*3"):
        build(SHAPE, (16, 16, 3), identity_weight=0.5)


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (17, 30)])
def test_images_of_any_size_are_translated(model, size):
    """What lacks to multiples of 4 is reflected, as np.pad does it, and cut off again."""
    given = images(2, shape=(*size, 1))
    lacking = [(0, -side % 4) for side in size]
    padded = np.pad(given, ((0, 0), *lacking, (0, 0)), mode="reflect")
    expected = model.translator_xy(padded)[:, : size[0], : size[1]]
    np.testing.assert_allclose(model.translate(given), expected, atol=1e-5)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def test_files_of_different_sizes_are_translated_in_one_request(model):
    pixels = [
        np.random.default_rng(row).integers(0, 256, size, dtype="uint8")
        for row, size in enumerate([(16, 20), (19, 24)])
    ]
    function, specs = model.signatures()["y_to_x_encoded"]
    answers = function(image_bytes=tf.constant([png(one) for one in pixels]))["image_bytes"].numpy()
    assert list(specs) == ["image_bytes"]
    for one, answer in zip(pixels, answers, strict=True):
        expected = model.translate(one[None, ..., None] / np.float32(127.5) - 1, "y_to_x")[0, ..., 0]
        with Image.open(io.BytesIO(answer)) as image:
            assert image.format == "PNG"
            np.testing.assert_allclose(np.asarray(image), (expected + 1) * 127.5, atol=0.51)


@pytest.mark.parametrize(
    "networks, message",
    [
        (lambda g, d: (g(), g(), d(), resnet_generator), "The discriminator_y has no fixed input and output shape"),
        (lambda g, d: (g(), g(), g(), d()), r"must take images of a fixed size.*`keras.Input\(\(height"),
        (lambda g, d: (g(), g(), d(), d((20, 16, 1))), r"generator_xy must make images \(20, 16, 1\) from images \(16"),
        (lambda g, d: (g(), g((16, 16, 3)), d(), d()), r"The generator_yx must make .*Received: input shape"),
    ],
)
def test_networks_that_do_not_fit_are_refused(networks, message):
    def generator(shape=SHAPE):
        return resnet_generator(shape, 4, 1)

    def discriminator(shape=SHAPE):
        return patch_discriminator(shape, 4)

    with pytest.raises(ValueError, match=message):
        CycleGAN(*networks(generator, discriminator))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"adversarial_loss": "hinge"}, "must be one of 'least_squares', 'log'. Received: 'hinge'"),
        ({"cycle_weight": -1}, "`cycle_weight` must be a finite number of at least 0"),
        ({"pool_size": 2.5}, "`pool_size` must be a whole number"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    "fit, message",
    [
        (lambda model, x, y: model.fit(x), "learns from pairs, x and y. Received: 1 of them"),
        (lambda model, x, y: model.fit(x, y[:3]), "as many of `x` as of `y`. Received: 4 and 3.*zoo.data.Pair"),
        (lambda model, x, y: model.fit(x[:0], y[:0]), "Images of x: There are no images"),
        (
            lambda model, x, y: model.fit(x, y[:, :12]),
            r"Images of y: The images do not fit.*Received: \(4, 12, 16, 1\)",
        ),
        (lambda model, x, y: model.fit(x, np.repeat(y, 3, -1)), "Images of y: .*Convert the channels"),
        (lambda model, x, y: model.fit(data.Pair(*[data.Source("a", x)] * 2)), "`zoo.data.Pair.x, y..batches.1.`"),
        (lambda model, x, y: model.fit({"a": x, "b": y}), "Received: a dict with 'a', 'b'"),
        (lambda model, x, y: model.fit(tf.data.Dataset.from_tensor_slices(x).batch(2)), "Received: 1 of them"),
        (
            lambda model, x, y: model.fit(tf.data.Dataset.from_tensor_slices((x, y))),
            "Images of x: .*This is one example",
        ),
        (lambda model, x, y: model.translate(x, "x2y"), "must be one of 'x_to_y', 'y_to_x'. Received: 'x2y'"),
        (lambda model, x, y: model.translate(127.5 * (x + 1)), r"must lie in \[-1, 1\].*Divide by 127.5"),
        (lambda model, x, y: model.translate(x[0]), r"takes rows of shape .*This is one row: add an axis"),
    ],
)
def test_what_people_type_wrong(model, fit, message):
    with pytest.raises(ValueError, match=message):
        fit(model, images(4), images(4, 1))
