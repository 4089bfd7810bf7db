"""TensorFlow's C++ library through ctypes: the C functions that the loader calls, errors, and tensors in its memory.

The TensorFlow wheel ships `libtensorflow_cc.so.2`. This file finds it, loads it without Python TensorFlow, and switches
XLA compilation off as TF Serving does.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np

from zoo.serving.formats.dtypes import CODES, DTYPES, NAMES, object_array
from zoo.serving.formats.tensors import varint

_STRING_BYTES = 24  # sizeof(TF_TString)
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"  # void tensorflow::DisableXlaCompilation()


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class Output(ctypes.Structure):
    """`TF_Output`: which output of which operation of a graph."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


_pointer, _integer, _text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_FUNCTIONS = {  # name: (result, arguments), as in tensorflow/c/c_api.h
    "TF_NewStatus": (_pointer, []),
    "TF_DeleteStatus": (None, [_pointer]),
    "TF_GetCode": (_integer, [_pointer]),
    "TF_Message": (_text, [_pointer]),
    "TF_NewBufferFromString": (ctypes.POINTER(_Buffer), [_text, ctypes.c_size_t]),
    "TF_NewBuffer": (ctypes.POINTER(_Buffer), []),
    "TF_DeleteBuffer": (None, [ctypes.POINTER(_Buffer)]),
    "TF_NewGraph": (_pointer, []),
    "TF_DeleteGraph": (None, [_pointer]),
    "TF_GraphOperationByName": (_pointer, [_pointer, _text]),
    "TF_GetAllOpList": (ctypes.POINTER(_Buffer), []),
    "TF_NewSessionOptions": (_pointer, []),
    "TF_DeleteSessionOptions": (None, [_pointer]),
    "TF_LoadSessionFromSavedModel": (
        _pointer,
        [_pointer, _pointer, _text, ctypes.POINTER(_text), _integer, _pointer, ctypes.POINTER(_Buffer), _pointer],
    ),
    "TF_CloseSession": (None, [_pointer, _pointer]),
    "TF_DeleteSession": (None, [_pointer, _pointer]),
    "TF_SessionRun": (
        None,
        [_pointer, ctypes.POINTER(_Buffer)]
        + [ctypes.POINTER(Output), ctypes.POINTER(_pointer), _integer] * 2
        + [_pointer, _integer, _pointer, _pointer],
    ),
    "TF_AllocateTensor": (_pointer, [_integer, ctypes.POINTER(ctypes.c_int64), _integer, ctypes.c_size_t]),
    "TF_DeleteTensor": (None, [_pointer]),
    "TF_TensorType": (_integer, [_pointer]),
    "TF_NumDims": (_integer, [_pointer]),
    "TF_Dim": (ctypes.c_int64, [_pointer, _integer]),
    "TF_TensorData": (_pointer, [_pointer]),
    "TF_StringInit": (None, [_pointer]),
    "TF_StringCopy": (None, [_pointer, _text, ctypes.c_size_t]),
    "TF_StringGetDataPointer": (_pointer, [_pointer]),
    "TF_StringGetSize": (ctypes.c_size_t, [_pointer]),
    _DISABLE_XLA: (None, []),
}


class TensorFlowError(ValueError):
    """TensorFlow refused to load or to run a SavedModel.

    Attributes:
        code: TensorFlow's error code, which is also gRPC's: 3 is an invalid argument, 4 a missed deadline.
        reason: TensorFlow's message alone.
    """

    def __init__(self, failure, code=2, reason=""):
        super().__init__(f"{failure}: {reason}" if reason else failure)
        self.code, self.reason = code, reason


def library_path():
    """Return the path of TensorFlow's C++ library, found without importing TensorFlow.

    Raises:
        RuntimeError: No TensorFlow wheel is installed, or it ships no such library.

    Example:

        library_path().name  # libtensorflow_cc.so.2
    """
    spec = importlib.util.find_spec("tensorflow")  # locates the package, runs none of it
    if spec is None or spec.origin is None:
        raise RuntimeError("TensorFlow is not installed, and its C++ library is needed. Run: pip install tensorflow")
    folder = Path(spec.origin).parent
    found = sorted(folder.glob("libtensorflow_cc*.so*")) + sorted(folder.glob("libtensorflow_cc*.dylib"))
    if not found:
        raise RuntimeError(f"No libtensorflow_cc in `{folder}`. Expected a Linux or macOS wheel of TensorFlow 2.16+.")
    return found[0]


