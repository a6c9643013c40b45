"""What a primary gives to the other replicas of its shard over connections: the groups of its log, in order.

Rules:

- what a replica is to be given is kept when its connection is lost, within the store's bound. It goes on where it was;
- it has one question at a time. A later one takes the place of an earlier one, which may be of a connection that was
  lost without a word;
- a question is answered when there are groups, or after a little while with none;
- large ones are given in parts, since a batch may change more than a box holds. What wasn't given yet goes with the
  replica's next question, with the connection, and when nobody asks for it for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.errors import BadRequest, plain
from pyshard.message_texts import shown_value
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.change_pages import decode_groups, decode_log_groups, encode_groups
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.replication.group_times import of_lease
from pyshard.replication.pulls import Pull, Pulled, PulledHead
from pyshard.replication.replica import Replica
from pyshard.settings import settings
from pyshard.shard.late_followers import Chaser
from pyshard.shard.parted_answer import PartedAnswer, unheld
from pyshard.shard.slowed_writers import ALL
from pyshard.storage import IFollowingReplica, IStore
from pyshard.storage.following_interface import FollowerEnded

_PREFIX = "replica "

_pull = msgspec.msgpack.Decoder(Pull)
_head = msgspec.msgpack.Decoder(PulledHead)
_encode = msgspec.msgpack.Encoder().encode


def is_replica(follower: str) -> bool:
    """Whether a follower's name is that of a replica."""
    return follower.startswith(_PREFIX)


def follower_name(address: str) -> str:
    """How the replica at an address is called as a follower."""
    return _PREFIX + address


def refuse_replica(follower: str) -> None:
    """Refuse a follower that is called as replicas are: another one would take its place, or have it forgotten.

    :raises BadRequest: it is called so.
    """
    if is_replica(follower):
        raise BadRequest(f"follower: found {shown_value(follower)}, expected another name: so replicas are called")


@attrs.define(eq=False)
class _Given:
    """A replica that is given groups.

    :ivar log_format: of its store.
    :ivar after: the number of the last group that it was given.
    :ivar asked: the question that waits for an answer.
    :ivar asked_at: when it asked last, in the clock's seconds.
    :ivar even_at: when it was given all that there was last, or began.
    :ivar is_even: whether it was with the last answer.
    """

    follower: IFollowingReplica
    log_format: int
    after: int
    asked_at: float
    even_at: float
    is_even: bool = False
    asked: Deferred[list[ChangeGroup]] | Deferred[list[LogGroup]] | None = None


