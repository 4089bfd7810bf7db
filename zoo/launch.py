"""Starts several workers of one command on this machine, and ends them together.

    python -m zoo.launch --workers 2 -m recipes.wgan_gp --data digits
    python -m zoo.launch --workers 2 --gpus-per-worker 4 train.py --epochs 3

Each worker gets TF_CONFIG with free ports of this machine, and on request GPUs of its own; its output is passed on
with its number before each line. On several machines there is nothing to launch: start the same command once on each,
with TF_CONFIG saying who is who (docs/scale.md).
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

# How long the others may take to see that a worker is gone, and to end by themselves, before they are killed.
GRACE_SECONDS = 60.0


def main(arguments=None):
    """Runs the workers and returns the exit code: 0 if all ended well, else that of the first that did not.

    Args:
        arguments: Command line; None for that of the process.
    """
    parser = argparse.ArgumentParser("python -m zoo.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, required=True, help="number of processes, at least 1")
    parser.add_argument("--gpus-per-worker", type=int, help="GPUs that each worker sees; by default all see all")
    parser.add_argument("-m", dest="module", action="store_true", help="the command is a module, as in python -m")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="Python file or module, and its options")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers must be at least 1. Received: {options.workers}.")
    if options.gpus_per_worker is not None and options.gpus_per_worker < 1:
        parser.error(f"--gpus-per-worker must be at least 1. Received: {options.gpus_per_worker}.")
    if not options.command:
        parser.error("which command? For example: --workers 2 -m recipes.wgan_gp --data digits")
    program = options.command[0]
    if not options.module and not os.path.exists(program):
        module = f" A module needs -m: `--workers {options.workers} -m {program}`." if program[-3:] != ".py" else ""
        parser.error(f"there is no file `{program}`.{module}")
    command = [sys.executable, *(["-m"] if options.module else []), *options.command]
    workers = start(command, options.workers, options.gpus_per_worker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: send(workers, number))
    return wait(workers)


def start(command, count, gpus_per_worker=None):
    """Starts `count` processes of `command`, each a worker of one cluster.

    Args:
        command: List of words.
        count: Number of workers.
        gpus_per_worker: Number of GPUs for each, or None.

    Returns:
        List of `subprocess.Popen`, in the order of the workers.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONUNBUFFERED": "1"}
        if gpus_per_worker:
            first = index * gpus_per_worker
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(first, first + gpus_per_worker)))
        worker = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C in the terminal reaches this process alone, which hands it on once.
            start_new_session=True,
        )
        worker.reader = threading.Thread(target=pass_on, args=(worker.stdout, index), daemon=True)
        worker.reader.start()
        workers.append(worker)
        print(f"Worker {index}: process {worker.pid}", flush=True)
    return workers


def free_ports(count):
    """Ports of this machine that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def pass_on(stream, index):
    """Prints each line of a worker with its number."""
    for line in stream:
        print(f"[{index}] {line}", end="", flush=True)


def send(workers, number):
    """Sends a signal to the workers that still run."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


def wait(workers):
    """Waits for all workers; when one fails, the others have a while to end by themselves.

    Returns:
        Exit code: 0, or that of the first worker that failed (128 + n for one killed by signal n).
    """
    failed, deadline = None, None
    while True:
        running = [worker for worker in workers if worker.poll() is None]
        bad = [index for index, worker in enumerate(workers) if worker.poll() not in (None, 0)]
        if bad and failed is None:
            failed, deadline = bad[0], time.monotonic() + GRACE_SECONDS
            others = "; the others end too" if running else ""
            print(f"Worker {failed} {how_it_ended(workers[failed])}{others}.", file=sys.stderr, flush=True)
        if not running:
            break
        if deadline is not None and time.monotonic() > deadline:
            send(workers, signal.SIGKILL)
        time.sleep(0.1)
    for worker in workers:
        worker.reader.join(timeout=5)
    code = 0 if failed is None else workers[failed].returncode
    return 128 - code if code < 0 else code


def how_it_ended(worker):
    """Words for an exit code."""
    code = worker.returncode
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


if __name__ == "__main__":
    sys.exit(main())
