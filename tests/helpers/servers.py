"""A development server in its own process, and a model that shows what it was asked."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf


class Server:
    """A running server: its process, its ports, what it logged, and a way to ask it over REST."""

    def __init__(self, exports, **options):
        options = {"port": 0, "rest_api_port": 0, "log_format": "json", "file_system_poll_wait_seconds": 0.1, **options}
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        self._file = tempfile.NamedTemporaryFile("w+", suffix=".log")
        command = [sys.executable, "-m", "zoo.cli", "serve", str(exports)]
        for name, value in options.items():
            flag = name.replace("_", "-")
            command += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        self.process = subprocess.Popen(command, stderr=self._file, env=environment)
        while not (ready := [event for event in self.log if event["event"].startswith("ready")]):
            if self.process.poll() is not None:
                with self._file:
                    raise RuntimeError(f"The server did not start: {self.log}")
            time.sleep(0.02)
        self.grpc, self.rest = ready[0]["grpc"], ready[0]["rest"].removeprefix("http://")

    @property
    def log(self):
        """What it logged so far, as dicts."""
        lines = Path(self._file.name).read_text().splitlines()
        return [json.loads(line) if line.startswith("{") else {"event": line} for line in lines]

    def ask(self, path, body=None, method=None):
        """Return status and JSON of one REST request."""
        connection = http.client.HTTPConnection(self.rest, timeout=30)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method or ("GET" if body is None else "POST"), path, data)
            response = connection.getresponse()
            text = response.read()
        return response.status, json.loads(text) if response.getheader("Content-Type") == "application/json" else text

    def predict(self, body, model="tiny"):
        return self.ask(f"/v1/models/{model}:predict", body)

    def stop(self, number=signal.SIGTERM):
        """Stop it; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._file.close()


def tiny(version=1):
    """A model of many kinds of signatures; `serving_default` multiplies rows by the number of its version."""
    factor = tf.Variable(float(version))

    def rows(x):
        return {"y": factor * x}

    def two(a, b):
        return {"sum": tf.cast(a, "float32") + b, "a": a}

    def odd(x):
        return {"infinite": x / tf.zeros_like(x), "whole": tf.cast(x, "int64"), "bare": x > 0}

    def slow(steps):
        big = tf.random.stateless_normal([300, 300], [1, 2])
        _, last = tf.while_loop(
            lambda step, _: step < tf.reduce_max(steps), lambda step, m: (step + 1, tf.tanh(m @ big)), (0, big)
        )
        return {"y": tf.cast(steps, "float32") + 0 * tf.reduce_sum(last)}

    def text(line, photo):
        return {"shout": tf.strings.upper(line), "length": tf.strings.length(photo), "photo_bytes": photo}

    def sample(seed):
        draw = lambda s: tf.random.stateless_normal([2], tf.stack([s, s]), alg="philox")  # noqa: E731
        return {"points": tf.map_fn(draw, seed, fn_output_signature=tf.float32)}

    def spec(shape, dtype="float32"):
        return tf.TensorSpec(shape, dtype)

    return SimpleNamespace(
        variables=[factor],
        signatures=lambda: {
            "serving_default": (rows, {"x": spec((None, 3))}),
            "two": (two, {"a": spec((None,), "int32"), "b": spec((None,))}),
            "odd": (odd, {"x": spec((None,))}),
            "slow": (slow, {"steps": spec((None,), "int32")}),
            "text": (text, {"line": spec((None,), "string"), "photo": spec((None,), "string")}),
            "sample": (sample, {"seed": spec((None,), "int64")}),
            "lengths": (lambda ids: {"total": tf.reduce_sum(ids, 1)}, {"ids": spec((None, None), "int32")}),
        },
        warmup=lambda: [("odd", {"x": np.ones(2)}), ("lengths", {"ids": [[1, 2]]})],
    )
