"""The files of exports/: what TF Serving's flags point to exists and parses, and nothing generated is committed."""

import re
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

EXPORTS = Path(__file__).parents[2] / "exports"
# BatchingParameters of tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which no package ships
BATCHING = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3, "num_batch_threads": 4}


def batching_parameters():
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="test", syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    message = file.message_type.add(name="BatchingParameters")
    for name, number in BATCHING.items():
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value")
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))()


def test_batching_config():
    parameters = text_format.Parse((EXPORTS / "batching.config").read_text(), batching_parameters())
    assert parameters.max_batch_size.value >= 64  # the README asks for 64 samples at once
    assert parameters.batch_timeout_micros.value <= 1000
    assert parameters.num_batch_threads.value >= 1 and parameters.max_enqueued_batches.value >= 1


def test_compose_file():
    text = (EXPORTS / "docker-compose.yml").read_text()
    assert re.search(r"image: tensorflow/serving:\$\{TF_SERVING_TAG:-2\.\d+\.\d+\}", text)  # never `latest`
    assert re.findall(r'- "([^"]+)"', text) == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert "./:/models:ro" in text
    flags = dict(re.findall(r"- --(\w+)=?(\S*)", text))
    assert flags["model_config_file"] == "/models/models.config"
    assert flags["model_config_file_poll_wait_seconds"] == "5"
    assert flags["enable_batching"] == ""
    assert (EXPORTS / Path(flags["batching_parameters_file"]).name).is_file()


def test_readme_names_files_that_exist():
    text = (EXPORTS / "README.md").read_text()
    for name in ("batching.config", "docker-compose.yml"):
        assert name in text and (EXPORTS / name).is_file()
    assert len(text.splitlines()) < 60


def test_generated_files_are_ignored():
    lines = (EXPORTS / ".gitignore").read_text().split()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {
        ".gitignore",
        "README.md",
        "batching.config",
        "docker-compose.yml",
    }
