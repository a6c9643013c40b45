"""A store's rows as they were at one moment, and their digests, some rows at a time."""

from __future__ import annotations

from pyshard.protocol.change_groups import Change
from pyshard.protocol.row_digests import RowDigests
from pyshard.storage import ICopy

# Of one slice. A row takes some microseconds, and 16 MiB some tens of milliseconds.
_ROWS = 500
_BYTES = 256 * 1024


def row_slice(copy: ICopy) -> list[Change] | None:
    """The next few rows of a copy; None: there were none yet; none: there are no more.

    :raises SnapshotEnded: the copy has ended before all were read.
    """
    return copy.page(_BYTES, _ROWS)


def digest_slice(copy: ICopy, digests: RowDigests) -> bool:
    """Count the next few rows of a copy.

    :return: whether there may be more.
    :raises SnapshotEnded: the copy has ended before all were counted.
    """
    page = row_slice(copy)
    digests.add(page or ())
    return page != []
