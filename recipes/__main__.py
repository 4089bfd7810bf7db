"""`python -m recipes` lists the recipes; `python -m recipes wgan_gp` runs one, as `python -m recipes.wgan_gp` does."""

import ast
import difflib
import runpy
import shutil
import sys
import textwrap
from pathlib import Path


def main(arguments=None):
    """Prints the command and the first line of the docstring of each recipe, or runs the one that is named.

    Args:
        arguments: Command line; None for that of the process.

    Returns:
        Exit code: 2 if there is no such recipe.
    """
    name, *options = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    recipes = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("[!_]*.py"))}
    recipes = {stem: text for stem, text in recipes.items() if "__main__" in text}
    if name in ("-h", "--help"):
        column, width = max(map(len, recipes)) + 20, shutil.get_terminal_size().columns
        for stem, text in recipes.items():
            summary = ast.get_docstring(ast.parse(text)).splitlines()[0]
            start = f"python -m recipes.{stem}".ljust(column)
            print(textwrap.fill(start + summary, max(width, 2 * column), subsequent_indent=" " * column))
        print("--help after a command shows its options.")
        return 0
    module = name.removeprefix("recipes.").replace("-", "_")
    if module not in recipes:
        close = difflib.get_close_matches(module, recipes, n=1)
        hint = f" Did you mean `{' '.join(['python -m recipes.' + close[0], *options])}`?" if close else ""
        print(f"error: there is no recipe {name!r}.{hint} There are: {', '.join(recipes)}.", file=sys.stderr)
        return 2
    sys.argv[1:] = options
    runpy.run_module(f"recipes.{module}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
