"""Every command that a page prints: taken by the parser of what it names, and checked up to where data are read."""

import argparse
import ast
import functools
import importlib
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import tyro

from recipes.__main__ import main as recipes_main
from zoo import cli

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(map(str, Path("docs").glob("*.md")))]
RECIPES = {path.stem: ast.get_docstring(ast.parse(path.read_text())) for path in Path("recipes").glob("[!_]*.py")}
TEXTS = {page: Path(page).read_text() for page in PAGES}
TEXTS |= {f"recipes/{name}.py": text for name, text in sorted(RECIPES.items())}
HEAD = r"(?:(?:[A-Z_]+=\S+|taskset -c \S+)\s+)*(?:python -m|zoo|make|docker)\s+\S"
# What stands in a command for what the reader fills in.
OPEN = r"\.\.\.$|--workers N"
# Why the tests take a command without running it, by a pattern of it. Others are of recipes, which test_runs*.py run on
# the same data with fewer steps: `test_every_recipe_is_tested` there says that none is left out.
NOT_RUN_HERE = {
    r"--data (?!digits|ring|grid|swiss_roll|number_words|scenes)": "its data are a download, or the reader's own",
    r"--begin-with": "it begins with what the command before has learnt, for hours",
    r"python -m benchmarks\.": "it measures for minutes or hours, beside packages that are not installed",
    r"TF_CONFIG=": "it is one of several machines",
    r"zoo\.launch": "tests/test_workers.py launches workers",
    r"zoo\.data\.records": "tests/data writes records of its own",
    r"zoo (check|list|predict)\b": "its exports are of a run, and some ask a server; tests/test_cli.py has its own",
    r"zoo serve": "it is a server; tests/serving starts some",
    r"docker": "Docker is not everywhere",
    r"make ": "it makes an environment, and runs what takes minutes within it",
}


def commands_of(text):
    """Commands of a text as lists of words: in indented lines, in blocks of a shell, and between backticks.

    Assignments of a line of their own are put in where a later command has their name.
    """
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", "\n".join([text, *blocks]))
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
    lines = [line.strip() for line in text.splitlines()]
    variables = dict(match.groups() for line in lines if (match := re.fullmatch(r"([A-Z]+)=(['\"].*['\"])", line)))
    found = []
    for command in [*lines, *spans]:
        if re.match(HEAD, command) and not re.search(OPEN, command):
            for name, value in variables.items():
                command = command.replace(f"${name}", value.strip("'\""))
            found.append(shlex.split(" ".join(command.split()), comments=True))
    return found


