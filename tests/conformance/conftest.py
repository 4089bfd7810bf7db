"""The row that a test is about, one after the other: what it has traced and exported serves all tests of it."""

import shutil
import time

import pytest

from tests.helpers.rows import ROWS
from tests.helpers.servers import Server
from tests.helpers.subject import exported
from zoo.serving import publish


@pytest.fixture(scope="session", params=ROWS, ids="row {}".format)
def row_name(request):
    return request.param


@pytest.fixture
def row(row_name):
    return ROWS[row_name]


@pytest.fixture(scope="session")
def published(shared):
    """What gives the published version of a row's model, in a base directory of its own, made by whoever asks first."""

    def version_of(name):
        base = shared / "exports" / name
        try:
            base.mkdir(parents=True)
        except FileExistsError:  # Another process is at it, or has been.
            while not (base / name / "1").exists():
                assert base.exists(), f"{name} could not be published by another process, which says why"
                time.sleep(0.1)
            return base / name / "1"
        try:
            return publish(exported(name), base, name, card={})
        except BaseException:
            shutil.rmtree(base)
            raise

    return version_of


@pytest.fixture(scope="session")
def version(row_name, published):
    return published(row_name)


@pytest.fixture(scope="session")
def server(version):
    """What serves a row's model over gRPC and REST: a process without Python TensorFlow."""
    with Server(version.parents[1]) as server:
        yield server
