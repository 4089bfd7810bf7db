"""The official protocol buffers of TensorFlow and TF Serving, without running TensorFlow's Python package.

`tensorflow_serving.apis` imports `tensorflow.core...`, and with it the whole of TensorFlow, which takes seconds and
must not share a process with its C++ library loaded by hand. Those modules are plain protocol buffers: while they are
imported here, `tensorflow` is nothing but the folder that holds them. Afterwards it may be imported as usual; the
classes are the same ones.
"""

import contextlib
import importlib.util
import sys
import types


@contextlib.contextmanager
def _tensorflow_as_a_folder():
    if "tensorflow" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("tensorflow")  # locates the package, runs none of it
    if spec is None:
        raise ImportError("TensorFlow is not installed; its protocol buffers are needed. Run: pip install tensorflow")
    folder = types.ModuleType("tensorflow")
    folder.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = folder
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name == "tensorflow" or name.startswith("tensorflow.")]:
            del sys.modules[name]


with _tensorflow_as_a_folder():
    from tensorflow.core.framework import op_def_pb2, tensor_pb2
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        model_service_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2,
        prediction_service_pb2_grpc,
    )
    from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_server_config_pb2",
    "model_service_pb2",
    "model_service_pb2_grpc",
    "op_def_pb2",
    "predict_pb2",
    "prediction_log_pb2",
    "prediction_service_pb2",
    "prediction_service_pb2_grpc",
    "saved_model_pb2",
    "tensor_pb2",
]
