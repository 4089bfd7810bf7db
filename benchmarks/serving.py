"""The development server against the same models in process: latency, batching, warm-up, and minutes of mixed load.

    python -m benchmarks.serving
    python -m benchmarks.serving --parts load --minutes 10

Three generators with untrained weights are published into a temporary folder. The server runs in its own process; this
one, which never imports TensorFlow, asks it, and runs the same exports by itself through the same C++ library.

- latency: median of a request over gRPC and over REST, of one client, beside the same run in process; they take turns,
  a millisecond apart, since a core that slept is slow to wake for either. An empty request shows what gRPC costs alone.
- batching: requests per second of 16 clients of one row each, with batching (exports/batching.config) and without.
- first: the first request after loading, beside the median of the following ones.
- load: 16 clients, gRPC and REST, all models, while a new version of each appears every five seconds.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import numpy as np

from zoo.serving import Client, SavedModel
from zoo.serving.formats.protos import predict_pb2
from zoo.serving.formats.tensors import fill_proto

ROOT = Path(__file__).parents[1]
BATCHING = ROOT / "exports" / "batching.config"
PUBLISH = """
import sys
import keras
from zoo import GAN, dcgan_critic, dcgan_generator, mlp_critic, mlp_generator
from zoo.serving import publish
keras.utils.set_random_seed(0)
networks = {
    "points": (mlp_generator((2,), latent_dim=128), mlp_critic((2,))),
    "dcgan_28": (dcgan_generator((28, 28, 1)), dcgan_critic((28, 28, 1))),
    "dcgan_64": (dcgan_generator((64, 64, 3)), dcgan_critic((64, 64, 3))),
}
for name, (generator, judge) in networks.items():
    publish(GAN(generator, judge), sys.argv[1], name, card={})
"""
MODELS = ("points", "dcgan_28", "dcgan_64")
CLIENTS = 16


class Server:
    """A server in its own process, over a base directory."""

    def __init__(self, exports, *options):
        command = [sys.executable, "-m", "zoo.cli", "serve", str(exports), "--port", "0"]
        command += ["--rest-api-port", "0", "--log-format", "json", *options]
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log, cwd=ROOT)
        while not (ready := [line for line in Path(self.log.name).read_text().splitlines() if '"ready' in line]):
            if self.process.poll() is not None:
                sys.exit(f"The server did not start: {Path(self.log.name).read_text()}")
            time.sleep(0.05)
        addresses = json.loads(ready[0])
        self.grpc, self.rest = addresses["grpc"], addresses["rest"].removeprefix("http://")

    def memory(self):
        """Resident memory in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self):
        """Ends it with SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def serve(exports, *options):
    server = Server(exports, *options)
    try:
        yield server
    finally:
        server.stop()


class Rest:
    """One connection that is kept open."""

    def __init__(self, address):
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def predict(self, model, latents):
        """Outputs as lists."""
        body = json.dumps({"inputs": latents.tolist()})
        self._connection.request("POST", f"/v1/models/{model}:predict", body)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(text)
        return json.loads(text)["outputs"]


def latents(rows, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, 128), dtype="float32")


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def latency(exports, options):
    """Medians in milliseconds: (in process, gRPC, REST) of each model and batch."""
    print("\nLatency of one client, median in ms; in brackets: time / time in process, and what is added")
    print(f"{'model':10}{'rows':>5}{'in process':>12}{'empty gRPC':>12}{'gRPC':>25}{'REST':>25}")
    with serve(exports) as server, Client(server.grpc) as client:
        rest = Rest(server.rest)
        for name, rows in [("points", 1), ("dcgan_28", 1), ("dcgan_28", 16), ("dcgan_64", 1), ("dcgan_64", 8)]:
            x = latents(rows)
            with SavedModel(exports / name / "1") as model:
                ways = {
                    "in process": functools.partial(model.run, "serving_default", latents=x),
                    "empty": functools.partial(client.status, name),
                    "gRPC": functools.partial(client.predict, name, latents=x),
                    "REST": functools.partial(rest.predict, name, x),
                }
                times = {way: [] for way in ways}
                for _ in range(options.rounds):
                    for way, function in ways.items():
                        function()
                        times[way] += [seconds(function) for _ in range(50) if time.sleep(0.001) is None]
            own, empty, *others = (1e3 * statistics.median(values) for values in times.values())
            cells = "".join(f"{other:9.2f} ({other / own:5.2f}, {other - own:+5.2f})" for other in others)
            print(f"{name:10}{rows:5}{own:12.2f}{empty:12.2f}{cells}", flush=True)


def batching(exports, options):
    """Requests per second with and without batching."""
    print(
        f"\nBatching: requests per second, {CLIENTS} clients of one row over gRPC, median of {options.rounds} rounds;"
    )
    print(
        f"in process: rows per second in batches of {CLIENTS} / in {CLIENTS} threads of one row, which bounds the ratio"
    )
    print(f"{'model':10}{'without':>10}{'with':>10}{'ratio':>8}{'min - max':>16}{'in process':>12}")
    with serve(exports, "--no-enable-batching") as plain:
        with serve(exports, "--batching-parameters-file", str(BATCHING)) as batched:
            for name in MODELS[1:]:
                rates = [(rate(plain, name), rate(batched, name)) for _ in range(options.rounds)]
                ratios = [fast / slow for slow, fast in rates]
                slow, fast = (statistics.median(column) for column in zip(*rates, strict=True))
                spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
                bound = in_process_ratio(exports / name / "1")
                print(f"{name:10}{slow:10.0f}{fast:10.0f}{statistics.median(ratios):8.2f}{spread:>16}{bound:12.2f}")


def in_process_ratio(path, runs=200):
    """How many times faster batches are than rows in threads, without a server; in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_in_process_ratio, (path, runs))


