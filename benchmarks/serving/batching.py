"""Requests per second of many clients, with batching and without."""

import concurrent.futures
import multiprocessing
import statistics
import threading
import time

import grpc

from benchmarks.serving.servers import CLIENTS, MODELS, ROOT, Server, latents, seconds
from benchmarks.side_by_side import print_table, ratios, spread
from zoo.serving import SavedModel
from zoo.serving.formats.protos import predict_pb2
from zoo.serving.formats.tensors import fill_proto

BATCHING = ROOT / "exports" / "batching.config"


def batching(exports, options):
    """Requests per second with and without batching."""
    print(
        f"\nBatching: requests per second, {CLIENTS} clients of one row over gRPC, median of {options.rounds} rounds;"
    )
    print(
        f"in process: rows per second in batches of {CLIENTS} / in {CLIENTS} threads of one row, which bounds the ratio"
    )

    def rows():
        parameters = ("--batching-parameters-file", str(BATCHING))
        with Server(exports, "--no-enable-batching") as plain, Server(exports, *parameters) as batched:
            for name in MODELS[1:]:
                rates = [(rate(plain, name), rate(batched, name)) for _ in range(options.rounds)]
                slow, fast = zip(*rates, strict=True)
                found, bound = ratios(fast, slow), in_process_ratio(exports / name / "1")
                medians = (f"{statistics.median(column):.0f}" for column in (slow, fast))
                yield name, *medians, f"{found['ratio']:.2f}", spread(found), f"{bound:.2f}"

    columns = [("model", 10), ("without", 10), ("with", 10), ("ratio", 8), ("min - max", 16), ("in process", 12)]
    print_table(columns, rows())


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
