"""Samples and rounds, and the figures made of them: rates, ratios, medians and their spread. Pure.

Rules:

- a *sample* is one side's part of a round; a *round* is a sample of pyshard and, right after it, one of its peer;
- the ratio of a round is pyshard's rate over the peer's: above 1, pyshard is faster;
- the median of the ratios is taken, not the ratio of the medians: whatever else the machine does in a round slows
  both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import attrs


@attrs.frozen
class Sample:
    """One side's part of a round.

    :param operations: documents that were written or read.
    :param seconds: how long that took the client.
    :param cpu: CPU seconds that the servers used meanwhile; None: there are no servers.
    """

    operations: int
    seconds: float
    cpu: float | None

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@attrs.frozen
class Round:
    """The samples of both sides, of the same work."""

    ours: Sample
    peers: Sample

    @property
    def ratio(self) -> float:
        """Pyshard's rate over the peer's."""
        return self.ours.rate / self.peers.rate


@attrs.frozen
class Spread:
    """The median of some figures, with the least and the most of them."""

    median: float
    least: float
    most: float


def spread(figures: Iterable[float]) -> Spread:
    """The spread of some figures.

    :raises ValueError: there are none.
    """
    values = list(figures)
    if not values:
        raise ValueError("a spread needs at least one figure")
    return Spread(median(values), min(values), max(values))


@attrs.frozen
class Outcome:
    """The figures of one comparison, from all its rounds.

    :param ratio: pyshard's rate over the peer's.
    :param ours: pyshard's operations per second; median.
    :param peers: the peer's.
    :param our_cpu: CPU seconds of pyshard's servers per million operations, over all rounds.
    :param peers_cpu: of the peer's; None: it has no servers.
    """

    ratio: Spread
    ours: float
    peers: float
    our_cpu: float | None
    peers_cpu: float | None


def outcome(rounds: Sequence[Round]) -> Outcome:
    """The outcome of some rounds.

    :raises ValueError: there are none.
    """
    return Outcome(
        spread(measured.ratio for measured in rounds),
        median(measured.ours.rate for measured in rounds),
        median(measured.peers.rate for measured in rounds),
        cpu_per_million([measured.ours for measured in rounds]),
        cpu_per_million([measured.peers for measured in rounds]),
    )


def cpu_per_million(samples: Sequence[Sample]) -> float | None:
    """CPU seconds of the servers per million operations; None: there are no servers."""
    known = [sample for sample in samples if sample.cpu is not None]
    if not known:
        return None
    return sum(sample.cpu or 0.0 for sample in known) / sum(sample.operations for sample in known) * 1e6


def per_document(before: int, after: int, documents: int) -> float:
    """Bytes per document.

    :param before: the servers' resident bytes before they stored the documents; `after`: after it.
    """
    return (after - before) / documents
