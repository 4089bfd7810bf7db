"""Networks are ordinary Keras models: of one's own class, too, once they were built."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.helpers.rows import ROWS, compile_sgd, fit, largest_difference, weights
from tests.helpers.seeds import seed
from zoo import FCN, GAN, WGANGP, Autoencoder, MaskRCNN, mlp_critic, mlp_decoder, mlp_encoder, mlp_generator
from zoo.serving import run_native
from zoo.training import with_shapes
from zoo.training.optimizers import check_not_synchronised


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


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OWN)
def test_a_network_of_ones_own_class_trains_and_is_saved_as_any_other(name, tmp_path):
    row, models = ROWS[name], []
    for change in (lambda network: network, own):
        seed()
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
    output = row.examples.output
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


def sequential(size, *layers):
    return keras.Sequential([keras.Input(size if isinstance(size, tuple) else (size,)), *layers])


def of_layer(layer):
    """A functional network of one layer, which others may share."""
    inputs = keras.Input((2,))
    return keras.Model(inputs, layer(inputs))


def one_network():
    network = sequential(2, keras.layers.Dense(2, use_bias=False))
    return network, network


def one_layer():
    layer = keras.layers.Dense(2, use_bias=False)
    return of_layer(layer), of_layer(layer)


def one_own_network():
    network = own(sequential(2, keras.layers.Dense(2, use_bias=False)))
    return network, network


@pytest.mark.parametrize("networks", [one_network, one_layer, one_own_network])
def test_a_weight_that_networks_share_moves_once_by_the_gradients_of_all_its_places(networks, tmp_path):
    """Of the mean of |x W W - x|^2: x'(E W') of the first place and (x W)'E of the second, E = 2 (x W W - x) / rows."""
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    model = Autoencoder(*networks())
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    (kernel,) = model.trainable_variables
    weight = kernel.numpy()
    model.train_on_batch(x)
    error = 2 * (x @ weight @ weight - x) / len(x)
    gradient = x.T @ (error @ weight.T) + (x @ weight).T @ error
    np.testing.assert_allclose(kernel.numpy() - weight, -0.01 * gradient, rtol=1e-4, atol=1e-6)
    if networks is one_layer:
        with pytest.raises(
            ValueError, match="The encoder and the decoder share the layer 'dense.*`model.save_weights`"
        ):
            model.save(tmp_path / "model.keras")
        path = tmp_path / "model.weights.h5"
        model.save_weights(path)
        loaded = Autoencoder(*networks())
        loaded.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
        loaded.load_weights(path)
    else:
        model.save(tmp_path / "model.keras")
        loaded = zoo.load(tmp_path / "model.keras")
    for one in (model, loaded):
        one.train_on_batch(x)
    np.testing.assert_array_equal(loaded.trainable_variables, model.trainable_variables)


