"""Write beside the target and rename at the end, so that nobody ever sees half a result. Standard library only."""

import codecs
import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path

# In this order: the mark of UTF-32 begins as that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def read_text(path, advice="Save it as UTF-8."):
    """Read a text that people or other programs wrote: UTF-8, with or without a byte order mark.

    Args:
        path: `Path` of the file.
        advice: How the message ends.

    Returns:
        The text, without the mark.

    Raises:
        ValueError: The file is no UTF-8; the message names byte and line, or the encoding that its byte order mark
            tells.
    """
    return decoded(path, path.read_bytes(), advice)


def decoded(path, content, advice="Save it as UTF-8."):
    """The same of what a file holds, as bytes."""
    encoding, sign = _other_encoding(content)
    if encoding:
        raise ValueError(
            f"The file {path} must be in UTF-8. Received: {encoding}, as its {sign} say. Save it as UTF-8: `iconv -f "
            f"{encoding} -t UTF-8` converts it."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"The file {path} is not in UTF-8: byte 0x{content[error.start]:02x} in line {line}. The whole file, or "
            f"some lines of it, may be in another encoding. {advice}"
        ) from error


def _other_encoding(content):
    """How a text is encoded and which bytes say so, where these say that it is not UTF-8; else two of None."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding, "first bytes, a byte order mark,"
    if content[:2].count(0) == 1:
        return "UTF-16LE" if content[0] else "UTF-16BE", "first bytes, of which one is 0,"
    return None, None


@contextlib.contextmanager
def partial_folder(parent, name):
    """Give a new folder inside `parent` to write into, and remove what is left of it afterwards.

    Its name starts with a dot, which TF Serving passes over. The folder is locked while its owner lives; folders that
    a killed process left behind are removed here.

    Args:
        parent: Folder of the future target; made if missing.
        name: Name of the future target, for readers of a directory listing.

    Returns:
        A context manager whose value is the path of the folder.

    Raises:
        OSError: `parent` cannot be written to.

    Example:

        with partial_folder(Path("exports/wgan_gp"), "3") as folder:
            (folder / "saved_model.pb").write_bytes(data)
            rename(folder, Path("exports/wgan_gp/3"))
    """
    made = not parent.exists()
    _remove_abandoned(parent)
    folder = parent / f".{name}.partial-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OSError(error.errno, f"Cannot write below `{parent}` ({error.strerror}); choose another folder") from None
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        if made:
            with contextlib.suppress(OSError):  # it holds the result, unless writing failed
                parent.rmdir()


def rename(folder, target):
    """Give a finished folder its final name, safely on disk before it appears.

    Args:
        folder: Folder to rename.
        target: Its final path, which must not exist.

    Raises:
        FileExistsError: `target` exists.

    Example:

        rename(Path("exports/wgan_gp/.3.partial"), Path("exports/wgan_gp/3"))
    """
    for path in folder.rglob("*"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    try:
        if os.path.lexists(target):  # rename would replace an empty folder without a word
            raise OSError(errno.EEXIST, "exists")
        os.rename(folder, target)
    except OSError as error:
        if error.errno in _TAKEN:
            raise already_exists(target) from None
        raise


def already_exists(path):
    """Return the error for a target that is there already.

    Example:

        raise already_exists(Path("exports/wgan_gp/3"))
    """
    return FileExistsError(f"`{path}` exists, and an export is never overwritten. Choose another path or remove it.")


@contextlib.contextmanager
def replacing(path):
    """Give a path beside `path` to write to, which takes its place in one move when the block ends.

    An error in the block leaves `path` as it was, and nothing beside it. What a killed process leaves behind is
    overwritten by the next. One writer at a time.

    Args:
        path: File to write; its folder is made.

    Returns:
        A context manager whose value is the path to write to, with the same ending.

    Example:

        with replacing(Path("runs/demo/model.keras")) as beside:
            model.save(beside)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"writing-{path.name}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path, text):
    """Replace a text file in one step, safely on disk before it appears; any number of writers.

    Args:
        path: File to write; its folder is made.
        text: Its new content.

    Example:

        write_text(Path("exports/models.config"), "model_config_list {}")
    """
    write_bytes(path, text.encode())


def write_bytes(path, content):
    """Replace a file in one step, as `write_text` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder):
    """Hold an exclusive lock on a folder, so that two processes rewrite a file in it one after the other.

    Example:

        with locked(Path("exports")):
            write_text(Path("exports/models.config"), text)
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(parent, seconds=60):
    for folder in Path(parent).glob(".*.partial-*"):
        with contextlib.suppress(OSError):
            if not folder.is_dir() or time.time() - folder.stat().st_mtime < seconds:
                continue
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
                shutil.rmtree(folder)
            finally:
                os.close(handle)
