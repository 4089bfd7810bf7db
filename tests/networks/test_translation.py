"""The networks of CycleGAN: sizes, patches, reflection, and what keeps them safe in 16 bits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import ReflectionPadding2D, patch_discriminator, resnet_generator


@pytest.mark.exhaustive
def test_generator_has_the_papers_layers():
    """Zhu et al. 2017, section 7.2: c7s1-64, d128, d256, 9 x R256, u128, u64, c7s1-3; counted by hand.

    No gains, no offsets, and no biases but in the last convolution, as each normalisation takes the mean away.
    """
    kernels = [7 * 7 * 3 * 64, 9 * 64 * 128, 9 * 128 * 256, 18 * 9 * 256 * 256, 9 * 256 * 128, 9 * 128 * 64]
    assert resnet_generator((256, 256, 3)).count_params() == sum(kernels) + 7 * 7 * 64 * 3 + 3
    assert resnet_generator((128, 128, 3)).count_params() == sum(kernels) - 6 * 9 * 256 * 256 + 7 * 7 * 64 * 3 + 3


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_generator_takes_any_multiple_of_four(policy):
    keras.config.set_dtype_policy(policy)
    network = resnet_generator((16, 16, 1), 4, 1, out_channels=3)
    for size in ((16, 16), (20, 36)):
        images = network(np.random.default_rng(0).uniform(-1, 1, (2, *size, 1)))
        assert images.shape == (2, *size, 3) and images.dtype == "float32" and np.abs(images).max() <= 1


@pytest.mark.parametrize("num_levels, patch", [(1, 16), (2, 34), (3, 70)])
def test_patches_have_the_stated_size(num_levels, patch):
    """The pixels on which one logit depends, without the normalisation, whose statistics are of the whole map."""
    network = patch_discriminator((96, 96, 1), 2, num_levels)
    x = images = tf.constant(np.random.default_rng(0).normal(size=(1, 96, 96, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        for layer in network.layers[1:]:
            x = x if isinstance(layer, keras.layers.GroupNormalization) else layer(x)
        middle = x.shape[1] // 2
        logit = x[0, middle, middle, 0]
    rows, columns = np.nonzero(tape.gradient(logit, images).numpy()[0, ..., 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == patch


@pytest.mark.parametrize("side, outputs", [(16, 8), (24, 12), (28, 7), (60, 15), (64, 8), (256, 32)])
def test_small_images_have_small_patches(side, outputs):
    """1, 2 or 3 halvings."""
    assert patch_discriminator((side, side, 3), 2).output_shape == (None, outputs, outputs, 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_reflection_is_numpys(dtype):
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    padded = ReflectionPadding2D(3, dtype=dtype)(tf.cast(images, dtype))
    assert padded.dtype == dtype
    expected = np.pad(
        np.asarray(tf.cast(tf.cast(images, dtype), tf.float32)), ((0, 0), (3, 3), (3, 3), (0, 0)), "reflect"
    )
    np.testing.assert_array_equal(tf.cast(padded, tf.float32), expected)


@pytest.mark.parametrize("shape", [(30, 32, 3), (12, 12, 1), (28, 28), (0, 16, 1)])
def test_sizes_that_cannot_be_halved_twice_are_refused(shape):
    for make in (resnet_generator, patch_discriminator):
        with pytest.raises(ValueError, match="multiples of 4, at least 16.*Received: .*Resize the images"):
            make(shape)
