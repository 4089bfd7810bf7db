"""What a model prints is no part of an answer, and is never loaded as a pickle."""

import numpy as np
import tensorflow as tf

from zoo.serving.loader.isolated import inspect


def test_what_a_model_prints_is_not_taken_for_the_answer(tmp_path):
    """By hand: y = 2 x; the text is a pickle that makes a file when it is loaded."""
    sign = tmp_path / "sign"
    harmful = f"cbuiltins\nopen\n(S'{sign}'\nS'w'\ntR."

    class Printing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serve(self, x):
            tf.raw_ops.PrintV2(input=harmful, output_stream="stdout")
            return {"y": 2 * x}

    model = Printing()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"serving_default": model.serve})
    found = inspect(str(tmp_path / "1"), [("serving_default", {"x": np.float32([1, 2])})])
    np.testing.assert_array_equal(found.rounds[0][0]["y"], [2, 4])
    assert not sign.exists()
