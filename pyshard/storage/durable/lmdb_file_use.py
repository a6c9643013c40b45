"""How LMDB's file is used, and how much of it is kept for a snapshot. Pure."""

from __future__ import annotations

from typing import NamedTuple


class FileUse(NamedTuple):
    """How LMDB's file is used, in bytes.

    :param size: all of it; it never shrinks.
    :param live: what the data are in. The rest is free, or kept for snapshots.
    :param flushed: what was written since the start, more or less.
    """

    size: int
    live: int
    flushed: int

    def kept_since(self, opened: FileUse) -> int:
        """Bytes that are kept for a snapshot, if any had to be: the file grows when nothing in it is free any more.

        :param opened: when the snapshot was opened.
        """
        return min(self.size - self.live, self.flushed - opened.flushed) if self.size > opened.size else 0
