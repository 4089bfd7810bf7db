"""Several processes that train one model, on this machine."""

import os
import re
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest

from recipes import wgan_gp
from tests import worker
from tests.conformance import ROWS, compile_sgd, fit, largest_difference
from tests.test_runs import ROOT, TINY, checkpoint, run

LAUNCH = [sys.executable, "-m", "zoo.launch", "--workers"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All rows trained by two workers, which take turns at nothing: one launch for all tests."""
    folder = tmp_path_factory.mktemp("workers")
    for name, row in ROWS.items():
        np.savez(folder / f"{name}.start.npz", *row.build().get_weights())
    subprocess.run([*LAUNCH, "2", "-m", "tests.worker", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ROWS)
def test_two_workers_equal_one(name, trained):
    """Batches of seven rows, split four and three, two steps at a time; weights, running means, and the saved file."""
    model = ROWS[name].build()
    model.set_weights(worker.read(trained / f"{name}.start.npz"))
    compile_sgd(model)
    logs = fit(model, ROWS[name].examples(3 * worker.BATCH), batch_size=worker.BATCH).history
    assert largest_difference(model.get_weights(), worker.read(trained / f"{name}.end.npz")) < 1e-5
    assert (
        largest_difference(model.get_weights(), keras.models.load_model(trained / f"{name}.keras").get_weights()) < 1e-5
    )
    with np.load(trained / f"{name}.logs.npz") as found:
        assert set(found) == set(logs)
        for term, values in logs.items():
            np.testing.assert_allclose(found[term], values, atol=1e-4, rtol=1e-4)


def launch(*options):
    return subprocess.Popen(
        [*LAUNCH, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def wait_for(path, process):
    while process.poll() is None and not path.exists():
        time.sleep(0.01)


def test_a_killed_worker_stops_the_others_and_the_same_command_ends_as_if_nothing_had_happened(tmp_path):
    """kill -9 of one of two workers; then the folder moves, one worker gets SIGTERM, and one process ends the run."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    recipe = ["-m", "recipes.wgan_gp", *TINY, "--epochs", "8"]
    killed = launch("2", *recipe, "--out", str(folder))
    number = int(re.search(r"Worker 1: process (\d+)", killed.stdout.readline() + killed.stdout.readline()).group(1))
    wait_for(folder / "checkpoints" / "latest.weights.h5", killed)
    os.kill(number, signal.SIGKILL)
    output = killed.communicate(timeout=120)[0]
    assert killed.returncode == 128 + signal.SIGKILL
    assert "[0] error: Training stopped: worker 0 lost the connection to another worker" in output
    assert "start the same command on all of them again" in output and "Traceback" not in output
    before = steps(folder)
    assert 4 <= before < 32

    moved = folder.rename(tmp_path / "moved")
    stopped = launch("2", *recipe, "--out", str(moved))
    while stopped.poll() is None and steps(moved) == before:
        time.sleep(0.01)
    stopped.send_signal(signal.SIGTERM)
    output = stopped.communicate(timeout=120)[0]
    assert stopped.returncode == 0, output
    assert f"Resuming after {before} of 32 steps" in output and "Stopped by SIGTERM after" in output
    assert before < steps(moved) < 32 and not (moved / "metrics.json").exists()

    for one in (moved, whole):
        run(wgan_gp, one, "--epochs", "8")
    expected, found = checkpoint(whole), checkpoint(moved)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)


def steps(folder):
    with h5py.File(folder / "checkpoints" / "latest.weights.h5") as file:
        return int(np.array(file["vars"]["0"]))


def test_the_launcher_passes_on_output_and_the_first_failure(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, json, sys\n"
        "print('index', json.loads(os.environ['TF_CONFIG'])['task']['index'], sys.argv[1])\n"
        "raise SystemExit(3)\n"
    )
    process = launch("2", str(script), "--option")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 3
    assert "[0] index 0 --option" in output and "[1] index 1 --option" in output and "ended with exit code 3" in output
