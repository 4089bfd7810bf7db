"""Counters and histograms under the names that TF Serving gives them, for Prometheus to read."""

import prometheus_client
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

PATH = "/monitoring/prometheus/metrics"
_MICROSECONDS = [10 * 1.8**power for power in range(33)]
_ROWS = [2**power for power in range(14)]

prometheus_client.disable_created_metrics()


class Metrics:
    """What happened, since the start.

    Args:
        loaded: Function that returns how many versions are loaded.
    """

    def __init__(self, loaded):
        self._registry = prometheus_client.CollectorRegistry()
        self._requests, self._known = _RequestCount(), {}
        self._registry.register(self._requests)
        prometheus_client.ProcessCollector(registry=self._registry)
        histogram = self._histogram
        self._latency = histogram("request_latency", "microseconds", _MICROSECONDS, "model_name", "API", "entrypoint")
        self._runtime = histogram("runtime_latency", "microseconds", _MICROSECONDS, "model_name", "API", "runtime")
        self._waiting = histogram("batching_session:queuing_latency", "microseconds", _MICROSECONDS)
        self._batches = histogram("batching_session:processed_batch_size", "rows", _ROWS)
        gauge = prometheus_client.Gauge("zoo_loaded_versions", "Versions that are loaded", registry=self._registry)
        gauge.set_function(loaded)

    def observe_request(self, name, status, seconds, entrypoint, api="Predict"):
        """Count a request to a known model and the time it took; `entrypoint` is GRPC or REST."""
        self._requests.count(name, status)
        if status == "OK":
            self._child(self._latency, name, api, entrypoint).observe(1e6 * seconds)

    def observe_run(self, name, seconds):
        """Count the time that a request waited for its batch and ran."""
        self._child(self._runtime, name, "Predict", "TF1").observe(1e6 * seconds)

    def observe_batch(self, rows, seconds):
        """Count a batch, and the time that its first request waited."""
        self._batches.observe(rows)
        self._waiting.observe(1e6 * seconds)

    def page(self):
        """Return the text that Prometheus reads, as bytes."""
        return prometheus_client.generate_latest(self._registry)

    def _child(self, histogram, *labels):
        """What `labels` gives, without its lock and checks at every request."""
        key = histogram, labels
        if key not in self._known:
            self._known[key] = histogram.labels(*labels)
        return self._known[key]

    def _histogram(self, name, unit, buckets, *labels):
        name = f":tensorflow:serving:{name}"
        return prometheus_client.Histogram(name, f"In {unit}", labels, buckets=buckets, registry=self._registry)


class _RequestCount(Collector):
    """`prometheus_client.Counter` would add `_total` to the name, which TF Serving's has not."""

    def __init__(self):
        self._counts = {}

    def count(self, name, status):
        self._counts[name, status] = self._counts.get((name, status), 0) + 1

    def collect(self):
        metric = Metric(":tensorflow:serving:request_count", "Requests", "unknown")
        for (name, status), value in list(self._counts.items()):
            metric.add_sample(metric.name, {"model_name": name, "status": status}, value)
        yield metric
