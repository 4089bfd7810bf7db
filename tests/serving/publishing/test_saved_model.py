"""Writing and publishing: right, small, complete or absent, numbered, with card, warm-up and models.config."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.helpers.seeds import seed
from zoo import (
    conv_decoder,
    conv_encoder,
    dcgan_critic,
    dcgan_discriminator,
    dcgan_generator,
    patch_discriminator,
    resnet_generator,
    torchvision_resnet,
)
from zoo.serving import publish, run_native, write
from zoo.serving.formats.model_card import CARD_FILE
from zoo.serving.formats.warmup import WARMUP_FILE, read_warmup
from zoo.serving.loader import isolated
from zoo.serving.publishing import saved_model

LATENTS = {"latents": tf.TensorSpec((None, 4))}
SEED = {"seed": tf.TensorSpec((None,), "int64")}


def tiny(units=3):
    """A stand-in for a GAN: served through `signatures()` alone, with a critic that nothing serves."""
    generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])

    def images(latents):
        return {"images": generator(latents, training=False)}

    def sample(seed):
        draw = lambda s: tf.random.stateless_normal([4], tf.stack([s, tf.zeros_like(s)]), alg="philox")  # noqa: E731
        return images(tf.map_fn(draw, seed, fn_output_signature=tf.float32))

    return SimpleNamespace(
        generator=generator,
        variables=generator.variables,
        signatures=lambda: {"serving_default": (images, LATENTS), "sample": (sample, SEED)},
    )


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def without_the_loader(monkeypatch):
    """Skip the check in the native loader, for tests of what comes after it."""
    monkeypatch.setattr(saved_model, "_compare", lambda *_: {})


@contextlib.contextmanager
def full_disk(size):
    """Let no file grow beyond `size` bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A base directory with one model, published once with its own warm-up."""
    seed()
    base, model = tmp_path_factory.mktemp("exports"), tiny()
    model.warmup = lambda: [("serving_default", {"latents": np.eye(4)[:3]})]
    card = {"data": "none", "command": "pytest", "figures": {"fid": np.float32(0.5)}}
    return base, model, publish(model, base, "tiny_gan", card=card)


# Writing


def test_saves_only_what_is_used(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)  # makes the optimizer's variables
    model.critic = keras.layers.Dense(1000)
    model.critic.build((None, 1000))
    write({"serving_default": (lambda latents: {"y": model(latents)}, LATENTS)}, tmp_path / "1", track=[model])
    shapes = [shape for name, shape in tf.train.list_variables(f"{tmp_path}/1/variables/variables") if shape]
    assert sorted(shapes) == [[3], [4, 3]]
    assert entries(tmp_path) == ["1"]


def test_lookup_tables_of_layers_and_alone(tmp_path):
    layer = keras.layers.StringLookup(vocabulary=["cat", "dog"])
    model = keras.Sequential([keras.Input((2,), dtype="string"), layer])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["cat"], [7]), -1)
    signatures = {
        "serving_default": (
            lambda text: {"ids": model(text), "codes": table.lookup(text)},
            {"text": tf.TensorSpec((None, 2), "string")},
        )
    }
    path = write(signatures, tmp_path / "1", track=[model, table])
    result = run_native(path, "serving_default", {"text": [["dog", "cat"], ["cow", ""]]})
    assert result["ids"].tolist() == [[2, 1], [0, 0]]
    assert result["codes"].tolist() == [[-1, 7], [-1, -1]]


def image_networks():
    """Every kind of network of images there is, whose signature takes what it does."""
    shape, levels = (16, 16, 1), torchvision_resnet(18, width=4, blocks=(1, 1, 1, 1))
    return {
        "serving_default": dcgan_generator(shape, 4, 4),
        "discriminator": dcgan_discriminator(shape, 4),
        "critic": dcgan_critic(shape, 4),
        "encoder": conv_encoder(shape, 4, 4),
        "decoder": conv_decoder(shape, 4, 4),
        "translator": resnet_generator(shape, 4, 1),
        "patches": patch_discriminator(shape, 4),
        "residual": keras.Model(levels.inputs, levels.outputs[-1]),
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("onednn", ["0", "1"])
def test_networks_of_images_take_a_batch_without_rows(tmp_path, monkeypatch, onednn):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    networks, signatures, requests = image_networks(), {}, []
    for name, network in networks.items():
        shape = [16 if size is None else size for size in network.input_shape[1:]]
        spec = tf.TensorSpec(network.input_shape, "float32")
        signatures[name] = (lambda given, network=network: {"made": network(given, training=False)}, {"given": spec})
        requests += [(name, {"given": np.zeros((rows, *shape), "float32")}) for rows in (1, 0)]
    path = write(signatures, tmp_path / "1", track=list(networks.values()), warmup=requests)
    answers = iter(isolated.run_all(path, requests)[1])
    for name in networks:
        one, none = next(answers), next(answers)
        assert isinstance(none, dict), f"{name}: {none}"
        assert none["made"].shape == (0, *one["made"].shape[1:])


def test_rows_that_are_there_stay_as_they_are(tmp_path):
    def signature(given, flags):
        return {"made": 2 * given, "flags": ~flags, "numbers": tf.range(tf.shape(given)[0])}

    specs = {"given": tf.TensorSpec((None, None), "int64"), "flags": tf.TensorSpec((None,), "bool")}
    path = write(
        {"serving_default": (signature, specs)},
        tmp_path / "1",
        track=[],
        warmup=[("serving_default", {"given": np.ones((1, 1), "int64"), "flags": [True]})],
    )
    counts = (0, 1, 3)
    requests = [{"given": np.arange(2 * rows).reshape(rows, 2), "flags": np.ones(rows, bool)} for rows in counts]
    _, answers = isolated.run_all(path, [("serving_default", request) for request in requests])
    for rows, request, answer in zip(counts, requests, answers, strict=True):
        given = request["given"]
        np.testing.assert_array_equal(answer["made"], 2 * given)
        assert answer["flags"].tolist() == [False] * rows and answer["numbers"].tolist() == list(range(rows))


def identity(**inputs):
    return inputs


REFUSED = {
    "no signature `serving_default`": {"sample": (identity, SEED)},
    "must return a dict of named tensors": {"serving_default": (lambda latents: latents, LATENTS)},
    "`output_0` of signature `serving_default` has no name": {
        "serving_default": (lambda latents: {"output_0": latents}, LATENTS)
    },
    "`seed` of signature `serving_default` is a scalar": {"serving_default": (identity, {"seed": tf.TensorSpec(())})},
    "`x` of signature `serving_default` has its batch dimension fixed: shape \\(8, 2\\)": {
        "serving_default": (identity, {"x": tf.TensorSpec((8, 2))})
    },
    "Output `mean` of signature `serving_default` is a scalar": {
        "serving_default": (lambda latents: {"mean": tf.reduce_mean(latents)}, LATENTS)
    },
    "Output `y` of signature `serving_default` is float16": {
        "serving_default": (lambda latents: {"y": tf.cast(latents, "float16")}, LATENTS)
    },
    "Output `y` of signature `serving_default` is bfloat16": {
        "serving_default": (lambda latents: {"y": tf.cast(latents, "bfloat16")}, LATENTS)
    },
    "Output `y` of signature `serving_default` must be a dense tensor": {
        "serving_default": (lambda latents: {"y": tf.RaggedTensor.from_tensor(latents)}, LATENTS)
    },
    "has no inputs": {"serving_default": (lambda: {"y": tf.zeros((1, 2))}, {})},
    "calls Python \\(PyFunc": {
        "serving_default": (
            lambda latents: {"y": tf.ensure_shape(tf.numpy_function(np.sin, [latents], "float32"), (None, 4))},
            LATENTS,
        )
    },
    "jit_compile=True": {
        "serving_default": (lambda latents: {"y": tf.function(tf.sin, jit_compile=True)(latents)}, LATENTS)
    },
    "must be a tf.TensorSpec": {"serving_default": (identity, {"x": tf.RaggedTensorSpec((None, None))})},
    "must be \\(function.*Received: function": {"serving_default": identity},
    "names the inputs `latents`; the function takes `z`": {"serving_default": (lambda z: {"y": z}, LATENTS)},
    "`signatures` must be a dict, such as .* Received: function": identity,
    "cannot be called": {"serving_default": ("identity", LATENTS)},
    "must be a Python name": {"serving_default": (identity, {"my input": tf.TensorSpec((None,))})},
}


@pytest.mark.parametrize("words", REFUSED)
def test_refuses_what_cannot_be_served(tmp_path, words):
    with pytest.raises((TypeError, ValueError), match=words):
        write(REFUSED[words], tmp_path / "1", track=[])
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("`model` must have `signatures\\(\\)`, as Zoo's models have. Received: Layer", {"model": keras.Layer()}),
        ("`model` must have .* Received: str", {"model": "exports"}),
        ("`base` must be a folder, such as 'exports'. Received: SimpleNamespace", {"base": SimpleNamespace()}),
        ("name is made of letters, digits and _, such as wgan_gp. Received: None", {"name": None}),
        ("`card` must be a dict .* Received: None", {"card": None}),
        ("`card` must be a dict .* Received: 'text'", {"card": "text"}),
    ],
)
def test_publish_checks_its_arguments(tmp_path, words, wrong):
    right = {"model": tiny(), "base": tmp_path, "name": "m", "card": {}}
    with pytest.raises(ValueError, match=words):
        publish(**{**right, **wrong})
    assert entries(tmp_path) == []


@pytest.mark.parametrize(("path", "track"), [(None, []), ("1", tiny)])
def test_write_checks_its_arguments(path, track):
    with pytest.raises(ValueError, match="`path` must be a folder|`track` must be a list .* Received: function"):
        write(tiny().signatures(), path, track=track)


def test_never_overwrites(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(FileExistsError, match="never overwritten"):
        write(tiny().signatures(), tmp_path / "1", track=[])
    assert entries(tmp_path / "1") == []


def test_full_disk_leaves_nothing(tmp_path):
    (tmp_path / "1").mkdir()
    model = tiny(units=50_000)
    with pytest.raises(OSError, match="could not be written .*earlier versions are unchanged") as info:
        with full_disk(100_000):
            write(model.signatures(), tmp_path / "2", track=[model])
    assert info.value.errno == errno.EFBIG and "{{" not in str(info.value)  # said as a disk would, not as TensorFlow
    assert entries(tmp_path) == ["1"]


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="Cannot write below .*file"):
        write(tiny().signatures(), tmp_path / "file" / "tiny" / "1", track=[])
    assert (tmp_path / "file").read_text() == "not a folder"


# Publishing


def test_published_version_is_whole(published):
    base, model, version = published
    assert version == base / "tiny_gan" / "1"
    assert entries(base) == ["models.config", "tiny_gan"] and entries(version.parent) == ["1"]
    seeds = np.arange(5)
    expected = model.signatures()["sample"][0](tf.constant(seeds))["images"]
    received = run_native(version, "sample", {"seed": seeds})["images"]
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


def test_card(published):
    card = json.loads((published[2] / CARD_FILE).read_text())
    assert (card["name"], card["version"], card["data"], card["figures"]) == ("tiny_gan", 1, "none", {"fid": 0.5})
    assert card["signatures"]["sample"] == {
        "inputs": {"seed": {"dtype": "int64", "shape": [None]}},
        "outputs": {"images": {"dtype": "float32", "shape": [None, 3]}},
    }
    assert card["versions"]["tensorflow"] == tf.__version__ and card["versions"]["keras"] == keras.__version__
    assert card["created"].endswith("+00:00")


def test_warmup_is_what_tf_serving_reads(published):
    records = list(tf.data.TFRecordDataset(str(published[2] / WARMUP_FILE)).as_numpy_iterator())
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [(r.model_spec.name, r.model_spec.signature_name) for r in requests] == [
        ("tiny_gan", "serving_default"),
        ("tiny_gan", "sample"),
    ]
    (_, own), (_, guessed) = read_warmup(published[2])
    np.testing.assert_array_equal(own["latents"], np.eye(4, dtype="float32")[:3])
    np.testing.assert_array_equal(guessed["seed"], [0, 1])


def test_write_keeps_warmup_under_the_name_of_the_folder_above(tmp_path):
    requests = [("sample", {"seed": np.array([7])})]
    model = tiny()
    write(model.signatures(), tmp_path / "mine" / "1", track=[model], warmup=requests)
    (name, inputs), _ = read_warmup(tmp_path / "mine" / "1")
    assert name == "sample" and inputs["seed"].tolist() == [7]
    assert b"mine" in (tmp_path / "mine" / "1" / WARMUP_FILE).read_bytes()
    with pytest.raises(ValueError, match="Warm-up names the signature `draw`"):
        write(model.signatures(), tmp_path / "mine" / "2", track=[model], warmup=[("draw", {})])
    assert entries(tmp_path / "mine") == ["1"]


def test_models_config_lists_models_with_a_version(published):
    base = published[0]
    (base / "empty").mkdir(exist_ok=True)
    (base / "not served").mkdir(exist_ok=True)
    saved_model.write_config(base)
    config = text_format.Parse((base / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("tiny_gan", "/models/tiny_gan", "tensorflow")


def test_versions_go_up(tmp_path, monkeypatch):
    without_the_loader(monkeypatch)
    model = tiny()
    (tmp_path / "m" / "9").mkdir(parents=True)
    (tmp_path / "m" / "11").write_text("a stray file")
    assert publish(model, tmp_path, "m", card={}).name == "12"


def test_two_publishers_at_once(tmp_path, monkeypatch):
    together = threading.Barrier(2)
    monkeypatch.setattr(saved_model, "_compare", lambda *_: {"passed": together.wait()} and {})
    models, made = [tiny(), tiny()], []
    threads = [threading.Thread(target=lambda m=m: made.append(publish(m, tmp_path, "m", card={}))) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in made) == ["1", "2"] == entries(tmp_path / "m")
    for path in made:
        assert json.loads((path / CARD_FILE).read_text())["version"] == int(path.name)


@pytest.mark.parametrize("name", ["../x", "", "a b", "a/b", "café", "x\n"])
def test_bad_names(tmp_path, name):
    with pytest.raises(ValueError, match="letters, digits and _"):
        publish(tiny(), tmp_path, name, card={})
    assert entries(tmp_path) == []


def test_bad_cards(tmp_path):
    with pytest.raises(ValueError, match="version are filled in"):
        publish(tiny(), tmp_path, "m", card={"version": 3})
    with pytest.raises(ValueError, match="must be JSON"):
        publish(tiny(), tmp_path, "m", card={"figures": {"fid": np.nan}})
    with pytest.raises(ValueError, match="Received: object"):
        publish(tiny(), tmp_path, "m", card={"model": object()})


def test_bad_warmup(tmp_path):
    for words, warmup in {
        "names the signature `other`": [("other", {})],
        "must give the inputs seed. Received: z": [("sample", {"z": [0]})],
        "`warmup` must be a list of .signature, .* It holds: 'sample'": {"sample": {"seed": [0]}},
        "Input `seed` of the warm-up for `sample` must be int64. Received: float64": [("sample", {"seed": [0.7]})],
        "at most 1000 warm-up requests": [("sample", {"seed": [0]})] * 1001,
    }.items():
        with pytest.raises(ValueError, match=words):
            publish(tiny(), tmp_path, "m", card={}, warmup=warmup)
    text = SimpleNamespace(
        signatures=lambda: {"serving_default": (identity, {"ids": tf.TensorSpec((None, None), "int32")})}
    )
    with pytest.raises(ValueError, match="cannot be guessed from shape"):
        publish(text, tmp_path, "m", card={})
    assert entries(tmp_path) == []


def test_an_export_that_differs_is_not_published(published):
    base = published[0]
    before = (base / "models.config").read_bytes()
    random = SimpleNamespace(
        signatures=lambda: {
            "serving_default": (lambda latents: {"y": latents + tf.random.uniform([tf.shape(latents)[0], 4])}, LATENTS)
        }
    )
    with pytest.raises(ValueError, match="Nothing was published: output `y` .* not what the model gives"):
        publish(random, base, "tiny_gan", card={})
    picky = SimpleNamespace(
        signatures=lambda: {
            "serving_default": (
                lambda text: {"y": tf.strings.to_number(text)},
                {"text": tf.TensorSpec((None,), "string")},
            )
        }
    )
    with pytest.raises(ValueError, match="Nothing was published: signature `serving_default` fails"):
        publish(picky, base, "tiny_gan", card={})  # the guessed warm-up, empty text, is no number
    assert entries(base / "tiny_gan") == ["1"] and (base / "models.config").read_bytes() == before


def test_full_disk_hurts_no_version(published):
    base = published[0]
    with pytest.raises(OSError, match="earlier versions are unchanged"), full_disk(100_000):
        publish(tiny(units=50_000), base, "tiny_gan", card={})
    with pytest.raises(OSError), full_disk(100_000):
        publish(tiny(units=50_000), base, "other", card={})
    assert entries(base / "tiny_gan") == ["1"] and not (base / "other").exists()


@pytest.mark.exhaustive
def test_killed_in_the_middle(published, monkeypatch):
    base, model, _ = published
    code = """
import os, signal, sys
import keras, tensorflow as tf
from zoo.serving import publish
from zoo.serving.loader import isolated

class Model:
    def signatures(self):
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        return {"serving_default": (lambda latents: {"y": network(latents)}, {"latents": tf.TensorSpec((None, 4))})}

isolated.run_all = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # written, not yet checked
publish(Model(), sys.argv[1], "tiny_gan", card={})
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), TF_CPP_MIN_LOG_LEVEL="3")
    process = subprocess.run([sys.executable, "-c", code, base], env=environment, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    (partial,) = [name for name in entries(base / "tiny_gan") if name != "1"]
    assert partial.startswith(".next.partial-")  # TF Serving passes over it
    os.utime(base / "tiny_gan" / partial, (0, 0))
    without_the_loader(monkeypatch)
    assert publish(model, base, "tiny_gan", card={}).name == "2"
    assert entries(base / "tiny_gan") == ["1", "2"]  # and the next publisher removes it
