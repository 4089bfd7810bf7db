"""Imports point one way, and cost nothing before they are used."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each room may import of the others; `archive`, `checks`, `confusion`, `documents`, `encoded`, `files`,
# `random`, `rows`, `saving` and `tfrecord` are below all.
ALLOWED = {
    "archive": set(),
    "checks": set(),
    "files": set(),
    "documents": set(),
    "masks": {"documents"},
    "random": set(),
    "rows": set(),
    "confusion": set(),
    "encoded": set(),
    "saving": set(),
    "tfrecord": set(),
    "normalisation": set(),
    "vocabulary": {"checks", "normalisation"},
    "launch": set(),
    "__main__": {"cli"},
    "ot": {"checks"},
    "decoding": {"checks", "random"},
    "losses": {"checks", "ot"},
    "distributions": {"checks"},
    "detection": {"rows"},
    "training": {"checks", "confusion", "decoding", "detection", "encoded", "random", "rows", "serving", "vocabulary"},
    "unpickling": {"archive"},
    "networks": {"archive", "checks", "random", "unpickling"},
    "schedules": {"checks"},
    "models": {
        "checks",
        "detection",
        "distributions",
        "encoded",
        "losses",
        "networks",
        "ot",
        "random",
        "rows",
        "saving",
        "schedules",
        "training",
        "vocabulary",
    },
    "data": {"archive", "checks", "documents", "files", "masks", "random", "tfrecord", "vocabulary"},
    "metrics": {"archive", "checks", "confusion", "documents", "files", "masks"},
    "serving": {"checks", "files", "rows", "tfrecord"},
    "cli": {"files", "pictures", "pictures_of_detections", "pictures_of_segmentation", "serving"},
    "pictures": {"files"},
    "pictures_of_detections": set(),
    "pictures_of_segmentation": {"checks", "pictures_of_detections"},
    "callbacks": {"checks", "files", "pictures"},
    "evaluation": {"checks", "detection", "metrics"},
    "runs": {
        "checks",
        "data",
        "callbacks",
        "evaluation",
        "files",
        "losses",
        "pictures",
        "pictures_of_detections",
        "pictures_of_segmentation",
        "saving",
        "serving",
        "training",
        "vocabulary",
    },
}
# The same within `serving`; publishing holds exports to the rules of checking, and alone imports TensorFlow.
ALLOWED_IN_SERVING = {
    "formats": set(),
    "loader": {"formats"},
    "client": {"formats"},
    "checking": {"formats", "loader", "client"},
    "publishing": {"formats", "loader", "checking"},
    "server": {"formats", "loader"},
}
ROOMS = [("zoo", room, allowed) for room, allowed in ALLOWED.items()]
ROOMS += [("zoo.serving", room, allowed) for room, allowed in ALLOWED_IN_SERVING.items()]


def modules_imported(path):
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def files_of(package, room):
    folder = ROOT.joinpath(*package.split("."), room)
    return sorted(folder.glob("**/*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize(("package", "table"), [("zoo", ALLOWED), ("zoo.serving", ALLOWED_IN_SERVING)])
def test_every_room_is_named(package, table):
    folder = ROOT.joinpath(*package.split("."))
    rooms = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(table)


@pytest.mark.parametrize(("package", "room", "allowed"), ROOMS)
def test_imports_point_one_way(package, room, allowed):
    for path in files_of(package, room):
        inside = [name.removeprefix(f"{package}.") for name in modules_imported(path) if name.startswith(f"{package}.")]
        assert {name.partition(".")[0] for name in inside} <= allowed | {room}, path


@pytest.mark.parametrize("room", sorted(set(ALLOWED_IN_SERVING) - {"publishing"}))
def test_only_publishing_imports_tensorflow_in_serving(room):
    for path in files_of("zoo.serving", room):
        bare = {name.split(".")[0] for name in modules_imported(path)} & {"tensorflow", "keras"}
        assert not bare or path.name == "protos.py", path  # which imports it as a folder


def test_no_files_import_one_another():
    paths = [path for room in ("zoo", "recipes", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    imported = {}
    for name, path in files.items():
        modules = {module if module in files else module.rpartition(".")[0] for module in modules_imported(path)}
        imported[name] = modules & set(files)
    # It raises CycleError, with the circle.
    graphlib.TopologicalSorter(imported).prepare()


PUBLIC = "Client, RequestError, SavedModel, check, check_all, run_native"


@pytest.mark.parametrize(
    "statement",
    [
        *(
            "import zoo",
            "import zoo; zoo.load",
            "import zoo.data",
            "import zoo.metrics",
            "import zoo.runs",
            "import zoo.cli",
        ),
        *("import zoo.pictures", f"from zoo.serving import {PUBLIC}"),
    ],
)
def test_import_brings_no_tensorflow(statement):
    heavy = {"tensorflow", "keras", "keras_cv", "matplotlib", "scipy", "sklearn"}
    code = f"{statement}; import sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_tensorflow_probability_comes_with_the_vae_alone():
    """It takes as long to import as a sixth of TensorFlow, and brings Keras 2."""
    importers = {"tensorflow_probability": set(), "zoo.distributions": set()}
    for path in (ROOT / "zoo").rglob("*.py"):
        for module in modules_imported(path) & importers.keys():
            importers[module].add(path.relative_to(ROOT / "zoo").as_posix())
    assert importers == {"tensorflow_probability": {"distributions.py"}, "zoo.distributions": {"models/vae.py"}}


def test_public_names_of_serving_load_and_unknown_ones_list_what_there_is():
    from zoo import serving

    assert serving.__all__ == sorted([*PUBLIC.split(", "), "publish", "write"])
    assert all(callable(getattr(serving, name)) for name in serving.__all__)
    with pytest.raises(AttributeError, match="It has: Client, .*, write"):
        _ = serving.Klient


def test_public_names_load_and_unknown_ones_list_what_there_is():
    import zoo

    for name in zoo.__all__:
        assert callable(getattr(zoo, name))
    with pytest.raises(
        AttributeError, match="It offers: .*GAN, .*WGANGP, .*, conv_decoder, conv_encoder, dcgan_critic"
    ):
        _ = zoo.CycleGANN


@pytest.mark.parametrize(
    ("room", "name", "known"),
    [
        ("ot", "flow", "sinkhorn"),
        (
            "data",
            "laod",
            "DetectionSource, Pair, SegmentationSource, Source, TextPairs, load, load_detection, load_pair, "
            "load_segmentation, load_text, names",
        ),
    ],
)
def test_unknown_names_of_rooms_list_what_there_is(room, name, known):
    import importlib

    with pytest.raises(AttributeError, match=f"module 'zoo.{room}' has no attribute '{name}'.* It has: .*{known}"):
        getattr(importlib.import_module(f"zoo.{room}"), name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sinkorn", "Did you mean sinkhorn"),
        ("emd", r"Here it is `exact\(cost, a, b\).plan`"),
        ("emd2", r"Here it is `exact\(cost, a, b\).transport_cost`"),
        ("dist", "Here it is `cost_matrix`"),
    ],
)
def test_misspelt_names_and_those_of_pot_are_answered_with_ours(name, hint):
    from zoo import ot

    with pytest.raises(AttributeError, match=f"has no attribute '{name}'. {hint}. It has: "):
        getattr(ot, name)


def test_transport_imports_a_framework_only_where_it_is_used():
    for path in (ROOT / "zoo" / "ot").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not {"tensorflow", "jax", "torch", "ot"} & {name.split(".")[0] for name in names}, path


def test_tests_import_no_tests():
    """What several need stands in tests/helpers."""
    wrong = []
    for path in ROOT.glob("tests/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            wrong += [(path.name, name) for name in names if name.split(".")[0] == "tests" and "helpers" not in name]
    assert not wrong


def test_tests_forget_no_compiled_functions():
    """To set a seed of TensorFlow does, as at the start of a group; what a classifier leaves alone includes it."""
    allowed = {"tests/conftest.py", "tests/helpers/seeds.py", "tests/metrics/test_features.py"}
    seeding = [
        path for path in ROOT.glob("tests/**/*.py") if re.search(r"set_(random_)?seed\(", path.read_text("utf-8"))
    ]
    assert {path.relative_to(ROOT).as_posix() for path in seeding} <= allowed, "use tests.helpers.seeds.seed()"
