"""`zoo.ot` as a train step uses it."""

import tensorflow as tf

from benchmarks.ot.contestants.base import Contestant
from zoo.ot import ipot, point_cloud_sinkhorn, sinkhorn


class Zoo(Contestant):
    """`zoo.ot` inside a `tf.function`, as in a train step."""

    def __init__(self, threads):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        # It warns of functions that are made anew, which is what a task is.
        tf.get_logger().setLevel("ERROR")

    def sinkhorn(self, arrays, epsilon, iterations, tolerance=0.0, dtype="float32", **options):
        """`sinkhorn`; a tolerance of 0 never stops."""
        cost, epsilon = tf.constant(arrays["cost"], dtype), tf.constant(epsilon, dtype)
        sides = [name for name in ("source_weights", "target_weights") if name in arrays]
        weights = {name: tf.constant(arrays[name], dtype) for name in sides}

        @tf.function
        def solve(cost):
            result = sinkhorn(cost, epsilon, tolerance=tolerance, max_iterations=iterations, **weights, **options)
            return result._asdict()

        return finished(lambda: solve(cost))

    def ipot(self, arrays, beta, iterations, gradient=None):
        """`ipot`; with `gradient` "envelope" or "unrolled" also the gradient in the cost."""
        cost = tf.constant(arrays["cost"])
        masks = {name: tf.constant(array) for name, array in arrays.items() if name.endswith("mask")}

        def forward(cost, **options):
            result = ipot(cost, beta, num_iterations=iterations, **masks, **options)
            return {"transport_cost": result.transport_cost, "plan": result.plan}

        # Gradients through all iterations are compiled where the caller's function is, as a train step may be.
        @tf.function(jit_compile=gradient == "unrolled")
        def solve(cost):
            if gradient is None:
                return forward(cost)
            with tf.GradientTape() as tape:
                tape.watch(cost)
                result = forward(cost, gradient=gradient)
            return result | {"gradient": tape.gradient(result["transport_cost"], cost)}

        return finished(lambda: solve(cost))

    def point_cloud(self, arrays, epsilon, iterations):
        """`point_cloud_sinkhorn`, which never holds the cost matrix."""
        source, target = tf.constant(arrays["source"]), tf.constant(arrays["target"])

        def solve():
            return point_cloud_sinkhorn(source, target, epsilon, tolerance=0.0, max_iterations=iterations)._asdict()

        return finished(solve)


def finished(solve):
    """`solve` of TensorFlow, waited for."""

    def call():
        result = solve()
        result["transport_cost"].numpy()
        return result

    return call
