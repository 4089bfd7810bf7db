"""Mixed requests for minutes, while versions are replaced."""

import concurrent.futures
import functools
import os
import shutil
import statistics
import threading
import time

import numpy as np

from benchmarks.serving.servers import CLIENTS, MODELS, Rest, Server, latents, seconds
from zoo.serving import Client


def load(exports, options):
    """Mixed requests while versions are replaced: failures, latencies, memory."""
    print(
        f"\nLoad: {CLIENTS} clients for {options.minutes:g} minutes, new versions every {options.reload:g} s",
        flush=True,
    )
    stop, failures, times = threading.Event(), [], []
    with Server(exports) as server, Client(server.grpc, seconds=60) as client:

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
