"""Parts of FCN: the paper's size, a classifier's weights, where a cell lies, what is carried over."""

import resource

import h5py
import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from zoo import (
    FCN,
    carry_over,
    fcn_head,
    fcn_levels,
    load_vgg16_weights,
    torchvision_resnet,
    vgg16_normalisation,
)
from zoo.networks.segmentation import Bilinear, BilinearUpsampling

pytestmark = pytest.mark.convolutional
CHANNELS = (3, 4, 5)


@pytest.fixture
def quick(monkeypatch):
    """Weights that are there sooner than random ones."""
    for kind in (keras.initializers.GlorotUniform, keras.initializers.HeNormal):
        monkeypatch.setattr(kind, "__call__", lambda self, shape, dtype=None, **_: tf.zeros(shape, dtype))


def vgg():
    return keras_cv.models.VGG16Backbone(include_rescaling=False, include_top=False, input_shape=(None, None, 3))


def random_features(height, width, rows=1):
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=(rows, height * 2**level, width * 2**level, size)).astype("float32")
        for level, size in zip((2, 1, 0), CHANNELS, strict=True)
    ]


def test_fcn_32s_has_as_many_weights_as_the_papers(quick):
    """Long et al. 2015, table 1: 134 M. By hand: the convolutions of VGG16, 14,714,688 (Simonyan and Zisserman 2015);
    fc6 and fc7; and 21 scores."""
    model = FCN(vgg(), 21, stride=32)
    by_hand = 14_714_688 + (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 21
    assert model.backbone.count_params() + model.head.count_params() == by_hand == 134_346_581


def test_it_begins_with_what_a_classifier_says(quick):
    """In the middle of a 224 x 224 image all of fc6's window is there, and the scores are the classifier's logits, of
    keras.applications with its own preparation of images; its wide layers are narrow here, which keeps the test small.
    """
    rng = np.random.default_rng(0)
    classifier = narrow_classifier(rng)
    head = fcn_head((256, 512, 512), 10, 32, width=16)
    model = FCN(vgg(), 10, head=head, **vgg16_normalisation())
    load_vgg16_weights(model, classifier)
    scores = head.get_layer("score_fr")
    kernel, bias = classifier.get_layer("predictions").get_weights()
    scores.set_weights([kernel[None, None], bias])
    coarse = keras.Model(head.inputs, scores.output)
    images = rng.integers(0, 256, (1, 224, 224, 3)).astype("float32")
    pixels = (images / 255 - np.array(model.image_mean)) / np.array(model.image_std)
    found = coarse([*model.backbone(pixels.astype("float32")), tf.zeros(1, tf.int64)])
    expected = classifier(keras.applications.vgg16.preprocess_input(images.copy())).numpy()
    assert found.shape == (1, 7, 7, 10) and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found[:, 3, 3], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def narrow_classifier(rng):
    """keras.applications' VGG16 with logits, fc1 and fc2 16 wide, and random weights."""
    features = keras.applications.VGG16(include_top=False, weights=None, input_shape=(224, 224, 3))
    x = keras.layers.Flatten(name="flatten")(features.output)
    for name in ("fc1", "fc2"):
        x = keras.layers.Dense(16, activation="relu", name=name)(x)
    classifier = keras.Model(features.input, keras.layers.Dense(10, name="predictions")(x))
    for layer in classifier.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            deviation = (2 / np.prod(kernel.shape[:-1])) ** 0.5
            layer.set_weights([deviation * rng.normal(size=kernel.shape), 0.1 * rng.normal(size=bias.shape)])
    return classifier


def test_weights_of_something_else_are_refused(tmp_path):
    model = FCN(torchvision_resnet(18, width=4), 3, head=fcn_head((8, 16, 32), 3, width=0))
    with pytest.raises(FileNotFoundError, match="no file `.*none.h5`"):
        load_vgg16_weights(model, tmp_path / "none.h5")
    with pytest.raises(ValueError, match="must be those of a VGG16. Received: .*, without block1_conv1"):
        load_vgg16_weights(model, keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)]))


