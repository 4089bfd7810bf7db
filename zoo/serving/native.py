"""Load and run a SavedModel without Python TensorFlow: the C++ loader TF Serving is built on, through ctypes.

The TensorFlow wheel ships `libtensorflow_cc.so.2`. This file finds it, switches XLA compilation off as TF Serving
does, and runs signatures. It imports the standard library, NumPy and TensorBoard's compiled protos only, so it also
works as a plain file, outside the zoo package:

    python zoo/serving/native.py exports/wgan_gp/1 --signature sample --seeds 64 --png samples.png
"""

import argparse
import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from tensorboard.compat.proto import meta_graph_pb2

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
CODES = {name: code for code, name in DTYPES.items()}
NAMES = {np.dtype(name): name for name in DTYPES.values() if name not in ("string", "bfloat16")}
_STRING_BYTES = 24  # sizeof(TF_TString)
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"  # void tensorflow::DisableXlaCompilation()


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class _Output(ctypes.Structure):
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
        [
            _pointer,
            _pointer,
            _text,
            ctypes.POINTER(_text),
            _integer,
            _pointer,
            ctypes.POINTER(_Buffer),
            _pointer,
        ],
    ),
    "TF_CloseSession": (None, [_pointer, _pointer]),
    "TF_DeleteSession": (None, [_pointer, _pointer]),
    "TF_SessionRun": (
        None,
        [_pointer, ctypes.POINTER(_Buffer)]
        + [ctypes.POINTER(_Output), ctypes.POINTER(_pointer), _integer] * 2
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


class SavedModel:
    """A SavedModel in TF Serving's C++ loader, with XLA off; safe to run from several threads at once.

    Args:
        path: Version folder that holds `saved_model.pb`, such as `exports/wgan_gp/1`.

    Attributes:
        signatures: `{name: {"inputs": {name: (dtype, shape)}, "outputs": {name: (dtype, shape)}}}`. A dtype is a name
            such as `"float32"` or `"string"`; a shape is a tuple with None where a dimension is dynamic, or None
            where even the rank is unknown.
        signature_defs: `{name: serialized SignatureDef}`, TensorFlow's own hooks among them.

    Raises:
        FileNotFoundError: `path` holds no `saved_model.pb`.
        TensorFlowError: TensorFlow cannot load it (a ValueError); the message is TensorFlow's.
        RuntimeError: This process has imported TensorFlow (use `zoo.serving.run_native`), or has no TensorFlow wheel.

    Example:

        with SavedModel("exports/wgan_gp/1") as model:
            images = model.run("sample", seed=np.arange(16))["images"]
    """

    def __init__(self, path):
        """Load the version at `path`."""
        self._session = self._graph = None
        self._running, self._changed = 0, threading.Condition()
        self.path = Path(path)
        if not (self.path / "saved_model.pb").is_file():
            raise FileNotFoundError(_describe_missing(self.path))
        self._library = _load_library()
        self._graph = self._library.TF_NewGraph()
        try:
            self._session, meta_graph = self._load()
        except Exception:
            self.close()
            raise
        self._definitions, self._tensors = meta_graph.signature_def, {}
        self.signature_defs = {name: value.SerializeToString() for name, value in meta_graph.signature_def.items()}
        self.signatures = describe_signatures(meta_graph)

    def run(self, signature, /, **inputs):
        """Run one signature.

        Args:
            signature: Name of the signature.
            **inputs: One array per input, shapes and dtypes as in `signatures`. Lists are converted; strings may be
                str, bytes, or arrays of them.

        Returns:
            `{output name: array}`; string tensors come back as object arrays of bytes.

        Raises:
            KeyError: There is no such signature.
            ValueError: Inputs are missing, unexpected, or of another dtype or shape.
            TensorFlowError: TensorFlow reports an error (a ValueError too).

        Example:

            model.run("serving_default", latents=np.zeros((4, 128), "float32"))["images"].shape
        """
        return self.predict(signature, inputs)

    def predict(self, signature, inputs, outputs=None, seconds=None):
        """Run one signature, as `run`, and only as far as some outputs need, or only for some time.

        Args:
            signature: Name of the signature.
            inputs: `{input name: array}`.
            outputs: Names of the outputs wanted; None means all.
            seconds: Give up after this time; None means never.

        Returns:
            `{output name: array}`.

        Raises:
            KeyError, ValueError: As `run`; a TensorFlowError with code 4 when time is up.

        Example:

            model.predict("serving_default", {"latents": latents}, seconds=0.5)
        """
        with self._held() as session:
            return self._predict(session, signature, inputs, outputs, seconds)

    @contextlib.contextmanager
    def _held(self):
        """The session, which `close` leaves alone until it is no longer held."""
        with self._changed:
            if self._session is None:
                raise RuntimeError(f"The SavedModel `{self.path}` is closed. Run it inside its `with` block.")
            self._running += 1
        try:
            yield self._session
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _predict(self, session, signature, inputs, outputs, seconds):
        if signature not in self.signatures:
            raise KeyError(f"No signature `{signature}` in `{self.path}`. It has: {_names(self.signatures)}.")
        arrays = self.check_inputs(signature, inputs)
        feeds, fetches = self._feeds_and_fetches(signature)
        if outputs is not None:
            fetches = {name: fetches[name] for name in outputs}
        library, count = self._library, len(fetches)
        tensors, results = [], (ctypes.c_void_p * count)()
        options = _run_options(library, seconds)
        try:
            for name in feeds:
                tensors.append(_to_tensor(library, arrays[name]))
            with _status(library, f"Signature `{signature}` of `{self.path}` failed") as status:
                library.TF_SessionRun(
                    session,
                    options,
                    (_Output * len(feeds))(*feeds.values()),
                    (ctypes.c_void_p * len(feeds))(*tensors),
                    len(feeds),
                    (_Output * count)(*fetches.values()),
                    results,
                    count,
                    None,
                    0,
                    None,
                    status,
                )
            return {name: _to_array(library, results[index]) for index, name in enumerate(fetches)}
        finally:
            if options is not None:
                library.TF_DeleteBuffer(options)
            for tensor in tensors:
                library.TF_DeleteTensor(tensor)  # its strings too
            for result in filter(None, results):
                library.TF_DeleteTensor(result)

    def check_inputs(self, signature, inputs):
        """Return the inputs of a signature as arrays of its dtypes.

        Raises:
            ValueError: Inputs are missing, unexpected, or of another dtype or shape.

        Example:

            model.check_inputs("sample", {"seed": [0, 1]})  # {"seed": array([0, 1])}
        """
        return _check_inputs(signature, inputs, self.signatures[signature]["inputs"])

    def close(self):
        """Free the session, its graph and its variables when nothing runs any more; a second call does nothing."""
        with self._changed:
            session, self._session = self._session, None
            self._changed.wait_for(lambda: not self._running)
            graph, self._graph = self._graph, None
        if session is not None:
            with _status(self._library, f"`{self.path}` could not be closed") as status:
                self._library.TF_CloseSession(session, status)
                self._library.TF_DeleteSession(session, status)
        if graph is not None:
            self._library.TF_DeleteGraph(graph)

    def __enter__(self):
        """Return the model itself."""
        return self

    def __exit__(self, *_):
        """Free the model."""
        self.close()

    def __del__(self):
        """Free the model when nobody holds it any more."""
        self.close()

    def _load(self):
        library = self._library
        options, buffer = library.TF_NewSessionOptions(), library.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with _status(library, f"TensorFlow's C++ loader refused `{self.path}`") as status:
                session = library.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(self.path), tags, 1, self._graph, buffer, status
                )
            data = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        finally:
            library.TF_DeleteSessionOptions(options)
            library.TF_DeleteBuffer(buffer)
        return session, meta_graph_pb2.MetaGraphDef.FromString(data)

    def _feeds_and_fetches(self, signature):
        if signature not in self._tensors:
            definition = self._definitions[signature]
            self._tensors[signature] = tuple(
                {key: self._output(value.name) for key, value in sorted(side.items())}
                for side in (definition.inputs, definition.outputs)
            )
        return self._tensors[signature]

    def _output(self, name):
        operation, _, index = name.partition(":")
        pointer = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer:
            raise ValueError(f"A signature of `{self.path}` names the tensor `{name}`, which its graph does not hold.")
        return _Output(pointer, int(index or 0))


