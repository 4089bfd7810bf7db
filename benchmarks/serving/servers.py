"""The models that are served, the server, and how it is asked."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
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


def publish(folder):
    """Publishes all models, by a process of its own: this one never imports TensorFlow."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", PUBLISH, folder], check=True, cwd=ROOT, env=environment)


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

    def __enter__(self):
        """The server; leaving the block ends it with SIGTERM."""
        return self

    def __exit__(self, *failure):
        """Ends the server and its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


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
