"""Progress of long reading, on stderr: one line that is renewed in a terminal, else a line each time."""

import sys

RECORDS = 100_000  # between two lines, of those that are read without being decoded


def show(line, last):
    """Prints a line of progress.

    Args:
        line: The text.
        last: Whether it is the final one, which stays.
    """
    end = "\n" if last or not sys.stderr.isatty() else "\r"
    print(line, end=end, file=sys.stderr, flush=True)
