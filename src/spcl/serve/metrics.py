"""Figures of a server for Prometheus: requests, seconds, batches, answers, and the images that came."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIMILARITIES = tuple(round(0.05 * number, 2) for number in range(-4, 21))


class Metrics:
    """The figures of one server; each server has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "spcl_requests", "Requests that were answered.", ("path", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "spcl_request_seconds",
            "Seconds from the head of a request to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "spcl_batch_images",
            "Images that the network encoded together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.batch_seconds = Counter(
            "spcl_network_seconds", "Seconds in which the network encoded images.", registry=self.registry
        )
        self.waiting = Gauge("spcl_waiting_images", "Images that wait for the network.", registry=self.registry)
        self.images = Gauge("spcl_gallery_images", "Images in the gallery.", registry=self.registry)
        self.identities = Gauge("spcl_gallery_identities", "Identities in the gallery.", registry=self.registry)
        self.answers = Counter(
            "spcl_identified",
            "Queries of /identify, by the answer: named or unknown.",
            ("answer",),
            registry=self.registry,
        )
        self.nearest = Histogram(
            "spcl_nearest_similarity",
            "Similarity of a query to what is nearest to it: an image (search) or an identity (identify).",
            ("path",),
            buckets=_SIMILARITIES,
            registry=self.registry,
        )
        self.enrolled = Counter("spcl_enrolled_images", "Images that were enrolled.", registry=self.registry)

    def observe_batch(self, images: int, seconds: float) -> None:
        """Count a batch of the network."""
        self.batch_images.observe(images)
        self.batch_seconds.inc(seconds)

    def observe_answer(self, path: str, status: int, seconds: float) -> None:
        """Count an answer of a route."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """The figures in the format of Prometheus."""
        return generate_latest(self.registry)
