"""A model file is loaded in a process that knows its class alone, or nothing but `zoo.load`."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.rows import ROWS
from zoo import (
    GAN,
    VAE,
    RecurrentSeq2Seq,
    Seq2Seq,
    Vocabulary,
    mlp_critic,
    mlp_decoder,
    mlp_encoder,
    saving,
)
from zoo.networks.recompute import Recompute
from zoo.schedules import ConstantThenLinear
from zoo.training import SGD, Muon

GOLDEN = sorted((Path(__file__).parent / "conformance" / "golden").glob("*.keras"))
ROOT = Path(__file__).parents[1]
# Loads each of many files in a fork of a process that knows Keras alone: importing TensorFlow takes seconds.
LOADS = """
import json, os, sys
import keras
assert not [name for name in sys.modules if name.partition(".")[0] == "zoo"]
failed = False
for statement, load, paths in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        try:
            space = {"keras": keras}
            exec(statement, space)
            for path in paths:
                model = eval(load, space)(path)
                print(path, type(model).__name__, len(model.weights), *[type(one).__name__ for one in model.optimizers])
            sys.stdout.flush()
            os._exit(0)
        except BaseException as error:
            print(f"{statement}; {path}: {str(error)[:300]}", file=sys.stderr, flush=True)
            os._exit(1)
    failed = bool(os.waitpid(child, 0)[1]) or failed
sys.exit(failed)
"""


def speaker():
    words = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "\u2581a", "\u2581b"])
    return Seq2Seq(RecurrentSeq2Seq(6, width=4), words)


def recomputed():
    block = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), Recompute(block), keras.layers.Dense(2)])
    return GAN(generator, mlp_critic((2,), (4,)))


def shared_scale():
    # A posterior with a full covariance of two latents: 2 means, 3 entries of its factor.
    return VAE(
        mlp_encoder((2,), 5, (4,)),
        mlp_decoder((2,), 2, (4,), scale="shared"),
        likelihood="normal",
        posterior="full_normal",
    )


# What a file may hold besides what the rows and the papers' optimizers bring: {name: (model, optimizer or None)}.
MORE = {
    "decaying": (ROWS["cycle_gan"].build, lambda: keras.optimizers.Adam(ConstantThenLinear(1e-4, 5, 5))),
    "muon": (ROWS["fcn"].build, lambda: Muon(1e-3)),
    "decayed": (ROWS["fcn"].build, lambda: SGD(1e-3, weight_decay=1e-4)),
    "speaker": (speaker, None),
    "recomputed": (recomputed, None),
    "shared_scale": (shared_scale, None),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Golden files, one of each row of the table of models that has none, and what else a file may hold."""
    folder, found = tmp_path_factory.mktemp("files"), list(GOLDEN)
    rows = {name: (row.build, None) for name, row in ROWS.items() if name not in {path.stem for path in GOLDEN}}
    for name, (build, optimizer) in {**rows, **MORE}.items():
        model = build()
        model.compile(*(optimizer() for _ in model.optimizer_networks if optimizer))
        found.append(folder / f"{name}.keras")
        model.save(found[-1])
    return found


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


