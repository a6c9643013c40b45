"""Another shard as who follows it sees it: its store's copies and groups, asked for over a connection.

Questions keep a least distance, but for those behind an answer that brought much: else a shard that answers at once,
and never brings anything on, would keep this one busy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol import commands
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import MOST_GROUPS_BYTES, decode_changes, decode_groups, decode_head
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import encode_ranges
from pyshard.protocol.row_digests import BucketDigest, decode_buckets, encode_indexes
from pyshard.settings import settings

#: Seconds from one question to the next, at the least.
APART = 0.02

_MUCH = 64 * 1024  # bytes of an answer behind which the next question comes at once


class Caller(Protocol):
    """What asks the other shard, such as a connection."""

    def call(self, command: type[Command], timeout: float, **arguments: object) -> Deferred[dict[str, Any]]:
        """Ask; see `pyshard.net.command_connection.BoundedAMP.call`."""
        ...


class FollowedShard:
    """Asks another shard for its records of some slots, and for what becomes of them.

    :param caller: the connection. With it, a copy or a digest that is being read is lost.
    :param name: the follower's.
    :param ranges: the slots.
    :param clock: paces the questions.
    :ivar newest: the number of the last group that it had when it gave some last.
    """

    def __init__(self, caller: Caller, name: str, ranges: SlotRanges, clock: IReactorTime) -> None:
        self._caller = caller
        self._name = name
        self._ranges = encode_ranges(ranges)
        self._clock = clock
        self._free_at = 0.0  # when the next question may be asked
        self._copy = self._digest = ""
        self.newest = 0

    async def open_copy(self) -> tuple[ChangeGroup, int]:
        """Begin to read a copy.

        :return: its head, and about how many bytes its changes have.
        """
        answer = await self._ask(commands.OpenCopy, follower=self._name, ranges=self._ranges)
        self._copy = answer["copy"]
        return decode_head(answer["head"]), max(0, answer["bytes"])

    async def page(self) -> list[Change]:
        """The copy's next records; none at the end."""
        return decode_changes((await self._ask(commands.ReadCopy, copy=self._copy))["changes"])

    async def groups(self, after: int) -> list[ChangeGroup]:
        """The groups after one, in order; none: nothing has changed for a while.

        :param after: the number of the last group that is here, and is safe here.
        :raises FollowerBehind: they aren't kept.
        """
        groups = decode_groups(await self._groups_bytes(after))
        numbers = [after, *(group.sequence for group in groups)]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise BadRequest(f"groups: found the numbers {numbers[:20]}, expected that they rise")
        return groups

    async def open_digest(self, ranges: SlotRanges) -> ChangeGroup:
        """Begin a digest of what the shard has now; the group up to which it has all.

        :param ranges: the slots, some of those that are followed.
        """
        answer = await self._ask(commands.OpenDigest, follower=self._name, ranges=encode_ranges(ranges))
        self._digest = answer["digest"]
        return decode_head(answer["head"])

    async def digests(self, indexes: Collection[int], counted: Callable[[int], object]) -> list[BucketDigest]:
        """The digests of all rows, when these are counted.

        :param indexes: the ids of the indexes whose rows count.
        :param counted: called from time to time with how many rows are counted by now.
        :raises SnapshotEnded: the digest has ended.
        """
        wanted, buckets = encode_indexes(indexes), b""
        while not buckets:
            answer = await self._ask(commands.ReadDigest, digest=self._digest, indexes=wanted)
            buckets = answer["buckets"]
            counted(answer["rows"])
        return decode_buckets(buckets)

    async def digest_rows(self) -> list[Change]:
        """The next rows of the digest, in place of what they come to; none at the end.

        :raises SnapshotEnded: the digest has ended.
        """
        return decode_changes((await self._ask(commands.ReadDigestRows, digest=self._digest))["changes"])

    async def _groups_bytes(self, after: int) -> bytes:
        """The groups after one as they cross the wire: large ones come in parts."""
        data, more = bytearray(), True
        while more:
            answer = await self._ask(
                commands.ReadGroups, follower=self._name, after=after, ranges=self._ranges, offset=len(data)
            )
            data += answer["groups"]
            self.newest, more = answer["newest"], answer["more"]
            if len(data) > MOST_GROUPS_BYTES or (more and not answer["groups"]):
                raise BadRequest(f"groups: found {len(data):,} bytes or more, expected {MOST_GROUPS_BYTES:,} at most")
        return bytes(data)

    async def forget(self) -> None:
        """Have nothing kept any more."""
        await self._ask(commands.ForgetFollower, follower=self._name)

    async def _ask(self, command: type[Command], **arguments: object) -> dict[str, Any]:
        wait = self._free_at - self._clock.seconds()
        if wait > 0:
            await deferLater(self._clock, wait)
        self._free_at = self._clock.seconds() + APART
        answer = await self._caller.call(command, settings.TIMEOUT + settings.FOLLOW_WAIT, **arguments)
        if sum(len(value) for value in answer.values() if isinstance(value, bytes)) >= _MUCH:
            self._free_at = 0.0
        return answer
