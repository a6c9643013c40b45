"""What a store tells of itself, beside its documents and bytes."""

from __future__ import annotations

import attrs

from pyshard.metrics.commit_counts import CommitCounts
from pyshard.metrics.histogram import Histogram


@attrs.frozen
class DiskFigures:
    """What a durable store tells of its disk.

    :param waiting: bytes of changes that wait to be committed.
    :param log: bytes of the log's files.
    :param failing: the log takes no changes, as a write or sync has failed and could not be mended yet.
    :param commits: counts of commits.
    :param sizes: bytes that each group of changes has written to the log.
    :param free: bytes that are free where the data lies.
    :param size: bytes of that whole file system.
    """

    waiting: int
    log: int
    failing: bool
    commits: CommitCounts
    sizes: Histogram
    free: int
    size: int

    def described(self) -> dict[str, object]:
        """What `stat` has of it."""
        return {
            "waiting_bytes": self.waiting,
            "log_bytes": self.log,
            "failing": self.failing,
            "disk": {"free": self.free, "size": self.size},
            "commits": self.commits.described() | {"bytes": self.sizes.described()},
        }


@attrs.frozen
class StoreFigures:
    """What a store tells of itself.

    :param expired: records that it has removed as they had expired, since it was opened.
    :param disk: None: it has none.
    """

    expired: int
    disk: DiskFigures | None = None
