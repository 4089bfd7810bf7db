"""The suite sees what it is there for: faults planted into a copy of the project, each caught by the tests named here.

A fault is one change of the text of a file, as a slip of the pen would make it. Where the text is no longer there, the
fault has to be planted anew.
"""

import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.recipes import ROOT

EXECUTIONS, KEEPING = "tests/conformance/test_executions.py", "tests/conformance/test_keeping.py"
SERVING = "tests/conformance/test_serving.py"
# {what is wrong: (file, its text, what is planted, tests that run, as (file, expression of `-k`))}
FAULTS = {
    "a loss that is not divided by the rows of all replicas": (
        "zoo/training/batch.py",
        'ops.sum(ops.cast(values, "float32")) / ops.cast(self.size, "float32")',
        'ops.sum(ops.cast(values, "float32")) / ops.cast(self.num_rows, "float32")',
        (EXECUTIONS, "autoencoder and several"),
    ),
    "noise of which the step is no part": (
        "zoo/training/batch.py",
        "& 0x7FFFFFFF, self.step])",
        "& 0x7FFFFFFF, 0 * self.step])",
        ("tests/test_training.py", "noise or step or batch"),
    ),
    "noise that every replica draws alike": (
        "zoo/training/batch.py",
        "return self.of_replica(draw((self.size, *shape), seed=self._key(stream, update)))",
        "return draw((self.num_rows, *shape), seed=self._key(stream, update))",
        (EXECUTIONS, "vae and several"),
    ),
    "a joint term of each replica's own rows": (
        "zoo/training/batch.py",
        "return tf.concat([everyone[: self.start], points, everyone[end:]], axis=0)",
        "return points",
        (EXECUTIONS, "ot_gan and two and compiled"),
    ),
    "micro-batches without what is left over": (
        "zoo/training/updates.py",
        "total = tf.cond(rest > 0, lambda: result(0, ops.maximum(rest, 1)), zeros)",
        "total = zeros()",
        (EXECUTIONS, "autoencoder and several"),
    ),
    "slots that are made too late for a file to fill": (
        "zoo/training/optimizers.py",
        "    optimizer.build(trainable_variables(networks))\n",
        "",
        (KEEPING, "vae and slots"),
    ),
    "an export with the statistics of the batch": (
        "zoo/training/latents.py",
        "return {output: tf.cast(network(latents, training=False), tf.float32)}",
        "return {output: tf.cast(network(latents, training=True), tf.float32)}",
        (SERVING, "minimax and server_answers"),
    ),
    "samples whatever the seed": (
        "zoo/training/latents.py",
        "return from_latents(latents_of(first_draw_keys(seed), latent_dim))",
        "return from_latents(latents_of(first_draw_keys(0 * seed), latent_dim))",
        (SERVING, "minimax and server_answers"),
    ),
    "a checkpoint of a broken model": (
        "zoo/training/guard.py",
        "    def _stop(self, what):\n",
        "    def _stop(self, what):\n        return\n",
        (KEEPING, "vae and nan"),
    ),
    "sums that are logged as means": (
        "zoo/training/model.py",
        "means = tf.math.divide_no_nan(sums[::2], sums[1::2])",
        "means = sums[::2]",
        ("tests/conformance/test_learning.py", "vae and logs"),
    ),
    "an average that does not move": (
        "zoo/training/updates.py",
        "(1.0 + step) / (10.0 + step)",
        "(10.0 + step) / (10.0 + step)",
        ("tests/models/test_gans.py", "average"),
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project without what git does not know, tests run in."""
    folder = tmp_path_factory.mktemp("planted") / "copy"
    ignored = shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__", "pictures")
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


def outcome(folder, file, expression):
    """(exit code of pytest, its last lines)."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        file,
        "-k",
        expression,
        "-x",
        "-q",
        "--tb=line",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, copy):
    """The tests pass without it and fail with it."""
    name, text, planted, tests = FAULTS[fault]
    path = copy / name
    whole = path.read_text(encoding="utf-8")
    assert whole.count(text) == 1, f"{name} has not one place that says: {text}"
    code, output = outcome(copy, *tests)
    assert code == 0, output
    path.write_text(whole.replace(text, planted), encoding="utf-8")
    try:
        code, output = outcome(copy, *tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert code == 1 and re.search(r"\d+ failed", output), output
