"""Two logical CPUs for the tests of replicas; made before TensorFlow starts, which is why it stands here."""

import os
import re
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
# Tests compile much and run little: machine code that is not optimised is there sooner.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# POT imports every framework it finds, for seconds, unless told not to.
os.environ.setdefault("POT_BACKEND_DISABLE_JAX", "1")
os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")
os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")

import pytest

from tests.helpers.imports import without_what_is_unused


def pytest_configure(config):
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return  # The one that hands out tests to others runs none.
    with without_what_is_unused():
        import keras
        import tensorflow as tf

        _ = keras.Model, tf.lite  # Both are imported when they are first used.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


# Files and rows that take longest, so that no process is left with one of them when the others have ended.
LONGEST = ("mask_rcnn", "test_runs", "cycle_gan", "seq2seq", "test_serving", "sinkhorn_gan", "ot_gan")


def group(nodeid):
    """What one process runs together: all that is about a row of the table, otherwise the tests of a file."""
    row = re.search(r"\[row (\w+)", nodeid)
    return row.group(1) if row else Path(nodeid.partition("::")[0]).stem


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(group(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """xdist 3.8 would read the groups from marks, by an attribute of items that pytest 9.2 has no more."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group(nodeid)

    return ByGroup(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The folder that all processes of a run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def cache(shared):
    """One folder for trained classifiers, so that the tests train each once and leave the user's cache alone."""
    os.environ["ZOO_CACHE_DIR"] = str(shared / "cache")


@pytest.fixture(scope="session")
def begun():
    """The group of tests that this process is at, once there is one."""
    return []


@pytest.fixture(autouse=True)
def seeded(request, begun):
    """The same seeds and precision at the start of every test."""
    import keras

    from tests.helpers.seeds import seed

    if begun != [group(request.node.nodeid)]:
        begun[:] = [group(request.node.nodeid)]
        keras.utils.set_random_seed(0)  # And TensorFlow forgets what it compiled for the group before.
    seed()
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for all tests: the collectives of a second one in the same process take the keys of the first."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
