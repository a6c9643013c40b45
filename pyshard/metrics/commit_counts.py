"""What a durable store counts of its commits. The writer's thread adds to it."""

from __future__ import annotations

from pyshard.metrics.histogram import SECONDS, Histogram


class CommitCounts:
    """The counts of one store.

    :ivar updates: batches, and steps of the store's own work, that were committed.
    :ivar seconds: how long commits took: the work, the write, the sync, and what is flushed between them.
    """

    def __init__(self) -> None:
        self.updates = 0
        self.seconds = Histogram(SECONDS)

    def add(self, updates: int, seconds: float) -> None:
        """Count a commit, unless nothing was committed.

        :param updates: how many of its updates were committed; those that failed don't count.
        """
        if updates:
            self.updates += updates
            self.seconds.add(seconds)

    def described(self) -> dict[str, object]:
        """What `stat` has of it."""
        return {"updates": self.updates, "seconds": self.seconds.described()}
