"""The development server lives: versions come and go, limits hold, and it stops when asked."""

import concurrent.futures
import contextlib
import shutil
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from tests.helpers.servers import Server, tiny
from zoo.serving import Client, RequestError, publish
from zoo.serving.formats.warmup import write_warmup

X = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Three published versions of one model."""
    base = tmp_path_factory.mktemp("versions")
    return [publish(tiny(number), base, "tiny", card={"data": "none"}) for number in (1, 2, 3)]


def copy(versions, base, *numbers):
    """A base directory with some of the versions."""
    for number in numbers:
        shutil.copytree(versions[number - 1], base / f"partial{number}")
        (base / "tiny").mkdir(exist_ok=True)
        (base / f"partial{number}").rename(base / "tiny" / str(number))


# Versions, labels, reload


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return value


@pytest.mark.exhaustive
def test_new_versions_are_served_without_losing_a_request(versions, tmp_path):
    copy(versions, tmp_path, 1)
    stop, failed, factors = threading.Event(), [], set()
    with Server(tmp_path) as server, Client(server.grpc) as client:

        def ask():
            while not stop.is_set():
                try:
                    factors.add(float(client.predict("tiny", x=np.ones((1, 3), "float32"))["y"][0, 0]))
                    status, _ = server.predict({"inputs": X})
                    assert status == 200
                except Exception as error:
                    failed.append(error)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            for number in (2, 3):
                copy(versions, tmp_path, number)
                until(lambda number=number: float(number) in factors)
            until(lambda: client.status("tiny") == {1: "END", 2: "END", 3: "AVAILABLE"})
            stop.set()
        assert all(one.done() for one in asking) and not failed
        assert factors == {1.0, 2.0, 3.0}
        # A version that does not load, or fails to warm up, leaves the old one where it is.
        shutil.copytree(versions[0], tmp_path / "four")
        write_warmup(tmp_path / "four", "tiny", [("sample", {"z": np.arange(2)})])
        (tmp_path / "four").rename(tmp_path / "tiny" / "4")
        until(lambda: client.status("tiny").get(4) == "END")
        (tmp_path / "tiny" / "5").mkdir()
        until(lambda: client.status("tiny").get(5) == "END")
        (failed_to_load,) = server.ask("/v1/models/tiny/versions/4")[1]["model_version_status"]
        assert failed_to_load["state"] == "END" and "unexpected: `z`" in failed_to_load["status"]["error_message"]
        assert client.predict("tiny", x=X)["y"][0, 0] == 3
        # The newest goes: the one before it comes back.
        shutil.rmtree(tmp_path / "tiny" / "5")
        shutil.rmtree(tmp_path / "tiny" / "4")
        shutil.rmtree(tmp_path / "tiny" / "3")
        until(lambda: client.status("tiny").get(2) == "AVAILABLE")
        until(lambda: client.status("tiny")[3] == "END")
        assert client.predict("tiny", x=X)["y"][0, 0] == 2


def config(base, text):
    entry = f'name: "tiny" base_path: "{base}/tiny" model_platform: "tensorflow" {text}'
    return f"model_config_list {{ config {{ {entry} }} }}"


def test_policies_labels_and_reload(versions, tmp_path):
    copy(versions, tmp_path, 1, 2, 3)
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 }'
    two = "model_version_policy { specific { versions: 1 versions: 3 } }"
    (tmp_path / "models.config").write_text(config("/models", f"{two} {labels}"))  # as in the container
    with Server(tmp_path, allow_reload_config=True) as server, Client(server.grpc) as client:

        def factor(**which):
            return client.predict("tiny", x=X, **which)["y"][0, 0]

        def reload(text):
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse(text, request.config)
            with grpc.insecure_channel(server.grpc) as channel:
                return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request)

        assert client.status("tiny") == {3: "AVAILABLE", 1: "AVAILABLE"}
        assert (factor(), factor(version=1), factor(label="stable"), factor(label="canary")) == (3, 1, 1, 3)
        assert server.ask("/v1/models/tiny/labels/stable:predict", {"inputs": [[1, 1, 1]]})[1]["outputs"] == [[1, 1, 1]]
        moved = labels.replace("value: 1", "value: 3")
        assert reload(config(tmp_path, f"{two} {moved}")).status.error_code == 0
        assert factor(label="stable") == 3
        for words, text in {
            "not currently available for inference": config(tmp_path, f"{two} {labels.replace('1', '2')}"),
            "multiple times": config(tmp_path, "} config { name: 'tiny' base_path: '/x'"),
            "unsupported platform caffe": config(tmp_path, "").replace("tensorflow", "caffe"),
            "Only ModelConfigList": "",
        }.items():
            with pytest.raises(grpc.RpcError) as info:
                reload(text)
            assert words in info.value.details()
        assert factor(label="stable") == 3  # what was refused changed nothing
        # The file is followed too: the newest two versions, and a file that does not parse changes nothing.
        (tmp_path / "models.config").write_text(config(tmp_path, "model_version_policy { latest { num_versions: 2 } }"))
        until(lambda: client.status("tiny").get(1) == "END" and client.status("tiny").get(2) == "AVAILABLE")
        (tmp_path / "models.config").write_text("no config")
        time.sleep(0.3)
        assert factor(version=2) == 2
        assert server.stop() == 0
        assert any(event["event"] == "the model config was not taken" for event in server.log)


# Stopping, limits, start


def test_a_version_that_was_seen_half_copied_is_loaded_when_its_files_are_there(versions, tmp_path):
    """Its own folder stays as it was while files come into the one below it, as when `cp -r` is at work."""
    whole, half = versions[0], tmp_path / "tiny" / "1"
    (half / "variables").mkdir(parents=True)
    shutil.copy(whole / "saved_model.pb", half)
    with Server(tmp_path) as server, Client(server.grpc) as client:
        until(lambda: client.status("tiny") == {1: "END"})
        for path in (whole / "variables").iterdir():
            data = path.read_bytes()
            (half / "variables" / path.name).write_bytes(data[: len(data) // 2])
        time.sleep(0.5)
        assert client.status("tiny") == {1: "END"}  # all names are there, half of what they hold is not
        for path in (whole / "variables").iterdir():
            shutil.copy(path, half / "variables")
        until(lambda: client.status("tiny") == {1: "AVAILABLE"})
        assert client.predict("tiny", x=X)["y"].tolist() == X


@pytest.mark.exhaustive
def test_a_version_that_does_not_load_is_tried_again_as_often_as_by_tf_serving(versions, tmp_path):
    """`max_num_load_retries` of tensorflow_serving/model_servers/main.cc: so many tries after the first one."""
    (tmp_path / "tiny" / "1").mkdir(parents=True)
    (tmp_path / "tiny" / "1" / "saved_model.pb").write_bytes(b"no")

    def failures(server):
        return len([event for event in server.log if event["event"] == "version failed to load"])

    with Server(tmp_path, max_num_load_retries=2, load_retry_interval_micros=200_000) as server:
        until(lambda: failures(server) == 3)
        time.sleep(0.6)
        assert failures(server) == 3
        (tmp_path / "tiny" / "1" / "saved_model.pb").write_bytes(b"no again")  # another file: from the start
        until(lambda: failures(server) == 6)
    with Server(tmp_path) as server:  # by default a minute passes between two tries
        time.sleep(0.5)
        assert failures(server) == 1


@pytest.mark.exhaustive
def test_time_limit_and_graceful_stop(versions, tmp_path):
    copy(versions, tmp_path, 1)
    with Server(tmp_path, rest_api_timeout_in_ms=3000) as server, Client(server.grpc) as client:

        def seconds(steps):
            started = time.perf_counter()
            client.predict("tiny", "slow", steps=[steps])
            return time.perf_counter() - started

        steps = max(1, round(500 * 0.5 / seconds(500)))  # of about half a second
        with pytest.raises(RequestError, match="DEADLINE_EXCEEDED"):
            seconds(20 * steps)
        body = {"signature_name": "slow", "inputs": [20 * steps]}
        assert server.predict(body) == (504, {"error": "The request took longer than 3000 ms"})
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asked = pool.submit(seconds, steps)
            asked_rest = pool.submit(server.predict, {**body, "inputs": [steps]})
            time.sleep(0.2)
            assert server.stop() == 0
            assert asked.result() > 0 and asked_rest.result() == (200, {"outputs": [float(steps)]})
        with pytest.raises(RequestError, match="UNAVAILABLE"):
            seconds(1)


@pytest.mark.exhaustive
def test_what_keeps_it_from_starting(versions, tmp_path):
    copy(versions, tmp_path, 1)
    with pytest.raises(RuntimeError, match="There is no folder"):
        Server(tmp_path / "nowhere")
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for option, words in {"port": "is the port taken", "rest_api_port": "another with --rest-api-port"}.items():
            with pytest.raises(RuntimeError, match=words) as info:
                Server(tmp_path, **{option: taken.getsockname()[1]})
            assert "version loaded" not in str(info.value)  # which may take minutes
    with Server(tmp_path) as other, pytest.raises(RuntimeError, match="Choose another with --port"):
        Server(tmp_path, port=int(other.grpc.partition(":")[2]))
    (tmp_path / "batching.config").write_text("max_batch_size { value: 0 }")
    with pytest.raises(RuntimeError, match="max_batch_size must be at least 1"):
        Server(tmp_path)
    (tmp_path / "batching.config").write_text("pad_variable_length_inputs: true")
    with pytest.raises(RuntimeError, match="pad_variable_length_inputs is not offered"):
        Server(tmp_path)
    (tmp_path / "models.config").write_text("config")
    with pytest.raises(RuntimeError, match="does not parse as the ModelServerConfig"):
        Server(tmp_path, enable_batching=False)


@pytest.mark.exhaustive
def test_without_batching_everything_is_answered_too(versions, tmp_path):
    copy(versions, tmp_path, 1)
    with Server(tmp_path, enable_batching=False, log_requests=True) as server:
        assert server.predict({"inputs": X}) == (200, {"outputs": X})
        assert server.stop() == 0
        (event,) = [event for event in server.log if event["event"] == "request"]
        assert (event["model"], event["status"], event["entrypoint"]) == ("tiny", "OK", "REST")
