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
import functools
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.serving.batching import batching
from benchmarks.serving.load import load
from benchmarks.serving.servers import MODELS, Rest, Server, latents, publish, seconds
from benchmarks.side_by_side import positive
from zoo.serving import Client, SavedModel


def latency(exports, options):
    """Medians in milliseconds: (in process, gRPC, REST) of each model and batch."""
    print("\nLatency of one client, median in ms; in brackets: time / time in process, and what is added")
    print(f"{'model':10}{'rows':>5}{'in process':>12}{'empty gRPC':>12}{'gRPC':>25}{'REST':>25}")
    with Server(exports) as server, Client(server.grpc) as client:
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
        with Server(Path(folder)) as server, Client(server.grpc) as client:
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


PARTS = {"latency": latency, "batching": batching, "first": first, "load": load}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds of a part (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="length of the load (default: %(default)s)")
    parser.add_argument("--reload", type=float, default=5, help="seconds between versions (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish(folder)
        for part in options.parts:
            PARTS[part](Path(folder), options)


if __name__ == "__main__":
    main()
