"""What a shard counts of batches: operations by verb and outcome, and how long they take.

Rules:

- A batch costs an addition for each of its runs, and one for its time. Only what is refused is looked at by itself.
- An operation that the client's role doesn't allow isn't counted here, but for its reason in `refusals`.
- A batch that failed as a whole counts as operations that were refused. Its reason is that of the command
  (`pyshard.metrics.connection_counts`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import TypeAlias

from pyshard.metrics.histogram import SECONDS, Histogram
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import (
    READING_RUNS,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
)

#: Every verb, with its run.
VERBS: dict[type[Run], str] = {
    Read: "read",
    Has: "has",
    ReadItem: "item",
    Write: "write",
    Pop: "pop",
    Remove: "remove",
    Touch: "touch",
    Increment: "increment",
}

_READING = frozenset(READING_RUNS.values())

_code_of = itemgetter(0)


class _VerbCounts:
    """The counts of one verb.

    :param times: of batches of this verb alone.
    :ivar operations: all that were asked for.
    :ivar refused: how many of them were refused.
    """

    __slots__ = ("operations", "refused", "times")

    def __init__(self, times: Histogram) -> None:
        self.operations = self.refused = 0
        self.times = times


#: What is counted of a batch: for each run its verb's counts, and how many operations it has.
BatchSizes: TypeAlias = Sequence[tuple[_VerbCounts, int]]


class BatchCounts:
    """The counts of one shard.

    :ivar reading: times of batches that only read, in seconds.
    :ivar changing: those of other batches.
    :ivar key_pages: those of pages of keys.
    :ivar snapshot_pages: those of pages of snapshots.
    :ivar refusals: operations that were refused by themselves, by the error's code.
    """

    def __init__(self) -> None:
        self.reading, self.changing = Histogram(SECONDS), Histogram(SECONDS)
        self.key_pages, self.snapshot_pages = Histogram(SECONDS), Histogram(SECONDS)
        self._verbs = {run: _VerbCounts(self.changing if run not in _READING else self.reading) for run in VERBS}
        self.refusals: Counter[str] = Counter()

    def add(self, runs: Sequence[Run], answers: Sequence[Answer], seconds: float) -> None:
        """Count a batch that was answered.

        :param answers: one for each run.
        :param seconds: from when it was taken up to its answer.
        """
        if len(runs) == 1 and not answers[0].errors:  # most are so, and no call is made for them
            run = runs[0]
            verb = self._verbs[type(run)]
            verb.operations += len(run.keys)
            times = verb.times
            times.counts[bisect_left(SECONDS, seconds)] += 1
            times.sum += seconds
        else:
            self.add_plainly(runs, answers, seconds)

    def add_plainly(self, runs: Sequence[Run], answers: Sequence[Answer], seconds: float) -> None:
        """As `add`, for any batch."""
        self._add(self.sizes(runs), answers, seconds)

    def add_failed(self, runs: Sequence[Run]) -> None:
        """Count a batch that failed as a whole."""
        self._add_failed(self.sizes(runs))

    def add_outcome(self, sizes: BatchSizes, outcome: object, seconds: float) -> None:
        """Count a batch when it is answered.

        :param sizes: what `sizes` gave for it.
        :param outcome: its answers, or how it failed.
        """
        if isinstance(outcome, list):
            self._add(sizes, outcome, seconds)
        else:
            self._add_failed(sizes)

    def sizes(self, runs: Sequence[Run]) -> BatchSizes:
        """What is kept of a batch to count it when it is answered: none of its documents."""
        return [(self._verbs[type(run)], len(run.keys)) for run in runs]

    def _add(self, sizes: BatchSizes, answers: Sequence[Answer], seconds: float) -> None:
        times = self.reading
        for (verb, operations), answer in zip(sizes, answers, strict=True):
            verb.operations += operations
            if answer.errors:
                verb.refused += len(answer.errors)
                self.refusals.update(map(_code_of, answer.errors.values()))
            if verb.times is self.changing:
                times = self.changing
        times.add(seconds)

    def _add_failed(self, sizes: BatchSizes) -> None:
        for verb, operations in sizes:
            verb.operations += operations
            verb.refused += operations

    def described(self) -> dict[str, object]:
        """What `stat` has of it, but for `refusals`."""
        counted = {name: self._verbs[run] for run, name in VERBS.items()}
        return {
            "verbs": {
                name: {"done": verb.operations - verb.refused, "refused": verb.refused}
                for name, verb in counted.items()
            },
            "latencies": {
                "read": self.reading.described(),
                "change": self.changing.described(),
                "keys": self.key_pages.described(),
                "snapshot": self.snapshot_pages.described(),
            },
        }
