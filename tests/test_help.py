"""What recipes say of themselves: readable in 80 columns, in groups, and with commands that can be copied."""

import ast
import builtins
import dataclasses
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from recipes.__main__ import main as recipes_main
from zoo import data, runs
from zoo.runs.config import by_flags
from zoo.runs.help import described, groups, help_of

NAMES = [path.stem for path in sorted(Path("recipes").glob("[!_]*.py")) if "runs.main(" in path.read_text()]


def recipe_of(name):
    return importlib.import_module(f"recipes.{name}")


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", NAMES)
def test_help_is_readable(name, width):
    recipe = recipe_of(name)
    text = help_of(recipe.Config, f"python -m recipes.{name}", recipe.__doc__, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith(f"usage: python -m recipes.{name} [options]\n\n")
    # The words of the docstring in their order, after the line of usage.
    given, shown = ([*filter("\\".__ne__, one.split())] for one in (recipe.__doc__, text))
    assert shown[5 : 5 + len(given)] == given


@pytest.mark.parametrize("name", NAMES)
def test_options_are_in_groups(name):
    """Each in one, none without a heading, and none of a size that nobody would read; all are explained."""
    config = recipe_of(name).Config
    found = groups(config)
    assert sorted(sum(found.values(), [])) == sorted(field.name for field in dataclasses.fields(config))
    assert "other" not in found and {"data", "run folder", "model", "execution"} <= set(found)
    assert max(map(len, found.values())) <= 20
    text = help_of(config, "recipe", "")
    for heading, names in found.items():
        body = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert re.findall(r"^  --([a-z0-9-]+)", body, re.MULTILINE) == [one.replace("_", "-") for one in names]
    explained = re.split(r"^  --", text, flags=re.MULTILINE)[1:]
    assert all(re.search(r"[A-Z\d].{8,}\(default:", " ".join(one.split())) for one in explained)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_those_of_the_command_line(name, capsys):
    """By tyro, which parses it."""
    config = recipe_of(name).Config
    with pytest.raises(SystemExit):
        tyro.cli(config, args=["--help"])
    flags = {flag for flag in re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out) if flag != "--help"}
    for field in dataclasses.fields(config):
        assert f"--{field.name.replace('_', '-')}" in flags
    shown = re.findall(r"^  (--.*?)(?:  |$)", help_of(config, "recipe", ""), re.MULTILINE)
    assert {flag for line in shown for flag in re.findall(r"--[a-z][a-z0-9-]*", line)} <= flags


@pytest.mark.parametrize("name", NAMES)
def test_commands_can_be_copied(name):
    """Each is taken by the recipe that it names, as a shell reads it from the help; files in it need not be here."""
    shell, found = {}, 0
    text = described(recipe_of(name).__doc__, 80).replace("\\\n", "")
    for line in text.splitlines():
        if match := re.fullmatch(r"([A-Z]+)=(.*)", line):
            shell[match[1]] = shlex.split(match[2])[0]
        if line.startswith("python -m recipes."):
            for variable, value in shell.items():
                line = line.replace(f"${variable}", value)
            _, _, module, *options = shlex.split(line)
            config = tyro.cli(importlib.import_module(module).Config, args=options)
            try:
                config.check()
            except FileNotFoundError:
                assert "--weights" in options or "--begin-with" in options
            found += 1
    assert found == text.count("python -m recipes.") > 0


@pytest.mark.parametrize("page", ["README.md", *sorted(map(str, Path("docs").glob("*.md")))])
def test_python_of_a_page_can_be_pasted_in_its_order(page):
    """Each name is imported or made before, on the same page; nothing is left out; files are named in comments."""
    known = set(dir(builtins))
    for block in re.findall(r"^```python\n(.*?)^```", Path(page).read_text(), re.DOTALL | re.MULTILINE):
        nodes = [*ast.walk(ast.parse(block))]
        known |= {
            one.asname or one.name
            for node in nodes
            if isinstance(node, ast.ImportFrom | ast.Import)
            for one in node.names
        }
        names = [node for node in nodes if isinstance(node, ast.Name)]
        known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        assert not {node.id for node in names} - known
        values = [node.value for node in nodes if isinstance(node, ast.Constant)]
        filled = [one for node in nodes for one in [*getattr(node, "args", ()), *getattr(node, "elts", ())]]
        indices = [one for node in nodes if isinstance(node, ast.Subscript) for one in getattr(node.slice, "elts", ())]
        assert not [one for one in filled if isinstance(one, ast.Constant) and one.value is ... and one not in indices]
        assert not [one for one in values if isinstance(one, str) and re.search(r"path/|\\.(pth|h5|jpg|csv)$", one)]


def test_a_command_is_split_before_options_alone():
    text = "Words.\n\npython -m recipes.fcn --scales 1 2 --out \\\n    runs/a\nMore words."
    assert described(text, 40).splitlines() == [
        *("Words.", "", "python -m recipes.fcn --scales 1 2 \\", "    --out runs/a", "More words.")
    ]


def test_the_list_of_recipes_fits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert recipes_main([]) == recipes_main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[2] for line in lines if line.startswith("python")} == {
        f"recipes.{one}" for one in (*NAMES, "demo")
    }


@pytest.mark.parametrize("name", ["wgan_gp", "wgan-gp", "recipes.wgan_gp"])
def test_a_recipe_runs_by_its_name(name):
    """Its own message shows that it was asked, with its options."""
    command = [sys.executable, "-m", "recipes", name, "--epochs", "0"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1 and "error: --epochs must be" in process.stderr.replace("`", "")


def test_messages_name_options_as_a_command_line_does():
    config = recipe_of("cycle_gan").Config()
    text = "Pass `image_size=64`, `channels=1` or `skip_damaged=True`; `image_size` and `labels` differ (`labels[0]`)."
    assert by_flags(text, config) == (
        "Pass `--image-size 64`, `--channels 1` or `--skip-damaged`; `--image-size` and `labels` differ (`labels[0]`)."
    )
    assert by_flags(text, None) == text


def test_an_error_of_the_library_names_the_option(tmp_path, capsys):
    """Pictures of two sizes need one; this message is of `zoo.data`."""
    for place, size in enumerate((8, 12)):
        Image.fromarray(np.zeros((size, size), "uint8")).save(tmp_path / f"{place}.png")
    with pytest.raises(SystemExit):
        runs.start(lambda config: config.load("train"), lambda: recipe_of("wgan_gp").Config(data=str(tmp_path)))
    message = capsys.readouterr().err
    assert "`--image-size" in message and "`image_size" not in message


def test_what_is_to_be_known_of_a_folder_is_said_once(tmp_path, capsys):
    """A run loads both of its splits."""
    for place in range(20):
        shape = (8, 8) if place else (8, 8, 3)
        picture = np.full(shape, 7 * place, "uint8")
        picture[0, 0] = (255, 0, 0) if not place else 255
        Image.fromarray(picture).save(tmp_path / f"{place:02}.png")
    for split in ("train", "test"):
        data.load(str(tmp_path), split=split)
    assert capsys.readouterr().err.count("are grey and are read as RGB") == 1
