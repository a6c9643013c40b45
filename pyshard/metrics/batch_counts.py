"""What a shard counts of batches: operations by verb and outcome, and how long they take.

Rules:

- A batch costs an addition for each of its runs, and one for its time. Only what is refused is looked at by itself.
- A batch that failed as a whole counts as operations that were refused. Its reason is that of the command
  (`pyshard.metrics.connection_counts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

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

_code_of = itemgetter(0)


class BatchCounts:
    """The counts of one shard.

    :ivar reading: times of batches that only read, in seconds.
    :ivar changing: those of other batches.
    :ivar key_pages: those of pages of keys.
    :ivar snapshot_pages: those of pages of snapshots.
    :ivar refusals: operations that were refused by themselves, by the error's code.
    """

    def __init__(self) -> None:
        self._operations = dict.fromkeys(VERBS, 0)
        self._refused = dict.fromkeys(VERBS, 0)
        self._reading_runs = frozenset(READING_RUNS.values())
        self.reading, self.changing = Histogram(SECONDS), Histogram(SECONDS)
        self.key_pages, self.snapshot_pages = Histogram(SECONDS), Histogram(SECONDS)
        self.refusals: Counter[str] = Counter()

    def add(self, runs: Sequence[Run], answers: Sequence[Answer], seconds: float) -> None:
        """Count a batch that was answered.

        :param answers: one for each run.
        :param seconds: from its arrival to its answer.
        """
        times = self.reading
        for run, answer in zip(runs, answers, strict=True):
            verb = type(run)
            self._operations[verb] += len(run.keys)
            if answer.errors:
                self._refused[verb] += len(answer.errors)
                self.refusals.update(map(_code_of, answer.errors.values()))
            if verb not in self._reading_runs:
                times = self.changing
        times.add(seconds)

    def add_failed(self, runs: Sequence[Run]) -> None:
        """Count a batch that failed as a whole."""
        for run in runs:
            self._operations[type(run)] += len(run.keys)
            self._refused[type(run)] += len(run.keys)

    def described(self) -> dict[str, object]:
        """What `stat` has of it, but for `refusals`."""
        operations, refused = self._operations, self._refused
        return {
            "verbs": {
                name: {"done": operations[verb] - refused[verb], "refused": refused[verb]}
                for verb, name in VERBS.items()
            },
            "latencies": {
                "read": self.reading.described(),
                "change": self.changing.described(),
                "keys": self.key_pages.described(),
                "snapshot": self.snapshot_pages.described(),
            },
        }