def _in_process_ratio(path, runs):
    with SavedModel(path) as model, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        one, many = latents(1), latents(CLIENTS)
        model.run("serving_default", latents=one)
        model.run("serving_default", latents=many)
        rows = seconds(lambda: list(pool.map(lambda _: model.run("serving_default", latents=one), range(runs))))
        batches = seconds(lambda: [model.run("serving_default", latents=many) for _ in range(runs // CLIENTS)])
        return rows / runs / (batches / (runs // CLIENTS * CLIENTS))


def rate(server, name, duration=4.0):
    """Requests per second; the request is made once, so that clients cost little."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    fill_proto(request.inputs["latents"], latents(1))
    data, counts = request.SerializeToString(), []
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        call(data)
        end = time.monotonic() + duration

        def ask():
            count = 0
            while time.monotonic() < end:
                call(data)
                count += 1
            counts.append(count)

        threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts) / duration


def first(exports, options):
    """The first request after loading, with and without warm-up requests in the export."""
    print("\nFirst request to a version that was just loaded, ms; in brackets: time / median of the next 50")
    print(f"{'model':10}{'warmed up':>20}{'without warm-up':>20}")
    with tempfile.TemporaryDirectory() as folder:
        cold = Path(folder)
        for name in MODELS:
            shutil.copytree(exports / name, cold / name, ignore=shutil.ignore_patterns("tf_serving_warmup_requests"))
        for name in MODELS:
            pairs = [first_requests(base, name, options.rounds) for base in (exports, cold)]
            print(f"{name:10}" + "".join(f"{1e3 * one:11.2f} ({one / usual:5.2f})" for one, usual in pairs), flush=True)


def first_requests(base, name, rounds):
    """Medians over new versions that a running server loads: (first request, those after it), in seconds."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder) / name
        shutil.copytree(base / name / "1", versions / "1")
        with serve(Path(folder)) as server, Client(server.grpc) as client:
            ask = functools.partial(client.predict, name, latents=latents(1))
            ask()
            for version in range(2, rounds + 2):
                shutil.copytree(versions / "1", versions / f".{version}")
                (versions / f".{version}").rename(versions / str(version))
                while client.wait(name) != version:
                    time.sleep(0.02)
                start = seconds(ask)
                pairs.append((start, statistics.median(seconds(ask) for _ in range(50))))
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


def load(exports, options):
    """Mixed requests while versions are replaced: failures, latencies, memory."""
    print(
        f"\nLoad: {CLIENTS} clients for {options.minutes:g} minutes, new versions every {options.reload:g} s",
        flush=True,
    )
    stop, failures, times = threading.Event(), [], []
    with serve(exports) as server, Client(server.grpc, seconds=60) as client:

        def ask(number):
            chance, rest = np.random.default_rng(number), Rest(server.rest)
            while not stop.is_set():
                name, x = chance.choice(MODELS), latents(int(chance.integers(1, 5)), number)
                way = functools.partial(client.predict, name) if number % 4 else functools.partial(rest.predict, name)
                try:
                    times.append(seconds(functools.partial(way, latents=x)))
                except Exception as error:
                    failures.append(repr(error))
                    rest = Rest(server.rest)

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            for number in range(CLIENTS):
                pool.submit(ask, number)
            began, version, memory = time.monotonic(), 1, []
            while time.monotonic() - began < 60 * options.minutes:
                time.sleep(options.reload)
                version += 1
                replace(exports, version)
                memory.append((time.monotonic() - began, server.memory()))
                if len(memory) % max(1, round(60 / options.reload)) == 0:
                    print(f"  {memory[-1][0]:5.0f} s  {memory[-1][1]:6.0f} MB  {len(times)} requests", flush=True)
            served = {
                name: max(v for v, state in client.status(name).items() if state == "AVAILABLE") for name in MODELS
            }
            stop.set()
    quarter = len(memory) // 4
    early, end = (statistics.median(m for _, m in part) for part in (memory[quarter : 2 * quarter], memory[-quarter:]))
    middle, late = np.percentile(times, [50, 99])
    print(f"requests {len(times)}, failed {len(failures)} {failures[:3] or ''}")
    print(f"versions published {version}, served at the end {served}")
    print(f"latency ms: median {1e3 * middle:.1f}, 99 % {1e3 * late:.1f}, longest {1e3 * max(times):.0f}")
    print(f"memory MB: after the first reload {memory[0][1]:.0f}, at the end {memory[-1][1]:.0f}")
    print(f"memory MB, medians: second quarter {early:.0f}, last quarter {end:.0f} ({end / early:.3f})")


def replace(exports, version):
    """Publish the next version of every model, and remove the one before the last."""
    for name in MODELS:
        folder = exports / name
        partial = folder / f".{version}"
        shutil.copytree(folder / str(version - 1), partial, copy_function=os.link)
        partial.rename(folder / str(version))
        if version > 2:
            shutil.rmtree(folder / str(version - 2))


PARTS = {"latency": latency, "batching": batching, "first": first, "load": load}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a part (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="length of the load (default: %(default)s)")
    parser.add_argument("--reload", type=float, default=5, help="seconds between versions (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", PUBLISH, folder], check=True, cwd=ROOT, env=environment)
        for part in options.parts:
            PARTS[part](Path(folder), options)


if __name__ == "__main__":
    main()