def write_h5(path, shape=(3, 3, 1, 1), names=("k", "b"), layer_names=None, **options):
    """A file of the layout of keras.applications', by h5py."""
    layers = [f"block{block}_conv{layer}" for block in range(1, 6) for layer in range(1, 3 + (block > 2))]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = layers if layer_names is None else layer_names
        for name in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = names
            group.create_dataset("k", shape, "f4", **options)
            group.create_dataset("b", (1,), "f4")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        # 28 kB that say they are 52 GB, 4 GB for each layer, which Keras allows and reads.
        (lambda path: write_h5(path, (2**15, 2**15, 1, 1), chunks=(1024, 1024, 1, 1)), "may take 268,435,456"),
        (lambda path: write_h5(path, names=("k",) * 3000), "has 3000 weights"),
        (lambda path: write_h5(path, names=3), "TypeError"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)), ""),
        (lambda path: path.write_bytes(b""), ""),
    ],
    ids=["sizes", "listed again and again", "a number for names", "broken", "empty"],
)
def test_files_of_strangers_are_refused_before_anything_is_read(tmp_path, write, message):
    """The sizes that are allowed are those of `zoo.archive`."""
    write(tmp_path / "vgg16.h5")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=f"does not hold the weights of .*VGG16: .*{message}.*Download it again"):
        load_vgg16_weights(None, tmp_path / "vgg16.h5")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2e5  # kB


