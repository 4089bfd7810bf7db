"""`python -m recipes` lists the recipes."""

import ast
import sys
from pathlib import Path


def main(arguments=None):
    """Prints the command and the first line of the docstring of each recipe.

    Args:
        arguments: Command line; None for that of the process.

    Returns:
        Exit code: 2 if there were arguments, which this command does not take.
    """
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        text = path.read_text()
        if "__main__" in text:
            summary = ast.get_docstring(ast.parse(text)).splitlines()[0]
            print(f"python -m recipes.{path.stem:10}  {summary}")
    print("--help after a command shows its options.")
    return 2 if (sys.argv[1:] if arguments is None else arguments) else 0


if __name__ == "__main__":
    sys.exit(main())
