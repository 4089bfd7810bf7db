"""Arrays in zip archives (`.npz`), whose reading takes no more memory than the size of the file allows."""

import io
import math
import zipfile
import zlib

import numpy as np

# What the content of a file may take: so many times its size, or what every computer has.
GROWTH, ALWAYS_ALLOWED = 16, 2**28
# `numpy.savez` and PyTorch write without compression, `numpy.savez_compressed` by deflate. The others that zipfile
# knows are unpacked as a whole before anything could be checked.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# How many characters of a name or a message are shown.
_SHOWN = 80


class Unreadable(ValueError):
    """A file is damaged, of another kind, or made to take more memory than it may."""


class Budget:
    """How many bytes the content of one file may take in memory.

    Archives of a kilobyte can say that they hold terabytes, and few of them must be unpacked to fill a memory.

    Args:
        size: Size of the file, in bytes.
        growth: How many times as large its content may be; None for any.
    """

    def __init__(self, size, growth=GROWTH):
        self.size = size
        self.growth = growth
        self.limit = math.inf if growth is None else max(growth * size, ALWAYS_ALLOWED)
        self.taken = 0

    def take(self, count):
        """Counts what will be read next.

        Args:
            count: Bytes, before anything of that size is made.

        Raises:
            Unreadable: If it is more than is left.
        """
        self.taken += count
        if self.taken > self.limit:
            raise Unreadable(
                f"its {self.size:,} bytes would take {self.taken:.3g} or more when read, and a file may take "
                f"{ALWAYS_ALLOWED:,} or {self.growth} times its size (compressed numbers must be saved without "
                "compression, repeated ones written out, as by `tensor.clone()`)"
            )


def read_member(archive, name, budget):
    """The bytes of one file of an archive, once it is certain how many there are.

    Args:
        archive: Open `zipfile.ZipFile`.
        name: Name of the file.
        budget: `Budget` of the archive.

    Raises:
        Unreadable: If it is not there, damaged, encrypted, packed in a way that has no bound, or too large.
    """
    try:
        info = archive.getinfo(name)
        if info.compress_type not in _COMPRESSIONS:
            raise Unreadable(f"its file {brief(name)} is packed as neither NumPy nor PyTorch does")
        budget.take(info.file_size)
        content = archive.read(info)
    except Unreadable:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise Unreadable(f"its zip archive is damaged or not whole ({brief(_message(error))})") from None
    if len(content) != info.file_size:
        raise Unreadable(f"its file {brief(name)} has {len(content)} of {info.file_size} bytes")
    return content


def read_npz(file, growth=GROWTH):
    """The arrays of a file that `numpy.savez` wrote, without pickles.

    `numpy.load` makes an array of the size that a file says before it looks whether the file has as much.

    Args:
        file: Open binary file.
        growth: How many times as large as the file its arrays may be, beyond 256 MiB; None for any.

    Returns:
        {name: `numpy.ndarray`} in the order of the file.

    Raises:
        Unreadable: If it is damaged, holds objects, or takes more than it may.
    """
    size = file.seek(0, 2)
    file.seek(0)
    budget = Budget(size, growth)
    with open_zip(file) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise Unreadable("its zip archive has a name twice")
        return {name.removesuffix(".npy"): _npy(name, read_member(archive, name, budget)) for name in names}


def open_zip(file):
    """An archive, `zipfile.ZipFile`; `Unreadable` if its directory is damaged."""
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # its directory is parsed here, and may be anything
        raise Unreadable(f"its zip archive is damaged or not whole ({brief(_message(error))})") from None


def _npy(name, content):
    """The array of a `.npy` file that is in memory as a whole."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise Unreadable("its version is another")
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, in_columns, dtype = read(file)
        start = file.tell()
        if dtype.hasobject:
            raise Unreadable("Object arrays cannot be loaded, because that may run code")
        expected = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or not dtype.itemsize or expected != len(content) - start:
            raise Unreadable(f"its numbers take {len(content) - start} bytes instead of {brief(expected)}")
        numbers = np.frombuffer(content, dtype, math.prod(shape), start)
        return numbers.reshape(shape, order="F" if in_columns else "C").copy(order="K")
    except Exception as error:  # a header is an expression in Python, and may be anything
        raise Unreadable(f"its array {brief(name)} is damaged: {brief(_message(error))}") from None


def brief(one, length=_SHOWN):
    """A name or a message of a stranger on one line, cut where it is long.

    Args:
        one: Text, or a number.
        length: How many characters are shown.
    """
    text = str(one) if isinstance(one, str) or abs(one) < 10**_SHOWN else f"a number of over {_SHOWN} digits"
    text = text[: length + 1].translate(dict.fromkeys(range(32), " "))
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= length else f"{text[:length]}..."


def _message(error):
    return f"{error}" if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