@pytest.mark.parametrize("layer_names", [3, ["none"] * 13])
def test_files_that_are_wrong_in_other_ways_end_in_the_same_sentence(tmp_path, quick, layer_names):
    """Keras raises TypeError and KeyError."""
    write_h5(tmp_path / "vgg16.h5", layer_names=layer_names)
    with pytest.raises(
        ValueError, match="does not hold the weights of .*VGG16: (TypeError|KeyError).*Download it again"
    ):
        load_vgg16_weights(None, tmp_path / "vgg16.h5")


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_a_transposed_convolution_begins_as_bilinear_interpolation(factor):
    """Away from the border, where such a convolution fades to 0 and interpolation goes on with the last cell."""
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    convolution = keras.layers.Conv2DTranspose(
        3, 2 * factor, strides=factor, padding="same", use_bias=False, kernel_initializer=Bilinear()
    )
    found, expected = convolution(x).numpy(), BilinearUpsampling(factor)(x).numpy()
    inside = slice(factor // 2, -(factor // 2))
    assert found.shape == expected.shape == (2, 5 * factor, 4 * factor, 3)
    np.testing.assert_allclose(found[:, inside, inside], expected[:, inside, inside], atol=1e-5)


def test_interpolation_is_that_between_centres_of_cells():
    """Cells of 4 pixels at 1.5, 5.5 and 9.5, by hand."""
    x = np.array([0.0, 4.0, 2.0], "float32")
    found = BilinearUpsampling(4)(np.tile(x[None, None, :, None], (1, 2, 1, 1)))[0, 3, :, 0]
    np.testing.assert_allclose(found, np.interp(np.arange(12), [1.5, 5.5, 9.5], x), atol=1e-6)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_a_cell_lies_in_the_middle_of_its_pixels(stride):
    """What one cell of the coarsest features says is centred at the middle of its 32 x 32 pixels."""
    head = fcn_head(CHANNELS, 1, stride, width=0)
    head.get_layer("score_fr").set_weights([np.ones((1, 1, 5, 1)), np.zeros(1)])
    features = [np.zeros_like(one) for one in random_features(5, 5)]
    features[2][0, 2, 1] = 1
    said = head([*features, np.zeros(1, "int64")])[0, ..., 0].numpy()
    assert said.shape == (160, 160)
    centre = [(said * place).sum() / said.sum() for place in np.indices(said.shape)]
    np.testing.assert_allclose(centre, [2 * 32 + 15.5, 1 * 32 + 15.5], atol=1e-3)


@pytest.mark.parametrize(("stride", "scored"), [(32, 1), (16, 2), (8, 3)])
def test_scores_of_finer_features_are_added(stride, scored):
    """Without learned scores of the coarsest, the finest alone, interpolated; features beyond the stride do nothing."""
    head = fcn_head(CHANNELS, 2, stride, width=0, scales=(0.5, 0.25))
    features, keys = random_features(2, 3), np.zeros(1, "int64")
    rng = np.random.default_rng(1)
    assert sum(layer.name.startswith("score_") for layer in head.layers) == scored
    finest = {32: "score_fr", 16: "score_c4", 8: "score_c3"}[stride]
    layer = head.get_layer(finest)
    layer.set_weights([rng.normal(size=one.shape) for one in layer.get_weights()])
    kernel, bias = layer.get_weights()
    given = features[{32: 2, 16: 1, 8: 0}[stride]] * {32: 1, 16: 0.5, 8: 0.25}[stride]
    expected = BilinearUpsampling(stride)(given @ kernel[0, 0] + bias)
    np.testing.assert_allclose(head([*features, keys]), expected, atol=1e-5)


def test_dropout_is_of_its_rows():
    head = fcn_head(CHANNELS, 2, 8, width=6, kernel_size=3)
    head.get_layer("score_fr").set_weights([np.ones((1, 1, 6, 2)), np.zeros(2)])
    features = [np.repeat(one, 3, 0) for one in random_features(2, 2)]
    found = head([*features, np.array([5, 6, 5], "int64")], training=True).numpy()
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.01
    whole = head([*features, np.array([5, 6, 5], "int64")]).numpy()
    np.testing.assert_array_equal(whole[0], whole[1])


def test_each_stage_begins_with_the_one_before():
    heads = {stride: fcn_head(CHANNELS, 2, stride, width=6, kernel_size=3) for stride in (32, 16, 8)}
    rng = np.random.default_rng(0)
    for head in heads.values():
        head.set_weights([rng.normal(size=weight.shape) for weight in head.get_weights()])
    assert carry_over(heads[32], heads[16]) == ["upscore_to_c4", "score_c4"]
    assert carry_over(heads[16], heads[8]) == ["upscore_to_c3", "score_c3"]
    for layer in heads[16].layers:
        for one, other in (
            zip(layer.get_weights(), heads[8].get_layer(layer.name).get_weights(), strict=True)
            if (layer.weights)
            else ()
        ):
            np.testing.assert_array_equal(one, other)
    for name in ("fc6", "fc7", "score_fr"):
        np.testing.assert_array_equal(heads[8].get_layer(name).kernel, heads[32].get_layer(name).kernel)
    with pytest.raises(ValueError, match=r"layer 'fc6' do not fit. Expected shapes \[\(3, 3, 5, 8\), .*same width"):
        carry_over(heads[8], fcn_head(CHANNELS, 2, 8, width=8, kernel_size=3))
    with pytest.raises(ValueError, match="No layer of .* nothing can be carried over"):
        carry_over(heads[8], torchvision_resnet(18, width=4))


def test_features_are_found_in_each_kind_of_backbone():
    resnet = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 8, 8, 8],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=False,
        input_shape=(None, None, 3),
    )
    for backbone, channels in (
        (resnet, [8, 8, 8]),
        (torchvision_resnet(18, width=4, blocks=(1, 1, 1, 1)), [8, 16, 32]),
    ):
        levels = fcn_levels(backbone)(np.zeros((1, 64, 96, 3), "float32"))
        assert [one.shape for one in levels] == [
            (1, 8, 12, channels[0]),
            (1, 4, 6, channels[1]),
            (1, 2, 3, channels[2]),
        ]
    with pytest.raises(ValueError, match="features at strides of 8, 16 and 32.*Received: .* with 1."):
        fcn_levels(keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(2, 1)]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 4}, "`stride` must be one of 32, 16, 8. Received: 4"),
        ({"num_classes": 0}, "`num_classes` must be"),
        ({"dropout": 1.0}, "`dropout` must be a finite number of at least 0 and below 1"),
        ({"width": -1}, "`width` must be"),
        ({"channels": (1, 2)}, "must be those of three features"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fcn_head(**{"channels": CHANNELS, "num_classes": 2, **options})