@pytest.mark.exhaustive
def test_files_load_by_their_class_alone_and_by_no_class(files):
    classes = {}
    for path in files:
        classes.setdefault(config_of(path)["class_name"], []).append(str(path))
    assert classes.keys() == {name for name, module in saving.homes().items() if module.startswith("zoo.models.")}
    jobs = [(f"from zoo import {name}", "keras.models.load_model", paths) for name, paths in classes.items()]
    jobs.append(("import zoo", "zoo.load", [str(path) for path in files]))
    run = subprocess.run(
        [sys.executable, "-c", LOADS, json.dumps(jobs)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    loaded = run.stdout.splitlines()
    assert len(loaded) == 2 * len(files)
    by_class, by_none = sorted(loaded[: len(files)]), sorted(loaded[len(files) :])
    assert by_class == by_none
    assert sum(line.endswith(" Muon") for line in loaded) == 2


def test_each_registered_class_is_in_a_file_that_is_loaded(files):
    named = {name for path in files for name in saving._named_in(config_of(path))}
    # A CycleGAN makes its pools itself.
    assert named | {"zoo>ImagePool"} == {f"zoo>{name}" for name in saving.homes()}


def leaves(base):
    """Classes of Zoo made from one of Keras, of which no others are made; those that change data are in no model."""
    for one in base.__subclasses__():
        yield from leaves(one)
        if one.__module__.startswith("zoo.") and one.__module__[:9] != "zoo.data." and not any(leaves(one)):
            yield one


def test_what_keras_saves_is_registered_and_is_found():
    """What is registered in another form than `saving.homes` looks for would be missed."""
    keras_has = {name for name in keras.saving.get_custom_objects() if name.startswith("zoo>")}
    for name in zoo.__all__:
        getattr(zoo, name)
    bases = (
        *(keras.Layer, keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule),
        *(keras.initializers.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint),
    )
    # What begins with "_" is a part of another class, which makes it.
    made = {one.__name__ for base in bases for one in leaves(base) if one.__name__[0] != "_"}
    assert made and made <= saving.homes().keys()
    assert keras_has <= {f"zoo>{name}" for name in saving.homes()}


def test_a_run_folder_is_loaded_by_its_name(files, tmp_path):
    path = next(path for path in files if path.stem == "wgan_gp")
    (tmp_path / "model.keras").write_bytes(path.read_bytes())
    loaded = zoo.load(tmp_path)
    assert loaded.compiled and loaded.steps_taken == 1
    assert not zoo.load(str(path), compile=False).compiled
    np.testing.assert_array_equal(zoo.load(path).generate(2), loaded.generate(2))


def test_a_network_alone_is_loaded(tmp_path):
    zoo.torchvision_resnet(18, width=4, blocks=(1, 1, 1, 1)).save(tmp_path / "network.keras")
    assert len(zoo.load(tmp_path / "network.keras").outputs) == 4


class Doubled(keras.layers.Layer):
    """Of nobody's package."""

    def call(self, inputs):
        return 2 * inputs


keras.saving.register_keras_serializable("elsewhere")(Doubled)


def test_classes_from_elsewhere_are_named(tmp_path, monkeypatch):
    path = tmp_path / "network.keras"
    keras.Sequential([keras.Input((2,)), Doubled()]).save(path)
    assert zoo.load(path)(np.ones((1, 2)))[0, 0] == 2
    monkeypatch.delitem(keras.saving.get_custom_objects(), "elsewhere>Doubled")
    with pytest.raises(
        ValueError, match="'elsewhere>Doubled' of .*test_saving.* Import the module that .* first"
    ) as error:
        zoo.load(path)
    assert len(str(error.value)) < 400 + len(str(path))
    for name in ("Doubled", "elsewhere>Doubled"):
        assert zoo.load(path, custom_objects={name: Doubled})(np.ones((1, 2)))[0, 0] == 2


def test_classes_of_another_version_are_named(tmp_path):
    path = tmp_path / "model.keras"
    config = {"module": "zoo.models.later", "class_name": "Later", "registered_name": "zoo>Later", "config": {}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with pytest.raises(ValueError, match="'zoo>Later' of zoo.models.later. They are of another version of Zoo"):
        zoo.load(path)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda folder: folder / "no.keras",
            FileNotFoundError,
            r"There is no .*no.keras. .*finished run. Beside it: a.k",
        ),
        (lambda folder: folder, FileNotFoundError, r"holds no model.keras.* Name one of these: a.keras"),
        (lambda folder: folder / "run", FileNotFoundError, "has not come to its end: give the command .* again"),
        (lambda folder: folder / "export", FileNotFoundError, "It is an export: `zoo.serving.SavedModel` runs it"),
        (lambda folder: folder / "empty", FileNotFoundError, "`model.save` writes such a file"),
        (lambda folder: written(folder / "x.weights.h5", b""), ValueError, "weights alone: build the model"),
        (lambda folder: written(folder / "x.h5", b""), ValueError, r"from a .keras file, a zip archive. Received"),
        (lambda folder: written(folder / "x.keras", b"PK"), ValueError, "It is damaged, or was not copied to its end"),
        (lambda folder: folder / "a.keras", ValueError, "a.keras is damaged, or no file of Keras 3: .*config.json"),
    ],
)
def test_what_is_no_model_is_refused_with_advice(make, error, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("other.json", "{}")
    written(tmp_path / "run" / "checkpoints" / "latest.weights.h5", b"")
    written(tmp_path / "export" / "1" / "saved_model.pb", b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        zoo.load(make(tmp_path))
