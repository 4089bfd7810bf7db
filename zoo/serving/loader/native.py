"""Load and run a SavedModel without Python TensorFlow: the C++ loader TF Serving is built on."""

import contextlib
import ctypes
import os
import threading
from pathlib import Path

from zoo.serving.formats.folders import find_all
from zoo.serving.formats.protos import get_model_metadata_pb2, meta_graph_pb2
from zoo.serving.formats.signatures import describe_signatures, names_of
from zoo.serving.loader.inputs import check_inputs
from zoo.serving.loader.library import Output, load_library, run_options, status_of, to_array, to_tensor


class SavedModel:
    """A SavedModel in TF Serving's C++ loader, with XLA off; safe to run from several threads at once.

    Args:
        path: Version folder that holds `saved_model.pb`, such as `exports/wgan_gp/1`.

    Attributes:
        signatures: `{name: {"inputs": {name: (dtype, shape)}, "outputs": {name: (dtype, shape)}}}`. A dtype is a name
            such as `"float32"` or `"string"`; a shape is a tuple with None where a dimension is dynamic, or None
            where even the rank is unknown.
        signature_defs: The same as a `SignatureDefMap`, TensorFlow's own hooks among them.

    Raises:
        FileNotFoundError: `path` holds no `saved_model.pb`.
        TensorFlowError: TensorFlow cannot load it (a ValueError); the message is TensorFlow's.
        RuntimeError: This process has imported TensorFlow (use `zoo.serving.run_native`), or has no TensorFlow wheel.

    Example:
        >>> folder = Path("exports/wgan_gp/1")
        >>> folder.mkdir(parents=True)
        >>> (folder / "saved_model.pb").touch()
        >>> SavedModel(folder)  # where TensorFlow is imported, as in a training process
        Traceback (most recent call last):
        RuntimeError: ... Use zoo.serving.run_native, which runs in a process of its own.

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
        self._library = load_library()
        self._graph = self._library.TF_NewGraph()
        try:
            self._session, meta_graph = self._load()
            _check_variables(self.path, meta_graph)
        except Exception:
            self.close()
            raise
        definitions = meta_graph.signature_def  # a copy does without its large graph
        self.signature_defs = get_model_metadata_pb2.SignatureDefMap(signature_def=definitions)
        self.signatures, self._tensors = describe_signatures(self.signature_defs), {}

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
            raise KeyError(f"No signature `{signature}` in `{self.path}`. It has: {names_of(self.signatures)}.")
        arrays = self.check_inputs(signature, inputs)
        feeds, fetches = self._feeds_and_fetches(signature)
        if outputs is not None:
            fetches = {name: fetches[name] for name in outputs}
        library, count = self._library, len(fetches)
        tensors, results = [], (ctypes.c_void_p * count)()
        options = run_options(library, seconds)
        try:
            for name in feeds:
                tensors.append(to_tensor(library, arrays[name]))
            with status_of(library, f"Signature `{signature}` of `{self.path}` failed") as status:
                given = (Output * len(feeds))(*feeds.values()), (ctypes.c_void_p * len(feeds))(*tensors), len(feeds)
                wanted = (Output * count)(*fetches.values()), results, count
                library.TF_SessionRun(session, options, *given, *wanted, None, 0, None, status)
            return {name: to_array(library, results[index]) for index, name in enumerate(fetches)}
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
        return check_inputs(signature, inputs, self.signatures[signature]["inputs"])

    def close(self):
        """Free the session, its graph and its variables when nothing runs any more; a second call does nothing."""
        with self._changed:
            session, self._session = self._session, None
            self._changed.wait_for(lambda: not self._running)
            graph, self._graph = self._graph, None
        if session is not None:
            with status_of(self._library, f"`{self.path}` could not be closed") as status:
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
            with status_of(library, f"TensorFlow's C++ loader refused `{self.path}`") as status:
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
            definition = self.signature_defs.signature_def[signature]
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
        return Output(pointer, int(index or 0))


def _check_variables(path, meta_graph):
    """Refuse a graph of variables without their values, such as one whose files are still being copied.

    TensorFlow's loader takes it for one without variables, and every request would fail.
    """
    there = (path / "variables" / "variables.index").is_file()
    if not there and any(node.op == "VarHandleOp" for node in meta_graph.graph_def.node):
        raise ValueError(f"`{path}` has variables, but no variables/variables.index. Was it copied whole?")


def _describe_missing(path):
    versions = find_all(path) if path.is_dir() else []
    loadable = [version for version in versions if (version / "saved_model.pb").is_file()]
    hint = f" Did you mean `{loadable[-1]}`?" if loadable else ""
    return f"No saved_model.pb in `{path}`. Expected a version folder such as exports/wgan_gp/1.{hint}"
