"""Shapes, ranges, normalisation and sizes of the builders' networks."""

import keras
import numpy as np
import pytest

from zoo import dcgan_critic, dcgan_discriminator, dcgan_generator, mlp_critic, mlp_generator


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (28, 28), (32, 32), (64, 64), (36, 28)])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_for_any_multiple_of_four(size, channels):
    shape = (*size, channels)
    images = dcgan_generator(shape, 5, 2)(np.zeros((2, 5), "float32"))
    assert images.shape == (2, *shape) and np.abs(images).max() <= 1
    assert dcgan_critic(shape, 2)(images).shape == (2, 1)
    assert dcgan_discriminator(shape, 2)(images).shape == (2, 1)


def test_dcgan_at_64_has_the_papers_levels():
    """Radford et al. 2016, figure 1: four strided convolutions between 4x4 and 64x64; widths 64 to 512."""
    kernels = [layer.kernel.shape for layer in dcgan_discriminator((64, 64, 3)).layers if "conv" in layer.name]
    assert [kernel[-1] for kernel in kernels] == [64, 128, 256, 512]
    assert all(kernel[:2] == (4, 4) for kernel in kernels)


def test_critic_of_28_has_as_many_weights_as_counted_by_hand():
    """4*4*1*64 + 64, 4*4*64*128 without bias, 2*128 of the norm, 7*7*128 + 1."""
    assert dcgan_critic((28, 28, 1)).count_params() == 1088 + 131072 + 256 + 6273


def test_layer_norm_keeps_examples_apart_and_batch_norm_does_not():
    latents = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    for norm, apart in (("layer", True), (None, True), ("batch", False)):
        network = dcgan_generator((8, 8, 1), 5, 4, norm=norm)
        together = keras.ops.convert_to_numpy(network(latents, training=True))[0]
        alone = keras.ops.convert_to_numpy(network(latents[:1], training=True))[0]
        assert (np.abs(together - alone).max() < 1e-6) == apart, norm


def test_layer_norm_is_over_height_width_and_channels():
    """Against the formula in NumPy: mean and variance of the whole example, gain and offset 1 and 0 at the start."""
    critic = dcgan_critic((16, 16, 1), 4)
    norm = next(layer for layer in critic.layers if isinstance(layer, keras.layers.GroupNormalization))
    x = np.random.default_rng(0).normal(2, 3, size=(3, *norm.input.shape[1:])).astype("float32")
    expected = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(x), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 30, 1), (28, 28), (0, 4, 1), (2, 4, 1)])
def test_sizes_that_do_not_halve_are_refused(shape):
    for build in (dcgan_generator, dcgan_critic, dcgan_discriminator):
        with pytest.raises(ValueError, match="multiples of 4.*Received"):
            build(shape)


def test_unknown_norm_is_refused():
    with pytest.raises(
        ValueError, match="`norm` must be one of 'batch', 'sync_batch', 'layer', None. Received: 'instance'"
    ):
        dcgan_generator((8, 8, 1), norm="instance")


def test_mlp_shapes_and_refusal_of_images():
    assert mlp_generator((3,), latent_dim=4, hidden=(5,))(np.zeros((2, 4), "float32")).shape == (2, 3)
    assert mlp_critic((3,), hidden=())(np.zeros((2, 3), "float32")).shape == (2, 1)
    with pytest.raises(ValueError, match="dcgan_generator"):
        mlp_generator((28, 28, 1))


@pytest.mark.parametrize("shape", [28, None, (28.0, 28.0, 1), ("28", "28", "1"), (None, None, 1), (8, 8, 0)])
def test_an_image_shape_is_three_whole_numbers(shape):
    for build in (dcgan_generator, dcgan_critic):
        with pytest.raises(ValueError, match=r"`image_shape` must be three whole numbers \(height, width, channels\)"):
            build(shape)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: dcgan_generator((28, 28)), r"Received: \(28, 28\). Add the channels: \(28, 28, 1\)."),
        (lambda: dcgan_generator((8, 8, 1), latent_dim=0), "`latent_dim` must be a whole number of at least 1"),
        (lambda: dcgan_generator((8, 8, 1), latent_dim=None), "`latent_dim` must be .* Received: None"),
        (lambda: mlp_generator((2,), latent_dim=0), "`latent_dim` must be a whole number .* Received: 0"),
        (lambda: mlp_generator((2,), latent_dim=2.5), "`latent_dim` must be a whole number .* Received: 2.5"),
        (lambda: dcgan_generator((8, 8, 1), filters=0), "`filters` must be a whole number .* Received: 0"),
        (lambda: dcgan_critic((8, 8, 1), filters="8"), "`filters` must be a whole number .* Received: '8'"),
        (lambda: dcgan_discriminator((8, 8, 1), norm="bacth"), "`norm` must be one of 'batch'.* Received: 'bacth'"),
        (lambda: mlp_generator(2), r"`example_shape` must be \(dim,\), as \(2,\). Received: 2"),
        (lambda: mlp_critic(()), r"`example_shape` must be \(dim,\), as \(2,\). Received: \(\)"),
        (lambda: mlp_critic((2,), hidden=128), r"`hidden` must be a tuple of widths, such as .* Received: 128"),
        (lambda: mlp_critic((2,), hidden=None), "`hidden` must be a tuple of widths, such as .* Received: None"),
        (lambda: mlp_generator((2,), hidden=(128, 0)), r"`hidden` must be a tuple .* Received: \(128, 0\)"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_whole_numbers_of_numpy_are_whole_numbers():
    sizes, two = np.array([8, 8, 1]), np.int64(2)
    assert dcgan_generator(sizes, latent_dim=two, filters=two).output_shape == (None, 8, 8, 1)
    assert dcgan_critic(sizes, filters=two).input_shape == (None, 8, 8, 1)
    assert mlp_generator(sizes[:1], latent_dim=two, hidden=sizes).output_shape == (None, 8)


def test_biases_of_features_are_random_in_the_scale_of_the_inputs_and_differ_between_layers():
    biases = [layer.bias.numpy() for layer in mlp_critic((2,), (64, 64), 64, input_scale=3.0).layers if layer.weights]
    assert len(biases) == 3
    for bias in biases:
        assert 2 < np.abs(bias).max() <= 3 and bias.min() < -2 < 2 < bias.max()
    assert np.abs(biases[0] - biases[1]).max() > 0.1 and np.abs(biases[1] - biases[2]).max() > 0.1
    assert all((layer.bias.numpy() == 0).all() for layer in mlp_critic((2,), (64, 64)).layers if layer.weights)
