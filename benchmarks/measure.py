"""What was measured, and what follows from it: rates, ratios, medians and their spread. Pure.

A *sample* is one side's part of a round; a *round* has a sample of pyshard and, right after it, one of its peer. The
ratio of a round is pyshard's rate over the peer's, so that more than 1 means that pyshard is faster. Whatever else
the machine does in a round slows both sides; so the median of the ratios says more than a ratio of medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import attrs


@attrs.frozen
class Sample:
    """One side's part of a round.

    :param operations: documents that were written or read.
    :param seconds: what it took, as the client sees it.
    :param cpu: CPU seconds that the servers used meanwhile.
    """

    operations: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@attrs.frozen
class Round:
    """Both sides' samples of the same work."""

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
    found = list(figures)
    if not found:
        raise ValueError("a spread needs at least one figure")
    return Spread(median(found), min(found), max(found))


@attrs.frozen
class Outcome:
    """What the rounds of one comparison say.

    :param ratio: pyshard's rate over the peer's.
    :param ours: pyshard's operations per second; median.
    :param peers: the peer's.
    :param our_cpu: CPU seconds of pyshard's servers per million operations, over all rounds.
    :param peers_cpu: of the peer's.
    """

    ratio: Spread
    ours: float
    peers: float
    our_cpu: float
    peers_cpu: float


def outcome(rounds: Sequence[Round]) -> Outcome:
    """What rounds say."""
    return Outcome(
        spread(one.ratio for one in rounds),
        median(one.ours.rate for one in rounds),
        median(one.peers.rate for one in rounds),
        cpu_per_million([one.ours for one in rounds]),
        cpu_per_million([one.peers for one in rounds]),
    )


def cpu_per_million(samples: Sequence[Sample]) -> float:
    """CPU seconds of the servers per million operations."""
    return sum(one.cpu for one in samples) / sum(one.operations for one in samples) * 1e6


def per_document(before: int, after: int, documents: int) -> float:
    """Bytes per document, from the bytes that servers had before and after they took documents."""
    return (after - before) / documents
