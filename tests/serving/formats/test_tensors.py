"""TensorProto to NumPy and back: TensorFlow's own conversion is the oracle."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from zoo.serving.formats.protos import tensor_pb2
from zoo.serving.formats.tensors import fill_proto, to_array

DTYPES = "float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()


def written(array):
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, array)
    return proto


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [[[0, 1, 2], [1, 0, 100]], np.zeros((0, 3)), 1])
def test_numbers_agree_with_tensorflow(dtype, values):
    array = np.asarray(values).astype(dtype)
    for read in (tf.make_ndarray(written(array)), to_array(written(array)), to_array(tf.make_tensor_proto(array))):
        assert read.dtype == array.dtype and read.shape == array.shape
        np.testing.assert_array_equal(read, array)


def test_values_stand_in_the_field_of_their_dtype():
    """TF Serving's default, which clients see that read `float_val` by themselves."""
    proto = written(np.float32([[1.5, np.nan]]))
    assert list(proto.float_val)[0] == 1.5 and len(proto.float_val) == 2 and not proto.tensor_content


def test_strings():
    array = np.array([[b"a", b"\xff\x00"]], dtype=object)
    for read in (tf.make_ndarray(written(array)), to_array(written(array)), to_array(tf.make_tensor_proto(array))):
        assert read.tolist() == array.tolist()


def test_the_last_value_is_repeated():
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1, 2])
    proto.tensor_shape.dim.add().size = 4
    np.testing.assert_array_equal(to_array(proto), tf.make_ndarray(proto))
    assert to_array(proto).tolist() == [1, 2, 2, 2]
    proto.ClearField("float_val")
    assert to_array(proto).tolist() == [0, 0, 0, 0]


def test_what_is_no_tensor():
    proto = tensor_pb2.TensorProto(dtype=1, tensor_content=b"123")
    proto.tensor_shape.dim.add().size = 1
    with pytest.raises(ValueError, match="has 4 bytes of content. Received: 3"):
        to_array(proto)
    proto.tensor_shape.dim[0].size = 2**50
    with pytest.raises(ValueError, match="Expected at most"):
        to_array(proto)
    proto.tensor_shape.dim[0].size = -1
    with pytest.raises(ValueError, match="non-negative"):
        to_array(proto)
    with pytest.raises(ValueError, match="dtype float16 cannot be sent"):
        to_array(tensor_pb2.TensorProto(dtype=19))
    with pytest.raises(ValueError, match="dtype number 77 cannot be sent"):
        to_array(tensor_pb2.TensorProto(dtype=77))
    proto = tensor_pb2.TensorProto(dtype=6, int_val=[300])
    proto.tensor_shape.dim.add().size = 1
    with pytest.raises(ValueError, match="int8 has values beyond"):
        to_array(proto)


@pytest.mark.exhaustive
def test_the_protos_need_no_tensorflow_and_are_tensorflows_own():
    code = """
import sys
from zoo.serving.formats.protos import predict_pb2, tensor_pb2
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
assert TensorProto is tensor_pb2.TensorProto
predict_pb2.PredictRequest().inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