def describe_signatures(meta_graph):
    """Return the signatures of a `MetaGraphDef`, as `SavedModel.signatures`.

    Example:

        describe_signatures(meta_graph)["sample"]["inputs"]  # {"seed": ("int64", (None,))}
    """
    return {
        name: {
            "inputs": {key: _describe(value) for key, value in sorted(definition.inputs.items())},
            "outputs": {key: _describe(value) for key, value in sorted(definition.outputs.items())},
        }
        for name, definition in sorted(meta_graph.signature_def.items())
        if not name.startswith("__saved_model")  # TensorFlow's own initialization hooks
    }


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
def _load_library():
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
def _status(library, failure):
    status = library.TF_NewStatus()
    try:
        yield status
        code = library.TF_GetCode(status)
        if code:
            raise TensorFlowError(failure, code, library.TF_Message(status).decode(errors="replace"))
    finally:
        library.TF_DeleteStatus(status)


def _run_options(library, seconds):
    """A serialized `RunOptions` with its one field `timeout_in_ms` (number 2), or None."""
    if seconds is None:
        return None
    data = b"\x10" + varint(max(1, round(1000 * seconds)))
    return library.TF_NewBufferFromString(bytes(data), len(data))


def varint(value):
    """Return a non-negative integer as protocol buffers write it: seven bits a byte, the lowest first.

    Example:

        varint(300)  # b"\\xac\\x02"
    """
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def registered_ops():
    """Return the ops of TensorFlow's C++ library as a serialized `OpList`: all that a server without Python has.

    Example:

        names = {op.name for op in op_def_pb2.OpList.FromString(registered_ops()).op}
    """
    library = _load_library()
    buffer = library.TF_GetAllOpList()
    try:
        return ctypes.string_at(buffer.contents.data, buffer.contents.length)
    finally:
        library.TF_DeleteBuffer(buffer)


