"""Counters for Prometheus. Routes are labelled by their pattern, never by what a client wrote."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What the service counts; one registry a service."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "mien_requests", "Answered requests", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "From header to answer", ("route",), registry=registry, buckets=SECONDS
        )
        self.refused = Counter("mien_refused", "Refusals by kind", ("kind",), registry=registry)
        self.pictures = Counter("mien_pictures", "Pictures analysed", registry=registry)
        self.faces = Counter("mien_faces", "Faces found in pictures", registry=registry)
        self.batches = Histogram(
            "mien_batch_pictures",
            "Pictures analysed together",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32),
        )
        self.reading = Counter("mien_reading_seconds", "Time spent in the analyzer", registry=registry)
        self.jobs_ended = Counter("mien_jobs_ended", "Jobs by how they ended", ("state",), registry=registry)
        self.open = Gauge("mien_open", "Requests at work", ("what",), registry=registry)

    def batch(self, pictures: int, faces: int, seconds: float) -> None:
        """Count a batch."""
        self.pictures.inc(pictures)
        self.faces.inc(faces)
        self.batches.observe(pictures)
        self.reading.inc(seconds)

    def watch(self, jobs: Callable[[], dict[str, int]], disk: Callable[[], int]) -> None:
        """Ask these when the metrics are asked for: jobs by state, and bytes on the disk."""

        class _Asked(Collector):
            def collect(self):  # type: ignore[no-untyped-def]
                states = GaugeMetricFamily("mien_jobs", "Jobs by state", labels=["state"])
                for state, count in jobs().items():
                    states.add_metric([state], count)
                yield states
                yield GaugeMetricFamily("mien_disk_bytes", "Clips that wait and results", value=disk())

        self._registry.register(_Asked())

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
