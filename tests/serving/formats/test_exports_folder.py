"""The files of exports/: what TF Serving's flags point to exists and parses, and nothing generated is committed."""

import re
from pathlib import Path

from zoo.serving.formats.batching_config import read_batching
from zoo.serving.server import metrics

EXPORTS = Path(__file__).parents[3] / "exports"


def test_batching_config():
    parameters = read_batching(EXPORTS / "batching.config")
    assert parameters.max_batch_size >= 64  # the README asks for 64 samples at once
    assert parameters.batch_timeout_micros <= 1000
    assert parameters.num_batch_threads >= 1 and parameters.max_enqueued_batches >= 1


def test_monitoring_config():
    """The prometheus_config of tensorflow_serving/config/monitoring_config.proto, at the path that the server uses."""
    (line,) = [line for line in (EXPORTS / "monitoring.config").read_text().splitlines() if not line.startswith("#")]
    assert line == f'prometheus_config {{ enable: true, path: "{metrics.PATH}" }}'


def test_compose_file():
    text = (EXPORTS / "docker-compose.yml").read_text()
    assert re.search(r"image: tensorflow/serving:\$\{TF_SERVING_TAG:-2\.\d+\.\d+\}", text)  # never `latest`
    assert re.findall(r'- "([^"]+)"', text) == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert "./:/models:ro" in text
    flags = dict(re.findall(r"- --(\w+)=?(\S*)", text))
    assert flags["model_config_file"] == "/models/models.config"
    assert flags["model_config_file_poll_wait_seconds"] == "5"
    assert flags["enable_batching"] == ""
    for flag in ("batching_parameters_file", "monitoring_config_file"):
        assert (EXPORTS / Path(flags[flag]).name).is_file()


def test_readme_names_files_that_exist():
    text = (EXPORTS / "README.md").read_text()
    for name in ("batching.config", "docker-compose.yml", "monitoring.config"):
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
        "monitoring.config",
    }