@functools.cache
def load_library():
    """Return the library, loaded once, with XLA compilation off.

    Returns:
        A `ctypes.CDLL` whose functions know their arguments.

    Raises:
        RuntimeError: This process has imported TensorFlow, or has no TensorFlow wheel, or one of another version.

    Example:

        load_library().TF_NewGraph()
    """
    if "tensorflow" in sys.modules:
        raise RuntimeError(
            "SavedModel loads TensorFlow's C++ library by itself, and this process has imported Python TensorFlow, "
            "which would share and change its state. Use zoo.serving.run_native, which runs in a process of its own."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with _quiet():
        library = ctypes.CDLL(str(library_path()))
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise RuntimeError(f"`{library_path()}` does not export {name}; install TensorFlow 2.21.") from None
        function.restype, function.argtypes = result, arguments
    getattr(library, _DISABLE_XLA)()  # TF Serving's default; before any session exists
    return library


@contextlib.contextmanager
def _quiet():
    """Hide what the library prints while it is loaded, which no log level reaches."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def status_of(library, failure):
    """Give a `TF_Status` for a call, and raise what it says when the block ends.

    Args:
        library: `load_library()`.
        failure: What to say before TensorFlow's message.

    Raises:
        TensorFlowError: The call failed.

    Example:

        with status_of(library, "It could not be closed") as status:
            library.TF_CloseSession(session, status)
    """
    status = library.TF_NewStatus()
    try:
        yield status
        code = library.TF_GetCode(status)
        if code:
            raise TensorFlowError(failure, code, library.TF_Message(status).decode(errors="replace"))
    finally:
        library.TF_DeleteStatus(status)


def run_options(library, seconds):
    """Return a serialized `RunOptions` with its one field `timeout_in_ms` (number 2), or None for no limit.

    Example:

        options = run_options(library, 0.5)  # to be freed with TF_DeleteBuffer
    """
    if seconds is None:
        return None
    data = b"\x10" + varint(max(1, round(1000 * seconds)))
    return library.TF_NewBufferFromString(data, len(data))


def registered_ops():
    """Return the ops of TensorFlow's C++ library as a serialized `OpList`: all that a server without Python has.

    Example:

        names = {op.name for op in op_def_pb2.OpList.FromString(registered_ops()).op}
    """
    library = load_library()
    buffer = library.TF_GetAllOpList()
    try:
        return ctypes.string_at(buffer.contents.data, buffer.contents.length)
    finally:
        library.TF_DeleteBuffer(buffer)


def to_tensor(library, array):
    """Return a new `TF_Tensor` that holds an array; strings as an object array of bytes.

    Example:

        tensor = to_tensor(library, np.zeros((1, 128), "float32"))  # to be freed with TF_DeleteTensor
    """
    dimensions = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
    if array.dtype == object:
        tensor = library.TF_AllocateTensor(CODES["string"], dimensions, array.ndim, array.size * _STRING_BYTES)
        start = library.TF_TensorData(tensor)
        for index, item in enumerate(array.ravel()):
            library.TF_StringInit(start + index * _STRING_BYTES)
            library.TF_StringCopy(start + index * _STRING_BYTES, item, len(item))
        return tensor
    array = np.asarray(array, order="C")  # a scalar stays one, which `ascontiguousarray` makes a vector
    tensor = library.TF_AllocateTensor(CODES[NAMES[array.dtype]], dimensions, array.ndim, array.nbytes)
    if array.nbytes:
        ctypes.memmove(library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


def to_array(library, tensor):
    """Return a copy of a `TF_Tensor` as an array; strings as an object array of bytes.

    Raises:
        ValueError: NumPy has no such dtype.

    Example:

        images = to_array(library, tensor)
    """
    dtype = DTYPES.get(library.TF_TensorType(tensor), "invalid")
    shape = tuple(library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor)))
    start, size = library.TF_TensorData(tensor), int(np.prod(shape, dtype=np.int64))
    if dtype == "string":
        places = range(start, start + size * _STRING_BYTES, _STRING_BYTES) if size else ()
        return object_array([_to_text(library, place) for place in places], shape)
    if dtype in ("invalid", "bfloat16"):
        raise ValueError(f"An output is {dtype}, which NumPy cannot hold. Export it as float32.")
    array = np.empty(shape, dtype)
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, start, array.nbytes)
    return array


def _to_text(library, place):
    return ctypes.string_at(library.TF_StringGetDataPointer(place), library.TF_StringGetSize(place))
