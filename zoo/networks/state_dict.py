"""Weights in files as {name: array}: those of PyTorch without PyTorch, safetensors, and NumPy's."""

import collections
import io
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

# What PyTorch calls the kinds of numbers, and how NumPy reads them; NumPy has no bfloat16, so its bits are read.
_BFLOAT16 = "bfloat16"
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": _BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
# The number that files of PyTorch before 1.6 begin with, and the protocol that they name next.
_OLD_MAGIC, _OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def read_state_dict(path):
    """The arrays of a file of weights, by name.

    It reads what `torch.save` writes of a state dict, in today's format and in that before PyTorch 1.6, safetensors,
    and NumPy's `.npz`; what a file holds decides, not its ending. PyTorch need not be installed, and nothing in a file
    is ever run: a pickle may name dictionaries, tensors and parameters, and no more.

    Args:
        path: File. A state dict within a dict, under "state_dict", "model" or "model_state_dict", is found.

    Returns:
        {name: `numpy.ndarray`} in the order of the file, of the file's dtypes; bfloat16 becomes float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file of weights, is damaged, or holds anything else than arrays by name.

    Example:
        read_state_dict("resnet50-0676ba61.pth")["conv1.weight"].shape  # (64, 3, 7, 7)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights at {path}. Expected a file that `torch.save` wrote.")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            file.seek(0)
            if start[:2] == b"PK":
                found = _read_zip(file)
            elif start[:1] == b"\x80":
                found = _read_old(file)
            elif start[8:] == b"{":
                found = _read_safetensors(file)
            else:
                raise _Unreadable("it begins as none of these formats does")
    except _Refused as refused:
        raise ValueError(
            f"{path} holds more than weights: it asks for {refused}, which is not loaded because that may run code. "
            "Expected a state dict of tensors. In PyTorch, save that alone: `torch.save(model.state_dict(), path)`."
        ) from None
    except _Unreadable as error:
        raise ValueError(
            f"{path} cannot be read as weights: {error}. Expected a state dict that `torch.save` wrote, safetensors or "
            "an .npz file. Download or save it again."
        ) from None
    return _unwrapped(path, found)


class _Refused(Exception):
    """A pickle asks for what is no part of a state dict."""


class _Unreadable(Exception):
    """A file is damaged, or of another kind."""


class _Tensor(NamedTuple):
    """A tensor as a pickle describes it; its numbers come from elsewhere in the file."""

    storage: tuple
    offset: int
    shape: tuple
    strides: tuple


def _tensor(storage, offset, shape, strides, *others):
    """What stands for `torch._utils._rebuild_tensor_v2`."""
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor, *others):
    """What stands for `torch._utils._rebuild_parameter`."""
    return tensor


_GLOBALS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): kind for name, kind in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Takes dictionaries and tensors from a pickle, and refuses to load anything else."""

    def find_class(self, module, name):
        """What may stand in a pickle by its name."""
        if (module, name) not in _GLOBALS:
            raise _Refused(f"{module}.{name}")
        return _GLOBALS[module, name]

    def persistent_load(self, key):
        """What a tensor is told of its storage: kind of numbers, name, and how many there are."""
        label, kind, name, _, count, *view = key
        if label != "storage" or kind not in _STORAGES.values() or any(view):
            raise _Unreadable(f"it asks for {key!r} where a storage should be")
        return kind, str(name), int(count)


def _load(file):
    """The next object of a pickle."""
    try:
        return _Unpickler(file, encoding="utf-8").load()
    except (_Refused, _Unreadable):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise _Unreadable(f"its pickle is damaged ({type(error).__name__}: {error})") from None


