"""How much a member takes of which its primary hasn't said yet that it is committed. Pure.

What isn't committed is in the member's memory, and in its log if it has one. An honest primary bounds what it makes
(`pyshard.storage.uncommitted_bytes`, `pyshard.shard.waiting_questions`), so a member never has more of that. One that
never says so would fill it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.settings import settings

#: Bytes of groups, and their number: twice what a primary has of changes that wait, and of questions.
MOST_BYTES, MOST_GROUPS = 2 * settings.MAX_COMMIT_BYTES, 2 * settings.MAX_WAITING_QUESTIONS


class PendingGroups:
    """Those of one member.

    :ivar size: bytes of those that were taken since it began.
    """

    def __init__(self) -> None:
        self.size = 0
        self._sizes: deque[tuple[int, int]] = deque()  # their numbers, and the bytes of each

    def has_room(self, last: int, committed: int) -> bool:
        """Whether more may be taken, as much as one answer has.

        :param last: the number of the store's last group.
        :param committed: the number of the last one that it knows to be committed.
        """
        return self.size < MOST_BYTES and last - committed < MOST_GROUPS

    def take(self, groups: Sequence[ReplicatedGroup]) -> None:
        """Count groups that were taken."""
        for group in groups:
            size = len(group.payload) if isinstance(group, LogGroup) else group.size
            self._sizes.append((group.sequence, size))
            self.size += size

    def committed(self, sequence: int) -> None:
        """All up to a number are committed."""
        while self._sizes and self._sizes[0][0] <= sequence:
            self.size -= self._sizes.popleft()[1]

    def cut(self, sequence: int) -> None:
        """None above a number is there any more."""
        while self._sizes and self._sizes[-1][0] > sequence:
            self.size -= self._sizes.pop()[1]
