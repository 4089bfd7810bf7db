"""Networks are ordinary Keras models: of one's own class, too, once they were built."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.conformance.rows import ROWS, compile_sgd, fit, largest_difference, output, weights
from zoo import FCN, GAN, Autoencoder, MaskRCNN, mlp_critic, mlp_decoder, mlp_encoder, mlp_generator
from zoo.training import with_shapes


@keras.saving.register_keras_serializable("tests_own_networks")
class Own(keras.Model):
    """A subclass whose `call` runs a network."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs, training=False):
        return self.inner(inputs, training=training)

    def get_config(self):
        return {"inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["inner"]))


def own(network):
    made = Own(network)
    # Two rows: the number is not to stay.
    made(np.zeros((2, *(side or 16 for side in network.input_shape[1:])), "float32"))
    return made


# {row: the networks that are to be of one's own class}.
OWN = {
    "gan_minimax_ema": ("generator", "discriminator"),
    "vae": ("encoder", "decoder"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_network_of_ones_own_class_trains_and_is_saved_as_any_other(name, tmp_path):
    row, models = ROWS[name], []
    for change in (lambda network: network, own):
        keras.utils.set_random_seed(0)
        first = row.build()
        given = {key: keras.saving.deserialize_keras_object(value) for key, value in first.get_config().items()}
        networks = {attribute: change(getattr(first, attribute)) for attribute in OWN[name]}
        models.append(type(first)(**{**given, **networks}))
    plain, owned = models
    assert owned.example_shape == plain.example_shape
    for model in models:
        compile_sgd(model, row.learning_rate)
        fit(model, row.examples(16), epochs=2)
    assert largest_difference(weights(plain), weights(owned)) == 0
    owned.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(output(zoo.load(tmp_path / "model.keras")), output(owned))
    # What is served takes any number of rows.
    served = [spec.shape[0] for _, inputs in owned.signatures().values() for spec in inputs.values()]
    assert {*served} == {None}


def test_networks_of_cycle_gan_of_ones_own_class():
    first = ROWS["cycle_gan"].build()
    networks = [own(getattr(first, name)) for names, _ in ROWS["cycle_gan"].trains.values() for name in names]
    model = zoo.CycleGAN(*networks)
    assert model.example_shape == (16, 16, 1)
    assert model.translate(np.zeros((3, 16, 16, 1))).shape == (3, 16, 16, 1)


def test_a_sequential_model_that_was_built_by_a_call_takes_any_number_of_rows():
    decoder = keras.Sequential([keras.layers.Dense(2)])
    decoder(np.zeros((5, 3), "float32"))
    model = Autoencoder(mlp_encoder((2,), 3), decoder)
    assert model.decode(np.zeros((7, 3))).shape == (7, 2)


class Untraceable(keras.layers.Layer):
    """Looks at values, of which an input has none."""

    def call(self, inputs):
        return inputs if float(inputs[0, 0].numpy()) else inputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GAN(Own(mlp_generator((2,))), mlp_critic((2,))),
            "The generator has no fixed .* Call it once, on a batch",
        ),
        (lambda: GAN(mlp_generator, mlp_critic((2,))), r"Call it: `mlp_generator\(...\)`"),
        (
            lambda: Autoencoder(mlp_encoder((2,), 3), Own(mlp_decoder((2,), 3))),
            "The decoder has no fixed input and output",
        ),
        (
            lambda: FCN(Own(ROWS["fcn"].build().backbone), 3),
            "The backbone has no fixed inputs and outputs. .*one of a class",
        ),
        (
            lambda: MaskRCNN(
                zoo.torchvision_resnet(18, width=4), 2, feature_pyramid=Own(zoo.feature_pyramid([4, 8, 16, 32], 8))
            ),
            "The feature_pyramid has no fixed inputs and outputs. .* a functional `keras.Model`",
        ),
    ],
)
def test_what_has_no_shapes_yet_is_refused_with_advice(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_cannot_be_traced_is_refused_with_advice():
    layer = Untraceable()
    layer(tf.ones((2, 3)))
    with pytest.raises(ValueError, match=r"The critic was built for inputs of shape \(2, 3\), and cannot be called on"):
        with_shapes(critic=layer)


def test_a_backbone_of_ones_own_class_segments():
    first = ROWS["fcn"].build()
    backbone = Own(first.backbone)
    backbone(keras.Input((None, None, 3)))
    model = FCN(backbone, 3, head=first.head, image_size=(32, 32))
    assert model.segment(np.zeros((1, 40, 36, 3), "uint8")).shape == (1, 40, 36)
