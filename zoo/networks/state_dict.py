"""Weights in files as {name: array}: those of PyTorch without PyTorch, safetensors, and NumPy's."""

import io
import json
import math
import reprlib
import struct
from pathlib import Path

import numpy as np

from zoo import unpickling
from zoo.archive import Budget, Unreadable, brief, open_zip, read_member, read_npz
from zoo.unpickling import Refused

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
# The largest descriptions of tensors that are read, in bytes: some hundred thousand tensors.
_MAX_PICKLE, _MAX_HEADER = 2**26, 2**24
# How many names an error lists.
_LISTED = 8
# How values are shown in messages: containers that hold each other would be written out without end.
_VALUES = reprlib.Repr()
_VALUES.maxlevel, _VALUES.maxstring, _VALUES.maxother = 2, 60, 60


def read_state_dict(path):
    """The arrays of a file of weights, by name.

    It reads what `torch.save` writes of a state dict, in today's format and in that before PyTorch 1.6, safetensors,
    and NumPy's `.npz`; what a file holds decides, not its ending. PyTorch need not be installed, and nothing in a file
    is ever run: a pickle may name dictionaries, tensors and parameters, and no more. Nor does a file of a stranger fill
    the memory: its arrays may take 16 times its size, or 256 MiB where that is more, which is seen before they are
    made; tensors that share numbers, or repeat them by strides of 0, count in full, and so do compressed ones.

    Args:
        path: File. A state dict within a dict, under "state_dict", "model" or "model_state_dict", is found.

    Returns:
        {name: `numpy.ndarray`} in the order of the file, of the file's dtypes; bfloat16 becomes float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file of weights, is damaged, takes more than it may, or holds anything else than arrays
            by name.

    Example:
        >>> np.savez("resnet.npz", **{"conv1.weight": np.zeros((64, 3, 7, 7))})
        >>> read_state_dict("resnet.npz")["conv1.weight"].shape
        (64, 3, 7, 7)

        read_state_dict("resnet50-0676ba61.pth")["conv1.weight"].shape  # (64, 3, 7, 7)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights at {path}. Expected a file that `torch.save` wrote.")
    try:
        with open(path, "rb") as file:
            return _read(file, Budget(path.stat().st_size))
    except Refused as refused:
        raise ValueError(
            f"{path} holds more than weights: it asks for {refused}, which is not loaded because that may run code. "
            "Expected a state dict of tensors. In PyTorch, save that alone: `torch.save(model.state_dict(), path)`."
        ) from None
    except _OtherContent as other:
        raise ValueError(f"{path} must hold arrays by name{other}") from None
    except PermissionError:
        raise
    except Exception as error:  # a file of a stranger may be wrong in any way
        known = isinstance(error, Unreadable)
        reason = str(error) if known else f"it is damaged ({type(error).__name__}: {brief(str(error))})"
        raise ValueError(
            f"{path} cannot be read as weights: {reason}. Expected a state dict that `torch.save` wrote, safetensors "
            "or an .npz file. Download or save it again."
        ) from (None if known else error)


class _OtherContent(Exception):
    """A file can be read, but is no state dict; the message goes on after "must hold arrays by name"."""


def _read(file, budget):
    """The arrays of a file by what it begins with."""
    start = file.read(9)
    file.seek(0)
    if start[:2] == b"PK":
        found = _read_zip(file, budget)
    elif start[:1] == b"\x80":
        found = _read_old(file, budget)
    elif start[8:] == b"{":
        found = _read_safetensors(file, budget)
    else:
        raise Unreadable("it begins as none of these formats does")
    if not found:
        raise _OtherContent(", as `model.state_dict()` does. Received: nothing.")
    _check_values(found, lambda one: one.dtype.kind in "biufc")
    return found


def _read_zip(file, budget):
    """What `torch.save` writes since PyTorch 1.6, or `numpy.savez`."""
    with open_zip(file) as archive:
        names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return read_npz(file)
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Unreadable("it is a zip archive without data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = read_member(archive, f"{root}byteorder", budget) if f"{root}byteorder" in names else b"little"
        if order != b"little":
            raise Unreadable(f"its numbers are {brief(order.decode(errors='replace'))}-endian instead of little-endian")
        size = archive.getinfo(pickles[0]).file_size
        if size > _MAX_PICKLE:
            raise Unreadable(f"its data.pkl has {size:,} bytes, of at most {_MAX_PICKLE:,}")
        found, _ = unpickling.load(io.BytesIO(read_member(archive, pickles[0], budget)), _STORAGES)
        return _filled(found, budget, lambda storage: read_member(archive, f"{root}data/{storage.name}", budget))


def _read_old(file, budget):
    """What `torch.save` wrote before PyTorch 1.6: pickles one after the other, and then the numbers."""
    pickles = io.BytesIO(file.read(_MAX_PICKLE))  # of which no more can be read than is there
    if unpickling.load(pickles, _STORAGES)[0] != _OLD_MAGIC:
        raise Unreadable("it is a pickle, but not of PyTorch")
    (protocol, _), (system, _), (found, storages), (names, _) = (unpickling.load(pickles, _STORAGES) for _ in range(4))
    is_little = isinstance(system, dict) and system.get("little_endian", True) is True
    if type(protocol) is not int or protocol != _OLD_PROTOCOL or not is_little:
        raise Unreadable(f"its protocol is not {_OLD_PROTOCOL}, or it is not little-endian")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or len(names) != len(storages) or set(names) != set(storages):
        raise Unreadable("its list of storages is not that of its tensors")
    starts, place = {}, pickles.tell()
    for name in names:
        starts[name] = place + 8  # after how many there are
        place = starts[name] + _size(storages[name])

    def read(storage):
        file.seek(starts[storage.name] - 8)
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise Unreadable(f"a storage has {count} of {storage.count} numbers")
        return file.read(_size(storage))

    if place > budget.size:
        raise Unreadable(f"it should have {place} bytes, of which {budget.size} are there")
    return _filled(found, budget, read)


def _read_safetensors(file, budget):
    """A length, a header in JSON, and the numbers, of which the header tells where each tensor's are.

    No number may be named twice or not at all, as in the format's own reader.
    """
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(budget.size - 8, _MAX_HEADER):
        raise Unreadable(
            f"its header should have {length} bytes, of which {budget.size - 8} are there and {_MAX_HEADER} allowed"
        )
    header = _json(file.read(length))
    header.pop("__metadata__", None)
    tensors, place = [(*_described(name, one), name) for name, one in header.items()], 0
    found = dict.fromkeys(header)
    for start, end, kind, shape, name in sorted(tensors, key=lambda one: one[:2]):
        is_there = start == place and end <= budget.size - 8 - length
        if not is_there or end - start != math.prod(shape) * _dtype(kind).itemsize:
            raise Unreadable(f"its header is damaged or does not fit its numbers (at {brief(name)})")
        place = end
        budget.take(2 * (end - start) if kind == _BFLOAT16 else end - start)
        found[name] = _array(kind, file.read(end - start)).reshape(shape).copy()
    if place != budget.size - 8 - length:
        raise Unreadable(f"its header is damaged or does not fit its numbers ({budget.size - 8 - length - place} more)")
    return found


def _described(name, one):
    """(first byte, last one and one more, kind of numbers, shape) of a tensor in a header."""
    offsets, kind, shape = (one.get(key) for key in ("data_offsets", "dtype", "shape"))
    if not isinstance(kind, str) or kind not in _SAFETENSORS:
        raise Unreadable(f"its header is damaged, or of another kind of numbers ({brief(name)} of {brief(str(kind))})")
    are_lists = isinstance(offsets, list) and isinstance(shape, list) and len(offsets) == 2
    numbers = (*offsets, *shape) if are_lists and len(shape) <= unpickling.MAX_DIMENSIONS else (None,)
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise Unreadable(f"its header is damaged or does not fit its numbers (at {brief(name)})")
    return *offsets, _SAFETENSORS[kind], shape


def _json(content):
    """The header, in which no name comes twice."""

    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise Unreadable("its header is damaged (a name comes twice)")
        return dict(pairs)

    try:
        header = json.loads(content, object_pairs_hook=once)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its header is damaged ({type(error).__name__}: {brief(str(error))})") from None
    if not isinstance(header, dict) or not all(isinstance(one, dict) for one in header.values()):
        raise Unreadable("its header is damaged (it is not tensors by name)")
    return header


def _filled(found, budget, read):
    """The arrays of a state dict that holds descriptions of tensors, from the bytes of a storage."""
    tensors = _unwrapped(found)
    users = {}
    for name, one in tensors.items():
        _check_window(one)
        budget.take(math.prod(one.shape) * _itemsize(one.storage))
        users.setdefault(one.storage, []).append(name)
    arrays = dict.fromkeys(tensors)
    for storage, names in users.items():
        content = read(storage)
        if len(content) != _size(storage):
            raise Unreadable(f"a storage has {len(content) // _itemsize(storage)} of {storage.count} numbers")
        numbers = _array(_STORAGES[storage.kind], content)
        for name in names:
            arrays[name] = _window(numbers, tensors[name])
    return arrays


def _check_window(tensor):
    """Nothing outside of a storage may be read, whatever the file says."""
    offset, shape, strides = tensor[1:]
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= tensor.storage.count):
        sides = brief(str(tuple(map(brief, shape))).replace("'", ""))
        raise Unreadable(f"a tensor of shape {sides} lies outside of its storage of {tensor.storage.count} numbers")


def _window(numbers, tensor):
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, numbers.dtype)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    strides = [stride * numbers.itemsize if side > 1 else 0 for side, stride in steps]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides).copy()


def _itemsize(storage):
    """Bytes of a number in memory and, but for bfloat16, in the file."""
    kind = _STORAGES[storage.kind]
    return 4 if kind == _BFLOAT16 else _dtype(kind).itemsize


def _size(storage):
    """Bytes of a storage in the file."""
    return storage.count * _dtype(_STORAGES[storage.kind]).itemsize


def _dtype(kind):
    return np.dtype("<u2" if kind == _BFLOAT16 else kind)


def _array(kind, content):
    """Numbers of a kind, of bytes."""
    if kind == "?":
        return np.frombuffer(content, "u1") != 0
    numbers = np.frombuffer(content, _dtype(kind))
    return (numbers.astype("uint32") << 16).view("float32") if kind == _BFLOAT16 else numbers


def _unwrapped(found):
    """The state dict: all that a file holds, or what is under the name of a wrapper."""
    for name in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found:
        tensor = "one array" if isinstance(found, unpickling.Tensor) else _VALUES.repr(found)
        raise _OtherContent(f", as `model.state_dict()` does. Received: {tensor if found else 'nothing'}.")
    _check_values(found, lambda one: isinstance(one, unpickling.Tensor))
    return found


def _check_values(found, is_right):
    others = [str(name) for name, one in found.items() if not isinstance(name, str) or not is_right(one)]
    if others:
        raise _OtherContent(
            " and nothing else, as `model.state_dict()` does. Received also: "
            f"{', '.join(map(brief, others[:_LISTED]))}{', ...' if len(others) > _LISTED else ''}."
        )
