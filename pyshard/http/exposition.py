"""Metrics as Prometheus reads them: its text format, or OpenMetrics where it asks for that.

Rules:

- the registry is this daemon's own, and is read in the reactor's thread;
- what asks for a format in words that nobody understands gets the text format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pyshard.metrics.family import Family, Kind, Sample, Stat

_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}", re.ASCII)


class DaemonCollector(Collector):
    """Reads all metrics of a daemon out of its `stat`, once for each question.

    :param families: its metrics.
    """

    def __init__(self, families: Iterable[Family], stat: Callable[[], Stat]) -> None:
        self._families = tuple(families)
        self._stat = stat

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        stat = self._stat()
        for family in self._families:
            if samples := list(family.samples(stat)):
                yield _metric(family, samples)

    def describe(self) -> list[Metric]:
        """See `Collector`: nothing, so that nobody collects to find out names."""
        return []


class Exposition:
    """What ``/metrics`` answers.

    :param families: the daemon's metrics.
    :param stat: gives what they are read out of.
    """

    def __init__(self, families: Iterable[Family], stat: Callable[[], Stat]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(DaemonCollector(families, stat))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their content type.

        :param accept: which formats may be given, as the header ``Accept`` says.
        """
        encode, content_type = choose_encoder(understood(accept))
        return encode(self._registry), content_type


def understood(accept: str) -> str:
    """A header ``Accept`` without the formats whose version is no number: the encoders compare and repeat it.

    :param accept: may be anything.
    """
    return ",".join(each for each in accept.split(",") if all(map(_VERSION.fullmatch, _versions(each))))


def _versions(media_range: str) -> list[str]:
    words = [word.strip() for word in media_range.split(";")]
    return [word.removeprefix("version=") for word in words if word.startswith("version=")]


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, value in samples:
            histogram.add_metric(labels, *_buckets(value))
        return histogram
    made = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = made(family.name, family.text, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, float(value))
    return metric


def _buckets(value: Stat) -> tuple[list[tuple[str, float]], float]:
    """A histogram's buckets, each with all values up to its bound, and the sum."""
    buckets, total = [], 0
    for bound, count in zip([*map(str, map(float, value["bounds"])), "+Inf"], value["counts"], strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets, value["sum"]
