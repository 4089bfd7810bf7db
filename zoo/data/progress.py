"""Progress of long reading, on stderr: one line that is renewed in a terminal, else a line each time."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

RECORDS = 100_000  # between two lines, of those that are read without being decoded
_SAID = set()
_FILES = 2000  # between two lines, and fewer files are checked without any


def show(line, last):
    """Prints a line of progress.

    Args:
        line: The text.
        last: Whether it is the final one, which stays.
    """
    end = "\n" if last or not sys.stderr.isatty() else "\r"
    print(line, end=end, file=sys.stderr, flush=True)


def note(line):
    """Prints what is to be known of data, once a process, as warnings are: a run loads both splits of a folder."""
    if line not in _SAID:
        _SAID.add(line)
        show(line, last=True)


def check_files(check, paths, what):
    """Checks files, several at a time, with progress where they are many.

    Args:
        check: Function of a `Path` that returns what is known of the file.
        paths: List of `Path`.
        what: What the lines of progress call the files, such as "images in photos".

    Returns:
        {`Path`: what is known of it} in their order.
    """
    many, found = len(paths) >= _FILES, {}
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2)) as pool:
        for path, known in zip(paths, pool.map(check, paths), strict=True):
            found[path] = known
            if many and (len(found) % _FILES == 0 or len(found) == len(paths)):
                show(f"Checked {len(found)} of {len(paths)} {what}", last=len(found) == len(paths))
    return found
