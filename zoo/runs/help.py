"""What `--help` says of a recipe: its description, with commands that can be copied, and its options in groups."""

import ast
import inspect
import re
import shutil
import textwrap
import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path

# Where the explanation of an option begins, and the widest lines.
_COLUMN, _WIDEST = 26, 100
_NAMES = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "True|False", type(None): "None"}
_COMMAND = re.compile(r"(python -m |[A-Z][A-Z_]*=)")


class Heading(str):
    """In a class of options, as a ClassVar: what the help calls the options below it, to the next heading.

    An option stays in the group of the class that had it first; groups of one name are one.

    Example:
        >>> from dataclasses import dataclass
        >>> from typing import ClassVar
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Options:
        ...     _OPTIMIZER: ClassVar = Heading("optimizer")
        ...     learning_rate: float = 2e-4
        >>> groups(Options)
        {'optimizer': ['learning_rate']}
    """


def groups(config_class):
    """The options of a recipe by group.

    Args:
        config_class: Dataclass of the options.

    Returns:
        {heading: names of options}, in the order of the classes and in them.
    """
    found, known = {}, {field.name for field in fields(config_class)}
    for one in reversed(config_class.__mro__):
        heading = "other"
        for name in vars(one).get("__annotations__", {}):
            value = vars(one).get(name)
            if isinstance(value, Heading):
                heading = str(value)
            elif name in known:
                found.setdefault(heading, []).append(name)
                known.remove(name)
    return found


def explanations(config_class):
    """{name: the text below an option in its class}, of the class that says it last."""
    found = {}
    for one in reversed(config_class.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0].body
        for option, text in zip(body, body[1:], strict=False):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(option, ast.AnnAssign) and is_text:
                found[option.target.id] = " ".join(text.value.value.split())
    return found


def help_of(config_class, program, description, width=None):
    """All that `--help` prints.

    Args:
        config_class: Dataclass of the options.
        program: How the recipe is started.
        description: Docstring of the recipe.
        width: Of the lines; None for that of the terminal, up to 100.
    """
    width = width or min(shutil.get_terminal_size().columns, _WIDEST)
    types_of, texts = typing.get_type_hints(config_class), explanations(config_class)
    by_name = {field.name: field for field in fields(config_class)}
    parts = [f"usage: {program} [options]", described(description or "", width)]
    for heading, names in groups(config_class).items():
        lines = [_option(by_name[name], types_of[name], texts.get(name, ""), width) for name in names]
        parts.append("\n".join([f"{heading}:", *lines]))
    return "\n\n".join(parts)


def described(text, width):
    """A docstring at a width: paragraphs are filled, and each command has lines of its own, which end in a backslash.

    Args:
        text: The docstring, whose commands begin with `python -m` or a variable of the shell.
        width: Of the lines.
    """
    parts, words = [], []
    lines = iter([*inspect.cleandoc(text).splitlines(), ""])
    for line in lines:
        is_command = _COMMAND.match(line)
        if words and (is_command or not line):
            parts.append("\n".join(_filled(" ".join(words), width)))
            words = []
        if is_command:
            while line.endswith("\\"):
                line = line[:-1] + next(lines).strip()
            parts.append(_command(line, width))
        elif line:
            words.append(line.strip())
        elif parts and parts[-1]:
            parts.append("")
    return "\n".join(parts).strip("\n")


def _command(line, width):
    """A command in lines that a shell takes as one; an option stays beside its values."""
    first, *others = re.split(r" (?=--)", " ".join(line.split()))
    lines = [first]
    for part in others:
        if len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines)


def _filled(text, width, indent=""):
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, **options)


def _option(field, kind, text, width):
    name = field.name.replace("_", "-")
    flags = f"  --{name}, --no-{name}" if kind is bool else f"  --{name} {_values(kind)}"
    explained = _filled(f"{text} (default: {_default(field)})", width, " " * _COLUMN)
    if len(flags) + 2 <= _COLUMN:
        return "\n".join([flags + explained[0][len(flags) :], *explained[1:]])
    return "\n".join([*_alternatives(flags, width), *explained])


def _alternatives(flags, width):
    """Flags whose many values do not fit on a line, split between values."""
    lines = [""]
    for part in re.split(r"(?<=[|,])", flags):
        if len(lines[-1]) + len(part) > width:
            lines.append("    ")
        lines[-1] += part
    return lines


def _values(kind):
    """What may follow a flag."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return "|".join(_values(one) for one in arguments)
    if origin is tuple:
        return f"{_values(arguments[0])} ..." if Ellipsis in arguments else " ".join(map(_values, arguments))
    return _NAMES[kind]


def _default(field):
    value = "none, it must be given" if field.default is MISSING else field.default
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
