"""Imports point one way, and cost nothing before they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each room may import of the others; `checks`, `files`, `random` and `tfrecord` are below all of them.
ALLOWED = {
    "checks": set(),
    "files": set(),
    "random": set(),
    "tfrecord": set(),
    "launch": set(),
    "ot": {"checks"},
    "losses": set(),
    "training": {"checks", "random", "serving"},
    "networks": {"checks"},
    "models": {"checks", "losses", "networks", "training"},
    "data": {"checks", "files", "tfrecord"},
    "metrics": {"files"},
    "serving": {"files", "tfrecord"},
    "cli": {"serving"},
    "pictures": {"files", "serving"},
    "callbacks": {"files", "pictures"},
    "evaluation": {"metrics"},
    "runs": {"checks", "data", "callbacks", "evaluation", "files", "pictures", "serving", "training"},
}


def rooms_imported(path):
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "zoo":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zoo.")}
    return rooms


def test_every_room_is_named():
    rooms = {path.stem for path in (ROOT / "zoo").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    folder = ROOT / "zoo" / room
    for path in sorted(folder.glob("**/*.py")) if folder.is_dir() else [folder.with_suffix(".py")]:
        assert rooms_imported(path) <= ALLOWED[room] | {room}, path


@pytest.mark.parametrize("statement", ["import zoo", "import zoo.data", "import zoo.metrics", "import zoo.runs"])
def test_import_brings_no_tensorflow(statement):
    code = f"{statement}; import sys; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_public_names_load_and_unknown_ones_list_what_there_is():
    import zoo

    for name in zoo.__all__:
        assert callable(getattr(zoo, name))
    with pytest.raises(AttributeError, match="It offers: .*GAN, .*WGANGP, dcgan_critic"):
        _ = zoo.CycleGANN


def test_transport_imports_a_framework_only_where_it_is_used():
    for path in (ROOT / "zoo" / "ot").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not {"tensorflow", "jax", "torch", "ot"} & {name.split(".")[0] for name in names}, path
