"""Numbers of a server for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tfprior.serving.served import Shelf

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Requests by what became of them, and what the engines of a shelf do.

    Attributes:
        registry: that Prometheus reads.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tfprior_requests", "Requests.", ["model", "verb", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "tfprior_request_seconds",
            "Seconds until an answer was given.",
            ["model", "verb"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.reloads = Counter(
            "tfprior_reloads", "Bundles that were replaced.", ["model", "outcome"], registry=self.registry
        )
        self.registry.register(_Engines(shelf))


class _Engines(Collector):
    """What is read when it is asked for."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(
            "tfprior_examples_waiting", "Examples that wait for a slot.", labels=["model"]
        )
        drawing = GaugeMetricFamily(
            "tfprior_examples_drawing", "Examples that are being drawn.", labels=["model"]
        )
        drawn = CounterMetricFamily("tfprior_images", "Images that were drawn.", labels=["model"])
        for name, served in self.shelf.items():
            if served.engine is not None:
                waiting.add_metric([name], served.engine.waiting)
                drawing.add_metric([name], served.engine.in_slots)
                drawn.add_metric([name], served.engine.drawn)
        return [waiting, drawing, drawn]
