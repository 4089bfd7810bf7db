"""The row that a test is about, one after the other: what it has traced and exported serves all tests of it."""

import shutil
import subprocess
import sys
import time

import pytest

from tests.helpers.recipes import ROOT
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


def once(folder, make):
    """A folder that all processes of a run share, made by whichever comes first."""
    done = folder.with_name(f"{folder.name}.done")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:  # Another process is at it, or has been.
        while not done.exists():
            assert folder.exists(), f"{folder.name} could not be made by another process, which says why"
            time.sleep(0.1)
        return folder
    try:
        make(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    done.touch()
    return folder


@pytest.fixture(scope="session")
def published(shared):
    """What gives the published version of a row's model, in a base directory of its own."""

    def version_of(name):
        base = once(shared / "exports" / name, lambda base: publish(exported(name), base, name, card={}))
        return base / name / "1"

    return version_of


@pytest.fixture(scope="session")
def of_two_workers(shared):
    """Folder of what two workers leave that train all rows, one after the other."""
    command = [sys.executable, "-m", "zoo.launch", "--workers", "2", "-m", "tests.helpers.worker"]
    return once(
        shared / "workers",
        lambda folder: subprocess.run([*command, str(folder)], cwd=ROOT, check=True, capture_output=True),
    )


@pytest.fixture(scope="session")
def version(row_name, published):
    return published(row_name)


@pytest.fixture(scope="session")
def server(version):
    """What serves a row's model over gRPC and REST: a process without Python TensorFlow."""
    with Server(version.parents[1]) as server:
        yield server
