"""`python -m zoo.data.records`: any set of images as TFRecord files."""

import os
import sys
from pathlib import Path

import tyro

from zoo.data.loading import load
from zoo.data.records.writing import write
from zoo.data.splits import SPLITS


def convert(
    source: tyro.conf.Positional[str],
    out: tyro.conf.Positional[Path],
    /,
    *,
    image_size: int | None = None,
    channels: int | None = None,
):
    """Writes a set of images as TFRecord files, both splits.

    Args:
        source: Name of a set, or folder of images or of records.
        out: Folder to write to.
        image_size: Height and width that images are cut and resized to; None keeps them.
        channels: 1 for grey, 3 for RGB; None keeps what the set has.
    """
    for split in SPLITS:
        write(load(source, split=split, image_size=image_size, channels=channels), out, split)


def main(arguments=None):
    """Runs the command.

    Args:
        arguments: Command line; None for that of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        tyro.cli(convert, args=arguments, prog="python -m zoo.data.records")
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
