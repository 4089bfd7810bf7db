"""Functions that never see a batch without rows."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.rows import never_empty

KINDS = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(None, 2), (None, None), None])
def test_a_function_sees_a_row_of_zeros_where_there_is_none(kind, shape):
    """Rows that are there pass unchanged, also infinite ones; what comes back has as many rows as were given."""

    def function(first, others):
        seen = tf.reduce_any(tf.cast(first, tf.bool))
        rows = tf.fill(tf.shape(first)[:1], seen)
        with tf.control_dependencies([tf.debugging.assert_positive(tf.shape(first)[0])]):
            return {"given": (first, others["second"]), "seen": rows}, tf.constant([7, 8])

    specs = (tf.TensorSpec(shape, kind), {"second": tf.TensorSpec((None,), tf.int64)})
    compiled = tf.function(never_empty(function), input_signature=specs)
    for rows in (0, 1, 3):
        value = np.inf if np.dtype(kind).kind == "f" else 1
        first, second = np.full((rows, 2), value, kind), np.arange(rows)
        found, constant = compiled(tf.constant(first), {"second": tf.constant(second)})
        np.testing.assert_array_equal(found["given"][0], first)
        np.testing.assert_array_equal(found["given"][1], second)
        assert found["seen"].numpy().tolist() == [True] * rows and constant.numpy().tolist() == [7, 8]