def _check_inputs(signature, inputs, expected):
    if inputs.keys() != expected.keys():
        raise ValueError(
            f"Signature `{signature}` takes the inputs {_names(expected)}. Received: {_names(inputs)} "
            f"(missing: {_names(expected.keys() - inputs.keys())}; "
            f"unexpected: {_names(inputs.keys() - expected.keys())})."
        )
    return {name: _check_input(signature, name, inputs[name], *expected[name]) for name in expected}


def _check_input(signature, name, value, dtype, shape):
    if dtype == "string":
        array = _to_bytes(signature, name, value)
    elif dtype not in CODES or dtype == "bfloat16":
        raise ValueError(f"Input `{name}` of `{signature}` is {dtype}, which NumPy cannot hold. Export it as float32.")
    else:
        array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value)
        if array is not value and array.dtype != object and np.can_cast(array.dtype, dtype, "same_kind"):
            array = _convert(signature, name, value, dtype)  # a list has no dtype of its own
        if NAMES.get(array.dtype) != dtype:
            raise ValueError(
                f"Input `{name}` of `{signature}` must be {dtype}. Received: {array.dtype}. "
                f"Convert it with .astype({dtype!r})."
            )
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise ValueError(
            f"Input `{name}` of `{signature}` must have shape {shape}, where None is any size. "
            f"Received: shape {array.shape}."
        )
    return array


def _convert(signature, name, value, dtype):
    try:
        return np.asarray(value, dtype)
    except OverflowError as error:
        raise ValueError(f"Input `{name}` of `{signature}` must be {dtype}. Received: {error}.") from None


def _to_bytes(signature, name, value):
    array = np.asarray(value, dtype=None if isinstance(value, np.ndarray | np.generic) else object)
    items = array.ravel().tolist()
    if not all(isinstance(item, str | bytes) for item in items):
        kinds = _names({type(item).__name__ for item in items})
        raise ValueError(f"Input `{name}` of `{signature}` must hold str or bytes. Received: {kinds}.")
    result = np.empty(len(items), dtype=object)
    result[:] = [item.encode() if isinstance(item, str) else item for item in items]
    return result.reshape(array.shape)