def _read_zip(file):
    """What `torch.save` writes since PyTorch 1.6, or `numpy.savez`."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if names and all(name.endswith(".npy") for name in names):
                with np.load(file, allow_pickle=False) as arrays:
                    return dict(arrays)
            pickles = [name for name in names if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise _Unreadable("it is a zip archive without data.pkl")
            root = pickles[0].removesuffix("data.pkl")
            order = archive.read(f"{root}byteorder") if f"{root}byteorder" in names else b"little"
            if order != b"little":
                raise _Unreadable(f"its numbers are {order.decode(errors='replace')}-endian instead of little-endian")
            found = _load(io.BytesIO(archive.read(pickles[0])))
            return _filled(found, lambda name: archive.read(f"{root}data/{name}"))
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise _Unreadable(f"its zip archive is damaged or not whole ({error})") from None


def _read_old(file):
    """What `torch.save` wrote before PyTorch 1.6: pickles one after the other, and then the numbers."""
    if _load(file) != _OLD_MAGIC:
        raise _Unreadable("it is a pickle, but not of PyTorch")
    protocol, system, found, names = (_load(file) for _ in range(4))
    if protocol != _OLD_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian", True):
        raise _Unreadable(f"its protocol is {protocol!r} instead of {_OLD_PROTOCOL}, or it is not little-endian")
    sizes = {name: _dtype(kind).itemsize * count for kind, name, count in _storages(found)}
    if not isinstance(names, list) or set(names) != set(sizes):
        raise _Unreadable("its list of storages is not that of its tensors")
    numbers = {}
    for name in names:
        file.read(8)  # how many there are, which the pickle says too
        numbers[name] = file.read(max(sizes[name], 0))
    return _filled(found, numbers.__getitem__)


def _read_safetensors(file):
    """A length, a header in JSON, and the numbers."""
    (length,) = struct.unpack("<Q", file.read(8))
    content = file.read()
    if length > len(content):
        raise _Unreadable(f"its header should have {length} bytes, of which {len(content)} are there")
    try:
        header, numbers, found = json.loads(content[:length]), memoryview(content)[length:], {}
        header.pop("__metadata__", None)
        for name, one in header.items():
            start, end = one["data_offsets"]
            found[name] = _array(_SAFETENSORS[one["dtype"]], numbers[start:end]).reshape(one["shape"]).copy()
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unreadable(f"its header is damaged or does not fit its numbers ({error})") from None


def _storages(found):
    """The storages of all tensors in dicts within dicts."""
    if isinstance(found, dict):
        return {one for value in found.values() for one in _storages(value)}
    return {found.storage} if isinstance(found, _Tensor) else set()


def _filled(found, read):
    """The same with arrays for tensors, from the bytes of a storage by its name."""
    storages = {}

    def filled(one):
        if isinstance(one, dict):
            return {name: filled(value) for name, value in one.items()}
        if not isinstance(one, _Tensor):
            return one
        kind, name, count = one.storage
        if one.storage not in storages:
            storages[one.storage] = _array(kind, read(name))
        numbers = storages[one.storage]
        if len(numbers) != count:
            raise _Unreadable(f"a storage has {len(numbers)} of {count} numbers")
        last = one.offset + sum((side - 1) * stride for side, stride in zip(one.shape, one.strides, strict=True))
        # Nothing outside of the storage may be read, whatever the file says.
        if min((one.offset, *one.shape, *one.strides)) < 0 or (0 not in one.shape and last >= count):
            raise _Unreadable(f"a tensor of shape {one.shape} lies outside of its storage of {count} numbers")
        if 0 in one.shape:
            return np.zeros(one.shape, numbers.dtype)
        strides = [stride * numbers.itemsize for stride in one.strides]
        return np.lib.stride_tricks.as_strided(numbers[one.offset :], one.shape, strides).copy()

    try:
        return filled(found)
    except (TypeError, ValueError) as error:
        raise _Unreadable(f"it describes a tensor wrongly ({error})") from None


def _dtype(kind):
    return np.dtype("<u2" if kind == _BFLOAT16 else kind)


def _array(kind, content):
    """Numbers of a kind, of bytes."""
    numbers = np.frombuffer(content, _dtype(kind))
    return (numbers.astype("uint32") << 16).view("float32") if kind == _BFLOAT16 else numbers


def _unwrapped(path, found):
    """The state dict: all that a file holds, or what is under the name of a wrapper."""
    for name in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found:
        received = "one array" if isinstance(found, np.ndarray) else repr(found) if found else "nothing"
        raise ValueError(f"{path} must hold arrays by name, as `model.state_dict()` does. Received: {received}.")
    others = [str(name) for name, one in found.items() if not isinstance(one, np.ndarray) or not isinstance(name, str)]
    if others:
        raise ValueError(
            f"{path} must hold arrays by name and nothing else, as `model.state_dict()` does. Received also: "
            f"{', '.join(others[:8])}{', ...' if len(others) > 8 else ''}."
        )
    return found