def program(words):
    """A command without what stands before its program."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words[3:] if words[0] == "taskset" else words


COMMANDS = sorted({(page, shlex.join(words)) for page, text in TEXTS.items() for words in commands_of(text)})


class _Parsed(Exception):
    """Raised where a parser has taken the command line."""


def check(words, monkeypatch):
    """Raises unless the command is taken by what it names."""
    head, *options = program(words)
    if head == "make":
        targets = re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE)
        assert {word for word in options if "=" not in word} <= {*targets}
    elif head == "zoo":
        kinds = {name: (kind, lambda _: 0) for name, (kind, _) in cli.COMMANDS.items()}
        monkeypatch.setattr(cli, "COMMANDS", kinds)
        with pytest.raises(SystemExit) as ended:
            cli.main(options)
        assert ended.value.code == 0
    elif head == "python":
        assert options[0] == "-m"
        _check_module(*options[1:], monkeypatch=monkeypatch)
    else:
        assert head == "docker"


def _check_module(name, *options, monkeypatch):
    if name == "recipes":
        assert recipes_main(list(options)) == 0
        return
    is_package = importlib.util.find_spec(name).submodule_search_locations
    module = importlib.import_module(f"{name}.__main__" if is_package else name)
    if hasattr(module, "Config"):
        config = tyro.cli(module.Config, args=options)
        if hasattr(config, "check"):
            try:
                config.check()
            except FileNotFoundError:
                assert {"--weights", "--begin-with"} & {*options}
        return
    if name == "zoo.data.records":
        convert = functools.wraps(module.convert)(lambda *values, **named: None)
        monkeypatch.setattr(module, "convert", convert)
        # The page may name it without saying of what.
        assert not options or not module.main(options)
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(self, *args):
        parsed = parse(self, *args)
        raise _Parsed(parsed)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    monkeypatch.setattr(sys, "argv", [name, *options])
    with pytest.raises(_Parsed):
        module.main()
    if name == "zoo.launch":
        monkeypatch.undo()
        _check_module(*options[options.index("-m") + 1 :], monkeypatch=monkeypatch)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Benchmarks set variables of their own as they are imported."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_printed_command_is_taken(page, command, monkeypatch):
    check(shlex.split(command), monkeypatch)


@pytest.mark.parametrize(
    "command",
    [
        "python -m recipes.wgan_gp --critic-stepz 3",
        "python -m recipes.wgan_gpp --epochs 3",
        "python -m recipes.wgan_gp --epochs 0",
        "python -m benchmarks.frechet --drawz 3",
        "python -m zoo.launch --workers 2 -m recipes.wgan_gp --epoch 3",
        "zoo chek exports",
        "make tests",
    ],
)
def test_a_command_of_what_is_gone_is_found(command, monkeypatch):
    with pytest.raises((SystemExit, AssertionError, AttributeError, ModuleNotFoundError, ValueError)):
        check(shlex.split(command), monkeypatch)


def test_each_page_of_commands_is_read():
    """Those that print many, and each recipe: commands in lines, between backticks and in blocks, as of a shell."""
    found = {page for page, _ in COMMANDS}
    assert found >= {"README.md", "docs/scale.md", "docs/serving.md", *(f"recipes/{name}.py" for name in RECIPES)} - {
        f"recipes/{name}.py" for name in ("adversarial", "coding")
    }
    line, span, block = (
        "    A='--a 1'\n    X=1 zoo check $A \\\n  --b 2  # said",
        "`python -m\nrecipes.gan`",
        "```sh\nmake a\n```",
    )
    assert commands_of(f"Words {span}.\n\n{line}\n{block}") == [
        ["X=1", "zoo", "check", "--a", "1", "--b", "2"],
        ["make", "a"],
        ["python", "-m", "recipes.gan"],
    ]


def test_a_command_is_of_a_recipe_or_says_why_it_is_not_run():
    """And no reason is left of a command that is gone."""
    commands = [command for _, command in COMMANDS]
    for command in commands:
        if not any(re.search(reason, command) for reason in NOT_RUN_HERE):
            assert re.search(r"python -m recipes( |$|\.)", command), command
    for reason in NOT_RUN_HERE:
        assert any(re.search(reason, command) for command in commands), reason


HERE = sorted({command for _, command in COMMANDS if not any(re.search(one, command) for one in NOT_RUN_HERE)})
FEW_STEPS = ["--epochs", "1", "--steps-per-epoch", "2", "--evaluate-every", "1", "--verbose", "silent"]
FEW_IMAGES = ["--judged-images", "4"]
CUT = {"mask_rcnn": FEW_IMAGES, "fcn": FEW_IMAGES, "seq2seq": ["--num-beams", "1", "--max-length", "8"]}


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in HERE if "recipes." in command])
def test_a_printed_recipe_runs_when_it_is_cut_short(command, tmp_path, monkeypatch):
    """With its own options, for two steps: from its data to its report and export."""
    from zoo import runs

    _, _, name, *options = program(shlex.split(command))
    module = importlib.import_module(name)
    exports = ["--exports", str(tmp_path / "exports")] if "--exports" in options else []
    cut = [*FEW_STEPS, *CUT.get(name.split(".")[1], []), *exports, "--out", str(tmp_path / "run")]
    replicas = ["--replicas", "2"] if "mirrored" in options else []
    runs.main(module.Config, module.train, [*options, *cut, *replicas])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == 2