def _to_tensor(library, array):
    dimensions = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
    if array.dtype == object:
        tensor = library.TF_AllocateTensor(CODES["string"], dimensions, array.ndim, array.size * _STRING_BYTES)
        start = library.TF_TensorData(tensor)
        for index, item in enumerate(array.ravel()):
            library.TF_StringInit(start + index * _STRING_BYTES)
            library.TF_StringCopy(start + index * _STRING_BYTES, item, len(item))
        return tensor
    array = np.ascontiguousarray(array)
    tensor = library.TF_AllocateTensor(CODES[NAMES[array.dtype]], dimensions, array.ndim, array.nbytes)
    if array.nbytes:
        ctypes.memmove(library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


def _to_array(library, tensor):
    dtype = DTYPES.get(library.TF_TensorType(tensor), "invalid")
    shape = tuple(library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor)))
    start, size = library.TF_TensorData(tensor), int(np.prod(shape, dtype=np.int64))
    if dtype == "string":
        array = np.empty(size, dtype=object)
        for index in range(size):
            item = start + index * _STRING_BYTES
            array[index] = ctypes.string_at(library.TF_StringGetDataPointer(item), library.TF_StringGetSize(item))
        return array.reshape(shape)
    if dtype in ("invalid", "bfloat16"):
        raise ValueError(f"An output is {dtype}, which NumPy cannot hold. Export it as float32.")
    array = np.empty(shape, dtype)
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, start, array.nbytes)
    return array


def _describe(info):
    shape = info.tensor_shape
    dimensions = None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)
    return DTYPES.get(info.dtype, "invalid"), dimensions


def _describe_missing(path):
    versions = sorted(int(p.name) for p in path.glob("*/") if p.name.isdigit() and (p / "saved_model.pb").is_file())
    hint = f" Did you mean `{path / str(versions[-1])}`?" if versions else ""
    return f"No saved_model.pb in `{path}`. Expected a version folder such as exports/wgan_gp/1.{hint}"


def _names(names):
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def _format(tensors):
    return ", ".join(f"{name}: {dtype} {shape}" for name, (dtype, shape) in tensors.items())


def _draw_samples(path, signature, count, png):
    import drawing  # beside this file; needs Pillow, which loading and running do not

    started = time.perf_counter()
    with SavedModel(path) as model:
        loaded = time.perf_counter() - started
        description = model.signatures.get(signature, {"inputs": {}, "outputs": {}})
        if signature in model.signatures and description["inputs"] != {"seed": ("int64", (None,))}:
            raise ValueError(
                f"Signature `{signature}` must take one input, seed: int64 (None,). "
                f"Received: {_format(description['inputs'])}. Choose another with --signature."
            )
        seeds, seconds = np.arange(count), []
        for _ in range(4):
            started = time.perf_counter()
            outputs = model.run(signature, seed=seeds)
            seconds.append(time.perf_counter() - started)
    samples = outputs.get("images", outputs.get("points"))
    if samples is None:
        raise ValueError(f"Signature `{signature}` must give `images` or `points`. Received: {_names(outputs)}.")
    drawing.draw(samples).save(png)
    print(f"{path}: signature {signature}")
    print(f"  inputs   {_format(description['inputs'])}")
    print(f"  outputs  {_format(description['outputs'])}")
    for name, array in outputs.items():
        print(f"  {name}  {array.dtype} {array.shape}, min {array.min():.3f}, max {array.max():.3f}")
    print(
        f"  load {loaded:.2f} s, first run {1e3 * seconds[0]:.1f} ms, "
        f"then {1e3 * np.median(seconds[1:]):.1f} ms for {count} rows"
    )
    print(f"  wrote {png}")


def main():
    """Draw samples of an export into a PNG, and show that neither zoo, Keras nor TensorFlow was imported."""
    parser = argparse.ArgumentParser(description="Sample from a SavedModel through TensorFlow's C++ loader.")
    parser.add_argument("path", type=Path, help="version folder, such as exports/wgan_gp/1")
    parser.add_argument("--signature", default="sample", help="signature that takes `seed` (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=64, help="number of rows, seeds 0, 1, … (default: %(default)s)")
    parser.add_argument("--png", type=Path, default=Path("samples.png"), help="file to write (default: %(default)s)")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}")
    try:
        _draw_samples(options.path, options.signature, options.seeds, options.png)
    except (OSError, KeyError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(f"error: {error.args[0] if isinstance(error, KeyError) else error}")
    imported = [name for name in ("zoo", "keras", "tensorflow") if name in sys.modules]
    if imported:
        sys.exit(f"error: {_names(imported)} imported; run this file by its path: python zoo/serving/native.py …")
    print("  imported: none of zoo, keras, tensorflow")


if __name__ == "__main__":
    main()
