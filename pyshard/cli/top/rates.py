"""Two samples of a cluster → what its shards do in a second, and how long that takes. Pure.

Rules:

- a shard that was started anew in between, or wasn't there, has no rates until the next sample. Its uptime tells: it is
  at least the time between the samples, and grows, unless the shard was started anew;
- a percentile is estimated within the bucket that has it, as Prometheus does. Nobody asked: there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import attrs

from pyshard.cli.top.samples import Figures, Sample, ShardSample, TimeHistogram

_READING = ("read", "has", "item")
_KINDS = ("read", "change")


@attrs.frozen
class ShardRates:
    """What is shown of a shard, or of all.

    :param name: the shard's; empty: all of them.
    :param error: why nothing is known; empty: it is.
    :param operations: in a second; None: not known yet. So it is for all rates.
    :param p50: seconds within which half of the batches was answered; None: there were none.
    :param p99: seconds within which 99 of 100 were.
    :param used: part of the limit.
    :param waiting: bytes of changes that wait for the disk; None: there is no disk.
    """

    name: str
    address: str = ""
    error: str = ""
    operations: float | None = None
    reads: float | None = None
    changes: float | None = None
    refused: float | None = None
    p50: float | None = None
    p99: float | None = None
    documents: int = 0
    bytes: int = 0
    limit: int = 0
    connected: int = 0
    waiting: int | None = None
    uptime: float = 0.0

    @property
    def used(self) -> float:
        """The part of the limit that is used."""
        return self.bytes / self.limit if self.limit else 0.0


def rows(before: Sample | None, now: Sample) -> list[ShardRates]:
    """What is shown of each shard.

    :param before: an older sample; None: there is none yet.
    """
    known = {} if before is None else {one.name: one.figures for one in before.shards}
    seconds = 0.0 if before is None else now.at - before.at
    return [_row(known.get(one.name), one, seconds) for one in now.shards]


def total(given: Sequence[ShardRates], before: Sample | None, now: Sample) -> ShardRates:
    """What is shown of all shards together."""
    alive = [row for row in given if not row.error]
    waiting = [row.waiting for row in alive if row.waiting is not None]
    older = {} if before is None else {one.name: one.figures for one in before.shards}
    seconds = 0.0 if before is None else now.at - before.at
    times = [_between(older.get(one.name), one.figures, seconds) for one in now.shards if one.figures is not None]
    bounds, counts = _merged([time for time in times if time is not None])
    return ShardRates(
        "",
        operations=_sum([row.operations for row in alive]),
        reads=_sum([row.reads for row in alive]),
        changes=_sum([row.changes for row in alive]),
        refused=_sum([row.refused for row in alive]),
        p50=percentile(bounds, counts, 0.5),
        p99=percentile(bounds, counts, 0.99),
        documents=sum(row.documents for row in alive),
        bytes=sum(row.bytes for row in alive),
        limit=sum(row.limit for row in given),
        connected=sum(row.connected for row in alive),
        waiting=sum(waiting) if waiting else None,
    )


def percentile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """The value below which a part of all values lies, more or less; None: there are none.

    :param bounds: the largest value of each bucket; the last bucket has none.
    :param counts: how many values each bucket has.
    """
    number = sum(counts)
    if not number or len(counts) != len(bounds) + 1:
        return None
    wanted = part * number
    sums = list(accumulate(counts))
    place = next(place for place, reached in enumerate(sums) if reached >= wanted)
    if place == len(bounds):
        return bounds[-1] if bounds else None
    below = bounds[place - 1] if place else 0.0
    before = sums[place] - counts[place]
    return below + (bounds[place] - below) * (wanted - before) / counts[place]


def _row(before: Figures | None, now: ShardSample, seconds: float) -> ShardRates:
    figures = now.figures
    if figures is None:
        return ShardRates(now.name, now.address, now.error, limit=now.limit)
    known = ShardRates(
        now.name,
        now.address,
        documents=figures.documents,
        bytes=figures.bytes,
        limit=now.limit,
        connected=figures.connected,
        waiting=figures.waiting_bytes,
        uptime=figures.uptime,
    )
    times = _between(before, figures, seconds)
    if before is None or times is None or seconds <= 0:
        return known
    bounds, counts = _merged([times])
    done = {name: verb.done - _verb(before, name)[0] for name, verb in figures.verbs.items()}
    reads = sum(count for name, count in done.items() if name in _READING)
    refused = sum(verb.refused - _verb(before, name)[1] for name, verb in figures.verbs.items())
    return attrs.evolve(
        known,
        operations=(figures.operations - before.operations) / seconds,
        reads=reads / seconds,
        changes=(sum(done.values()) - reads) / seconds,
        refused=refused / seconds,
        p50=percentile(bounds, counts, 0.5),
        p99=percentile(bounds, counts, 0.99),
    )


def _verb(figures: Figures, name: str) -> tuple[int, int]:
    found = figures.verbs.get(name)
    return (0, 0) if found is None else (found.done, found.refused)


def _between(before: Figures | None, now: Figures | None, seconds: float) -> list[TimeHistogram] | None:
    """The times of what came between two samples; None: they don't tell, since the shard was started anew."""
    if before is None or now is None:
        return None
    if now.uptime < max(before.uptime, seconds) or now.operations < before.operations:
        return None
    found = []
    for kind in _KINDS:
        times, older = now.latencies.get(kind, TimeHistogram()), before.latencies.get(kind, TimeHistogram())
        if times.bounds == older.bounds and len(times.counts) == len(older.counts):
            counts = [max(0, one - two) for one, two in zip(times.counts, older.counts, strict=True)]
            found.append(TimeHistogram(times.bounds, counts))
    return found


def _merged(given: Sequence[list[TimeHistogram]]) -> tuple[list[float], list[int]]:
    """Histograms with the same bounds, as one; those with others are left out."""
    all_times = [times for some in given for times in some if times.bounds]
    if not all_times:
        return [], []
    bounds = all_times[0].bounds
    same = [times.counts for times in all_times if times.bounds == bounds and len(times.counts) == len(bounds) + 1]
    return bounds, [sum(column) for column in zip(*same, strict=True)]


def _sum(given: Sequence[float | None]) -> float | None:
    known = [one for one in given if one is not None]
    return sum(known) if known else None