class Block(keras.layers.Layer):
    """Runs a layer that is no network."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)


class Forgetful(keras.layers.Dense):
    """Its configuration does not tell how wide it is."""

    def __init__(self, units=2, **kwargs):
        super().__init__(units, **kwargs)

    def get_config(self):
        return {"name": self.name}


def normalised(layer, size=2):
    return sequential(size, layer, keras.layers.Flatten(), keras.layers.Dense(1))


def compiled_with_one_layer():
    layer = keras.layers.Dense(2)
    judge = keras.Model(inputs := keras.Input((2,)), keras.layers.Dense(1)(layer(inputs)))
    GAN(of_layer(layer), judge).compile()


def keyed(outputs=True):
    inputs = keras.Input((2,), name="a")
    made = keras.layers.Dense(2)(inputs)
    return keras.Model(inputs, {"a": made}) if outputs else keras.Model({"a": inputs}, made)


dense, batch_norm = keras.layers.Dense, keras.layers.BatchNormalization


def judged(*layers):
    return lambda: GAN(mlp_generator((2,)), sequential(2, dense(3), *layers))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            compiled_with_one_layer,
            "share the weight `dense.*/kernel`, which `discriminator_optimizer` and `generator_o",
        ),
        (lambda: WGANGP(mlp_generator((2,)), normalised(Block(batch_norm()))), "critic must have no batch normal"),
        (
            lambda: WGANGP(
                sequential(2, dense(8), keras.layers.Reshape((4, 2))),
                normalised(keras.layers.TimeDistributed(batch_norm()), (4, 2)),
            ),
            "critic must have no batch normalisation",
        ),
        (
            lambda: check_not_synchronised("critic", normalised(Block(batch_norm(synchronized=True)))),
            "The critic has batch normalisation that meets",
        ),
        (judged(keras.Sequential([dense(1, "sigmoid")])), "Received: activation 'sigmoid' at its end"),
        (judged(dense(1), keras.layers.Activation("sigmoid"), keras.layers.Reshape((1,))), "activation 'sigmoid'"),
        (judged(Block(dense(1, lambda x: tf.sigmoid(x)))), "activation 'sigmoid'"),
        (lambda: GAN(mlp_generator((2,)), own(sequential(2, dense(1, "sigmoid")))), "activation 'sigmoid'"),
        (lambda: GAN(keyed(), mlp_critic((2,))), "must take one tensor and return one. Received: its output is a dict"),
        (lambda: GAN(keyed(outputs=False), mlp_critic((2,))), "Received: its input is a dict with 'a'"),
        (lambda: GAN(own(keyed()), mlp_critic((2,))), "Received: its output is a dict with 'a'"),
        (
            lambda: GAN(sequential(3, Forgetful(5), dense(2)), mlp_critic((2,)), generator_ema=0.9),
            "could not be made of its configuration: .* The `get_config` of each layer of a class of your own must",
        ),
        (
            lambda: Autoencoder(own(mlp_encoder((2,), 3)), mlp_decoder((2,), 3), sparsity="kl"),
            r"must end in a sigmoid, .* Received: codes from -\d",
        ),
    ],
)
def test_networks_that_cannot_be_trained_so_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_ends_in_activities_of_ones_own_is_taken():
    encoder = own(mlp_encoder((2,), 3, output_activation="sigmoid"))
    for network in (encoder, sequential(2, dense(3), keras.layers.Activation("hard_sigmoid"))):
        assert Autoencoder(network, mlp_decoder((2,), 3), sparsity="kl").code_dim == 3


def test_layers_in_float16_alone_have_their_loss_scaled():
    model = Autoencoder(sequential(2, dense(3, dtype="mixed_float16")), mlp_decoder((2,), 3))
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_grouped_convolutions_are_served(tmp_path):
    """Keras has XLA compile them, of which TF Serving has none; `run_native` is its loader."""
    layers = keras.layers
    grouped = [
        layers.Reshape((16, 4)),
        layers.Conv1D(8, 3, padding="causal", groups=4),
        layers.Reshape((8, 4, 4)),
        layers.Conv2D(4, 3, 2, "same", groups=2),
        layers.Reshape((2, 2, 2, 4)),
        layers.Conv3D(6, 2, groups=2, activation="tanh"),
    ]
    encoder = sequential((8, 4, 2), *grouped, layers.Flatten(), dense(3))
    model = Autoencoder(encoder, sequential(3, dense(64), layers.Reshape((8, 4, 2))))
    model.export(tmp_path / "1")
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 4, 2)).astype("float32")
    served = run_native(tmp_path / "1", "encode", {"images": images})["codes"]
    np.testing.assert_allclose(served, model.encode(images), rtol=1e-5, atol=1e-6)


def test_what_keras_compiles_itself_and_no_server_runs_is_named(tmp_path):
    volumes = keras.layers.Conv3D(2, 2, data_format="channels_first", name="volumes")
    encoder = sequential((2, 2, 2, 2), volumes, keras.layers.Flatten(), dense(3))
    model = Autoencoder(encoder, sequential(3, dense(16), keras.layers.Reshape((2, 2, 2, 2))))
    with pytest.raises(ValueError, match="it is called by `.*/volumes.*; export .* `data_format='channels_last'`"):
        model.export(tmp_path / "1")
