"""Several processes of one run, on this machine; that they train as one does is in tests/conformance."""

import os
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from recipes import gan
from tests.helpers.recipes import ROOT, TINY, checkpoint, command, run

LAUNCH = [sys.executable, "-m", "zoo.launch", "--workers"]


def launch(*options):
    return subprocess.Popen(
        [*LAUNCH, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def process_of_second(launched):
    """Number of the process of worker 1, from the launcher's first lines."""
    return int(re.search(r"Worker 1: process (\d+)", launched.stdout.readline() + launched.stdout.readline()).group(1))


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)


def wait_for(path, process):
    while process.poll() is None and not path.exists():
        time.sleep(0.01)


RECIPE = ["-m", "recipes.gan", *TINY, "--epochs", "8"]


@pytest.mark.exhaustive
def test_a_killed_worker_stops_the_others_and_the_run_ends_as_if_nothing_had_happened(tmp_path):
    """kill -9 of one of two workers; then the folder moves, and one process ends the run."""
    folder, moved, whole = tmp_path / "run", tmp_path / "moved", tmp_path / "whole"
    killed = launch("2", *RECIPE, "--out", str(folder))
    number = process_of_second(killed)
    wait_for(folder / "checkpoints" / "latest.weights.h5", killed)
    os.kill(number, signal.SIGKILL)
    output = killed.communicate(timeout=120)[0]
    assert killed.returncode == 128 + signal.SIGKILL
    assert "[0] error: Training stopped: worker 0 lost the connection to another worker" in output
    assert "start the same command on all of them again" in output and "Traceback" not in output
    assert 4 <= steps(folder) < 32

    folder.rename(moved)
    for one in (moved, whole):
        run(gan, one, "--epochs", "8")
    assert_close(checkpoint(moved), checkpoint(whole))


@pytest.mark.slow
def test_four_workers_stop_together_at_sigterm_and_two_replicas_go_on(tmp_path):
    """The weights are those of one process."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    stopped = launch("4", *RECIPE, "--out", str(folder))
    wait_for(folder / "checkpoints" / "latest.weights.h5", stopped)
    stopped.send_signal(signal.SIGTERM)
    output = stopped.communicate(timeout=120)[0]
    assert stopped.returncode == 0, output
    for index in range(4):
        assert f"[{index}] Stopped by SIGTERM after {steps(folder)} of 32 steps" in output
    assert 4 <= steps(folder) < 32 and not (folder / "metrics.json").exists()
    resumed = command("gan", folder, "--epochs", "8", "--strategy", "mirrored", "--replicas", "2")
    output = subprocess.run(resumed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "Resuming after" in output and "2 replicas of 1 worker" in output
    run(gan, whole, "--epochs", "8")
    assert_close(checkpoint(folder), checkpoint(whole))


def steps(folder):
    with h5py.File(folder / "checkpoints" / "latest.weights.h5") as file:
        return int(np.array(file["vars"]["0"]))


@pytest.mark.slow
def test_sigterm_of_one_worker_stops_all_and_asks_for_the_others_to_be_started_again(tmp_path):
    """75 is EX_TEMPFAIL; a Kubernetes job starts such a worker again."""
    stopped = launch("2", *RECIPE, "--out", str(tmp_path / "run"))
    number = process_of_second(stopped)
    wait_for(tmp_path / "run" / "checkpoints" / "latest.weights.h5", stopped)
    os.kill(number, signal.SIGTERM)
    output = stopped.communicate(timeout=120)[0]
    assert stopped.returncode == 75
    assert "[1] Stopped by SIGTERM after" in output and "[0] Stopped by a signal to another worker after" in output


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