class ServedReplicas:
    """The other replicas of a shard, at its primary; `pyshard.replication.interfaces.GroupSource` of its store.

    :param store: the primary's.
    :param clock: times questions.
    :ivar wait: seconds for which a question waits for groups.
    """

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self.wait = of_lease(settings.LEASE).wait
        self._given: dict[str, _Given] = {}
        self._answers: dict[str, tuple[Hashable, PartedAnswer]] = {}  # by address: over which connection, and what

    async def groups(self, follower: str, after: int, log_format: int) -> Sequence[ReplicatedGroup]:
        """See `GroupSource`.

        :param follower: the replica's address.
        """
        name, now = follower_name(follower), self._clock.seconds()
        given = self._given.get(name)
        if given is not None and given.asked is not None:
            given.asked.cancel()
            given = None
        if given is None or (given.after, given.log_format) != (after, log_format):
            follower_anew = self._store.follow_as_replica(name, after, log_format)
            given = self._given[name] = _Given(follower_anew, log_format, after, now, now)
        given.asked_at = now
        given.follower.confirm(after)
        asked = given.asked = given.follower.groups(settings.FOLLOW_BYTES)
        waited = self._clock.callLater(self.wait, asked.cancel)
        try:
            groups = await asked
        except CancelledError:
            given.is_even, given.even_at = True, self._clock.seconds()
            return ()
        except FollowerEnded:  # somebody has asked in its name; with its next question it follows anew
            if self._given.get(name) is given:
                del self._given[name]
            return ()
        finally:
            given.asked = None
            if waited.active():
                waited.cancel()
        if groups:
            given.after = groups[-1].sequence
        given.is_even = given.after >= self._store.safe
        if given.is_even:
            given.even_at = self._clock.seconds()
        return groups

    def given(self, address: str) -> int:
        """The number of the last group that a replica was given with an answer; 0: it was given none."""
        given = self._given.get(follower_name(address))
        return 0 if given is None else given.after

    def chasers(self, addresses: Collection[str]) -> Iterator[Chaser]:
        """Those of some replicas that are given groups."""
        now, safe = self._clock.seconds(), self._store.safe
        for name in map(follower_name, addresses):
            if (given := self._given.get(name)) is not None:
                at = now if given.asked is not None else given.asked_at
                yield Chaser(name, ALL, max(0, safe - given.after), at, given.even_at, given.is_even)

    async def answer(
        self,
        owner: Hashable,
        replica: Replica,
        pull: bytes,
        offset: int,
        hold: Callable[[int], object] = unheld,
    ) -> tuple[bytes, bytes, bool]:
        """Answer a question, or give the next part of the last answer's groups.

        :param owner: the connection.
        :param pull: the question, as MessagePack.
        :param offset: bytes of the groups that the connection has; 0: it asks anew.
        :param hold: see `PartedAnswer`.
        :return: the answer without groups, the groups or a part of them, and whether bytes are lacking behind it.
        :raises BadRequest: the question can't be read, or nothing was given up to that offset.
        :raises NotConfigured: the replica doesn't lead.
        """
        if offset:
            return b"", *self._next_part(owner, offset)
        try:
            question = _pull.decode(pull)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise BadRequest(f"pull: found what can't be read, {plain(str(error))}") from None
        self._drop(question.address)
        parted = PartedAnswer(self._clock, hold)
        self._answers[question.address] = (owner, parted)
        more = False
        try:
            answer = await replica.pulled(question)
            if not self._is_wanted(question.address, parted):
                return _encode(answer.head), encode_groups(()), False
            part, more = parted.begin(encode_groups(answer.groups))
        finally:
            if not more and self._is_wanted(question.address, parted):
                del self._answers[question.address]
        return _encode(answer.head), part, more

    def lost(self, owner: Hashable) -> None:
        """A connection is gone."""
        for address in [address for address, (asking, _) in self._answers.items() if asking == owner]:
            self._drop(address)

    def keep_for(self, addresses: frozenset[str]) -> None:
        """Keep groups for these replicas alone."""
        names = {follower_name(address) for address in addresses}
        for name in [name for name in self._store.followers if is_replica(name) and name not in names]:
            self._given.pop(name, None)
            self._store.forget(name)
        for address in self._answers.keys() - addresses:
            self._drop(address)

    def close(self) -> None:
        """Give nothing any more; what is kept stays."""
        given, self._given = self._given, {}
        for one in given.values():
            one.follower.close()
        for address in list(self._answers):
            self._drop(address)

    def _next_part(self, owner: Hashable, offset: int) -> tuple[bytes, bool]:
        for address, (asking, parted) in self._answers.items():
            if asking == owner and parted.data and parted.given == offset:
                part, more = parted.next_part()
                if not more:
                    del self._answers[address]
                return part, more
        raise BadRequest(f"offset: found {offset}, expected 0, or the bytes of the parts that were given")

    def _is_wanted(self, address: str, parted: PartedAnswer) -> bool:
        """Whether neither a later question has taken the place of one, nor its connection is gone."""
        return address in self._answers and self._answers[address][1] is parted

    def _drop(self, address: str) -> None:
        """Keep nothing of the answer to a replica's last question."""
        if address in self._answers:
            self._answers.pop(address)[1].end()


def decode_pulled(data: bytes, groups: bytes) -> Pulled:
    """The answer to a pull.

    :param data: MessagePack, without the groups.
    :param groups: these.
    :raises BadRequest: it can't be read.
    """
    try:
        head = _head.decode(data)
        decoded = decode_log_groups(groups) if head.of_log else decode_groups(groups)
        return Pulled(**msgspec.structs.asdict(head), groups=decoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadRequest(f"pulled: found what can't be read, {plain(str(error))}") from None
