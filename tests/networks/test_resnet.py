"""The residual networks of torchvision: their features, what is trained, and how they are kept."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from zoo import FCN, FrozenNormConv2D, fcn_head, fcn_levels, top_down, torchvision_resnet

pytestmark = pytest.mark.convolutional
SMALL = {"width": 8, "blocks": (1, 2, 1, 1)}
SMALLEST = {"width": 8, "blocks": (1, 1, 1, 1)}


def images_of(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def randomise(network, rng):
    """Statistics and weights of all kinds, such that features keep their size."""
    for variable in network.weights:
        if variable.name == "kernel":
            value = rng.normal(0, np.prod(variable.shape[:3]) ** -0.5, variable.shape)
        elif "variance" in variable.path or variable.name == "gamma":
            value = rng.uniform(0.5, 1.5, variable.shape)
        else:
            value = rng.normal(0, 0.3, variable.shape)
        variable.assign(value)


@pytest.mark.parametrize(
    ("depth", "channels", "batch_norm"), [(18, (8, 16, 32, 64), "live"), (50, (32, 64, 128, 256), "frozen")]
)
def test_features_at_four_strides(depth, channels, batch_norm):
    network = torchvision_resnet(depth, batch_norm=batch_norm, **SMALL)
    assert [tuple(one.shape) for one in network.outputs] == [(None, None, None, number) for number in channels]
    # Halved five times, rounded up: 65 is 33, 17, 9, 5, 3, and 90 is 45, 23, 12, 6, 3.
    found = network(images_of(np.random.default_rng(0), 2, 65, 90, 3))
    assert [tuple(one.shape[1:3]) for one in found] == [(17, 23), (9, 12), (5, 6), (3, 3)]


def test_size_is_that_of_torchvision():
    network = torchvision_resnet(50)
    parameters = [one for one in network.weights if one.name in ("kernel", "gamma", "beta")]
    # 25,557,032 by torchvision's documentation, less those of `fc`: 1000 classes of 2048 channels, and a bias.
    assert sum(int(np.prod(one.shape)) for one in parameters) == 25_557_032 - 2_049_000
    assert {one.name for one in network.trainable_weights} == {"kernel"}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_frozen_layer_is_a_convolution_then_a_normalisation(kernel_size, strides, epsilon, training):
    rng = np.random.default_rng(0)
    layer = FrozenNormConv2D(5, kernel_size, strides, epsilon)
    images = images_of(rng, 2, 9, 12, 3)
    assert layer.compute_output_shape(images.shape) == layer(images).shape
    randomise(layer, rng)
    # By definition, from padding on all sides and TensorFlow's plain convolution.
    pad = kernel_size // 2
    expected = tf.nn.conv2d(np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))), layer.kernel, strides, "VALID")
    gamma, beta, mean, variance = (np.array(one) for one in (layer.gamma, layer.beta, layer.mean, layer.variance))
    expected = (expected - mean) / np.sqrt(variance + epsilon) * gamma + beta
    np.testing.assert_allclose(layer(images, training=training), expected, atol=3e-6)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(images), training=training), expected, atol=3e-6)


def test_live_and_frozen_networks_agree():
    rng = np.random.default_rng(0)
    frozen, live = torchvision_resnet(50, **SMALL), torchvision_resnet(50, batch_norm="live", **SMALL)
    randomise(frozen, rng)
    for layer in live.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(frozen.get_layer(layer.name).kernel)
        if isinstance(layer, keras.layers.BatchNormalization):
            same = frozen.get_layer(layer.name.replace("bn", "conv").replace("downsample_1", "downsample_0"))
            for variable, other in zip(layer.weights, (same.gamma, same.beta, same.mean, same.variance), strict=True):
                variable.assign(other)
    images = images_of(rng, 1, 65, 90, 3)
    for training in (False, True):
        for one, other in zip(frozen(images, training=training), live(images, training=False), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5 * np.abs(other).max())


@pytest.mark.parametrize("batch_norm", ["frozen", "live"])
@pytest.mark.parametrize("count", [0, 3])
def test_stages_that_are_not_trained(batch_norm, count):
    network = torchvision_resnet(18, batch_norm=batch_norm, trainable_stages=count, **SMALLEST)
    network = keras.Model.from_config(network.get_config())
    stages = {"conv1": 5, "bn1": 5, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1}
    for layer in network.layers:
        if layer.weights:
            is_trained = stages[layer.name.split("_")[0]] <= count
            assert bool(layer.trainable_weights) == is_trained, layer.name
    before = [np.array(one) for one in network.weights]
    network(images_of(np.random.default_rng(0), 2, 32, 32, 3), training=True)
    for variable, old in zip(network.weights, before, strict=True):
        name = variable.path.split("/")[-2].split("_")[0]
        moves = batch_norm == "live" and "moving" in variable.name and stages[name] <= count
        assert (not np.array_equal(variable, old)) == moves, variable.path


def test_gradients_against_finite_differences():
    keras.config.set_dtype_policy("float64")
    network = torchvision_resnet(18, **SMALLEST)
    randomise(network, np.random.default_rng(0))
    images = np.random.default_rng(1).normal(size=(1, 33, 32, 3))
    kernel = network.get_layer("layer2_0_conv1").kernel

    def loss():
        return tf.reduce_mean(network(images, training=True)[-1] ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    (gradient,) = tape.gradient(value, [kernel.value])
    old, step = np.array(kernel), 1e-6
    change = np.zeros_like(old)
    change[2, 1, 3, 4] = step
    kernel.assign(old + change)
    above = loss()
    kernel.assign(old - change)
    np.testing.assert_allclose(gradient[2, 1, 3, 4], (above - loss()) / (2 * step), rtol=1e-5)


def test_keras_file_keeps_everything(tmp_path):
    rng = np.random.default_rng(0)
    network = torchvision_resnet(50, trainable_stages=3, epsilon=0, **SMALLEST)
    randomise(network, rng)
    network.save(tmp_path / "resnet.keras")
    loaded = keras.saving.load_model(tmp_path / "resnet.keras")
    images = images_of(rng, 1, 40, 33, 3)
    for one, other in zip(loaded(images), network(images), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [one.path for one in loaded.trainable_weights] == [one.path for one in network.trainable_weights]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    rng = np.random.default_rng(0)
    network = torchvision_resnet(18, **SMALLEST)
    randomise(network, rng)
    images = images_of(rng, 1, 64, 64, 3)
    expected = network(images)
    keras.config.set_dtype_policy(policy)
    mixed = torchvision_resnet(18, **SMALLEST)
    mixed.set_weights(network.get_weights())
    assert {one.dtype for one in mixed.weights} == {"float32"}
    for training in (False, True):
        with tf.GradientTape() as tape:
            found = mixed(images, training=training)
            loss = sum(tf.reduce_mean(tf.cast(one, tf.float32) ** 2) for one in found)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == policy.removeprefix("mixed_")
            # 8 bits of mantissa, rounded some twenty times.
            np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=0.1 * np.abs(other).max())
        gradients = tape.gradient(loss, [one.value for one in mixed.trainable_weights])
        assert all(one.dtype == tf.float32 and np.isfinite(one).all() for one in gradients)


def test_features_are_those_of_torchvision():
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    from zoo import load_torchvision_weights

    block = {18: models.resnet.BasicBlock, 50: models.resnet.Bottleneck}
    for depth, size in ((18, (203, 317)), (50, (203, 317)), (50, (64, 33))):
        torch.manual_seed(depth)
        other = models.ResNet(block[depth], [1, 2, 1, 1]).eval()
        for one in other.modules():
            if isinstance(one, torch.nn.BatchNorm2d):
                for tensor, low, high in ((one.weight, 0.5, 1.5), (one.bias, -0.3, 0.3), (one.running_var, 0.5, 1.5)):
                    torch.nn.init.uniform_(tensor, low, high)
                torch.nn.init.normal_(one.running_mean, 0, 0.3)
        images = images_of(np.random.default_rng(0), 1, *size, 3)
        with torch.no_grad():
            x, expected = torch.tensor(images).permute(0, 3, 1, 2), []
            x = other.maxpool(other.relu(other.bn1(other.conv1(x))))
            for layer in (other.layer1, other.layer2, other.layer3, other.layer4):
                x = layer(x)
                expected.append(x.permute(0, 2, 3, 1).numpy())
        for batch_norm in ("frozen", "live"):
            network = torchvision_resnet(depth, batch_norm=batch_norm, blocks=(1, 2, 1, 1))
            load_torchvision_weights(network, other.state_dict())
            for training in (False, True) if batch_norm == "frozen" else (False,):
                for one, right in zip(network(images, training=training), expected, strict=True):
                    np.testing.assert_allclose(one, right, atol=1e-4 * np.abs(right).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, r"`depth` must be one of 18, 34, 50, 101, 152. Received: 20"),
        ({"batch_norm": "none"}, "`batch_norm` must be one of 'frozen', 'live'"),
        ({"width": 0}, "`width` must be a whole number of at least 1"),
        ({"blocks": (1, 2)}, r"`blocks` must be four whole numbers .* Received: \(1, 2\)"),
        ({"trainable_stages": 6}, "`trainable_stages` must be a whole number from 0 to 5"),
        ({"epsilon": -1.0}, "`epsilon` must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        torchvision_resnet(**options)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="`kernel_size` must be odd.*Received: 4"):
        FrozenNormConv2D(8, 4)


def test_finer_features_get_the_coarser_ones():
    rng = np.random.default_rng(0)
    levels = fcn_levels(torchvision_resnet(18, batch_norm="live", width=4, blocks=(1, 1, 1, 1)))
    network = top_down(levels, (1, 2))
    randomise(network, rng)
    images = images_of(rng, 2, 64, 96, 3)
    c3, c4, c5 = levels(images)
    d3, d4, unchanged = network(images)
    np.testing.assert_array_equal(unchanged, c5)

    # By definition, from TensorFlow's own operations.
    def normalised(x, kernel, norm):
        norm = network.get_layer(norm)
        scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
        return (tf.nn.conv2d(x, network.get_layer(kernel).kernel, 1, "SAME") - norm.moving_mean) * scale + norm.beta

    for skip, coarser, level, number, found in ((c4, c5, 4, 1, d4), (c3, d4, 3, 2, d3)):
        lateral = normalised(coarser, f"down{level}_lateral", f"down{level}_lateral_bn")
        x = tf.nn.relu(np.repeat(np.repeat(lateral, 2, 1), 2, 2) + skip)
        for place in range(number):
            name = f"down{level}_{place}"
            branch = tf.nn.relu(normalised(x, f"{name}_conv1", f"{name}_bn1"))
            x = tf.nn.relu(x + normalised(branch, f"{name}_conv2", f"{name}_bn2"))
        np.testing.assert_allclose(found, x, rtol=2e-5, atol=2e-5)


def test_a_network_keeps_its_way_up_inside_a_model():
    # KerasCV's VGG16 names its pools, by which its features are found where there is nothing else.
    vgg = keras_cv.models.VGG16Backbone(include_rescaling=False, include_top=False, input_shape=(None, None, 3))
    network = top_down(fcn_levels(vgg))
    model = FCN(network, 2, head=fcn_head((256, 512, 512), 2, width=0))
    assert [one.name for one in model.backbone.outputs] == [one.name for one in network.outputs]


def test_wrong_ways_up_are_refused():
    backbone = torchvision_resnet(18, width=4, blocks=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="must have three outputs.*Received: 4. `zoo.fcn_levels"):
        top_down(backbone)
    for blocks in ((1,), (0, 1), 2):
        with pytest.raises(ValueError, match="`blocks` must be two whole numbers of 1 or more.*Received: "):
            top_down(fcn_levels(backbone), blocks)
    with pytest.raises(ValueError, match="`network` must be a network to features at strides of 8, 16 and 32"):
        top_down("resnet")
