"""Large changes at a shard with replicas, in a cluster in memory: one at a time beside others, and all done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from deferreds import result, watch
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from pyshard.errors import NotConfigured, OutcomeUnknown, PyshardError, ShuttingDown
from pyshard.model import document_encoding
from pyshard.model.replica_group import ReplicaGroup
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read, Run, Write
from pyshard.protocol.boxes import Box
from pyshard.protocol.chunked_arguments import put_chunks
from pyshard.protocol.command_boxes import Command
from pyshard.replication.pulls import Pull, PulledHead
from pyshard.shard.protocol import ShardProtocol
from pyshard.shard.pull_precedence import PullPrecedence
from pyshard.shard.shard_replica import ShardReplica
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryCluster

KEYS = [b"%d" % number for number in range(10_000)]
MOST_ALONE = 3  # of changes of all these that are on their way while nobody else asks
NONE = document_encoding.encode(None)[0]
STEP, DELAY = 0.001, 0.005  # seconds


class Attacked:
    """A shard with two replicas, and peers that write to its primary."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        for _ in range(100):
            if not self.group.learners:
                break
            cluster.advance(0.1)
        port = int(self.group.primary.rsplit(":", 1)[1])
        self.name, self.place = next((name, place) for name, place in cluster.processes.items() if place[1] == port)
        cluster.network.delay(*self.place, DELAY)

    @property
    def group(self) -> ReplicaGroup:
        """The shard's group."""
        (shard,) = self.cluster.state.map.shards
        assert shard.group is not None
        return shard.group

    @property
    def store(self) -> MemoryStore:
        """The primary's."""
        store = self.cluster.services[self.name].shard.store
        assert isinstance(store, MemoryStore)
        return store

    @property
    def replica(self) -> ShardReplica:
        """The primary's part in the group."""
        replica = self.cluster.services[self.name].shard.replica
        assert replica is not None
        return replica

    def peer(self) -> BoundedAMP:
        """One more connection to the primary."""
        made = BoundedAMP(self.cluster.clock)
        connecting = self.cluster.network.dial(*self.place).connect(Factory.forProtocol(lambda: made))
        self.cluster.advance(2 * DELAY)
        result(connecting)
        return made

    def write(self, peer: BoundedAMP, keys: list[bytes]) -> list[Any]:
        """Write to keys; what it comes to."""
        return self.apply(peer, Write("", keys, [NONE] * len(keys)))

    def apply(self, peer: BoundedAMP, run: Run) -> list[Any]:
        """Do something; what it comes to."""
        box: Box = {b"epoch": b"%d" % self.cluster.state.epoch}
        put_chunks(box, b"batch", encode_runs([run]))
        return watch(peer.call_directly(commands.Apply.commandName, box))

    def uncommitted(self) -> list[int]:
        """How many changes each group has that not all members are known to have."""
        store, ring = self.store, self.store._followers.ring
        assert ring is not None
        return [len(ring.group(number).changes) for number in range(store.committed + 1, store.sequence + 1)]

    def connections(self) -> list[ShardProtocol]:
        """Those of the primary."""
        return [
            each for each in self.cluster.services[self.name].factory.connections if isinstance(each, ShardProtocol)
        ]


@pytest.fixture
def attacked() -> Iterator[Attacked]:
    """A shard of which all replicas are members."""
    with MemoryCluster(1, replicas=2, lease=1.0) as made:
        yield Attacked(made)


def large_ones(attacked: Attacked) -> int:
    """How many large groups are on their way."""
    return sum(changes > 100 for changes in attacked.uncommitted())


@pytest.mark.parametrize("run", [Write("", [b"honest"], [NONE]), Read("", [b"honest"])], ids=["write", "read"])
def test_one_large_group_at_a_time_beside_others(attacked: Attacked, run: Run) -> None:
    """Who asks for something small has one large group before it at most, however many batches others have sent."""
    honest = attacked.peer()
    attacked.cluster.advance(1)
    attacks = [attacked.write(peer, KEYS) for peer in (attacked.peer(), attacked.peer()) for _ in range(10)]
    attacked.cluster.advance(DELAY)
    assert large_ones(attacked) <= MOST_ALONE
    assert len(attacked.replica.large) > 10
    seen: list[int] = []
    for _ in range(2000):
        if all(attacks):
            break
        small = attacked.apply(honest, run)
        while not small:
            attacked.cluster.advance(STEP)
            seen.append(large_ones(attacked))
    assert all(b"answers" in answer[0] for answer in attacks)
    first = next(place for place, number in enumerate(seen) if number <= 1)  # when those from before are through
    assert set(seen[first:]) == {0, 1}


def test_alone_large_groups_follow_each_other(attacked: Attacked) -> None:
    """Who is alone waits for nobody: a few are on their way all the time."""
    peer = attacked.peer()
    attacks = [attacked.write(peer, KEYS) for _ in range(10)]
    attacked.cluster.advance(DELAY)
    while len(attacked.replica.large):
        assert large_ones(attacked) == MOST_ALONE
        attacked.cluster.advance(STEP)
    attacked.cluster.advance(1)
    assert all(b"answers" in answer[0] for answer in attacks)


def test_what_waits_of_a_lost_connection(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never done, and nothing is written to the connection, whose socket is gone."""
    peer, other = attacked.peer(), attacked.peer()
    for _ in range(10):
        attacked.write(peer, KEYS)
    attacked.cluster.advance(DELAY)
    assert len(attacked.replica.large) == 10 - MOST_ALONE
    assert peer.transport is not None
    with monkeypatch.context() as patched:
        sent: list[bytes] = []
        patched.setattr(ShardProtocol, "_send_bytes", lambda _, data: sent.append(data))
        patched.setattr(attacked.replica, "pulled", lambda *_: Deferred())  # so that nothing else is answered
        peer.transport.abortConnection()
        attacked.cluster.advance(DELAY)
        assert sent == []
    assert len(attacked.replica.large) == 0
    small = attacked.write(other, [b"honest"])
    attacked.cluster.advance(1)
    assert small
    assert attacked.uncommitted() == []


def test_what_waits_when_another_replica_leads(attacked: Attacked) -> None:
    """It is refused, and nothing of it is done: the next primary's clients may ask anew."""
    peer = attacked.peer()
    answers = [attacked.write(peer, KEYS) for _ in range(10)]
    attacked.cluster.advance(DELAY)
    before = attacked.store.sequence
    assert attacked.replica._replica is not None
    attacked.replica._replica.fail("a test has it lead no more")
    attacked.cluster.advance(3 * DELAY)
    assert attacked.store.sequence == before
    codes = [answer[0].code for answer in answers]
    assert codes[:MOST_ALONE] == [OutcomeUnknown.code] * MOST_ALONE
    assert codes[MOST_ALONE:] == [NotConfigured.code] * (10 - MOST_ALONE)


def test_replicas_wait_for_nobody(attacked: Attacked) -> None:
    """The connections over which other replicas pull are known, and no client's is."""
    client = attacked.peer()
    attacked.write(client, [b"k"])
    attacked.cluster.advance(1)
    pulling = [each for each in attacked.connections() if each.replicates]
    assert len(pulling) == 1
    assert len(attacked.connections()) > 1


def test_who_waits_for_the_members_is_told_of(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a small answer has waited for the members' word is counted for its connection; a large one's isn't."""
    counted: list[float] = []
    turns = attacked.cluster.services[attacked.name].factory.turns
    monkeypatch.setattr(turns, "count_waiting", lambda _, seconds: counted.append(seconds))
    peer = attacked.peer()
    for keys in ([b"k"], KEYS):
        attacked.write(peer, keys)
        attacked.cluster.advance(1)
    attacked.apply(peer, Read("", [b"k"]))
    attacked.cluster.advance(1)
    assert counted == [pytest.approx(2 * DELAY, abs=DELAY)]


def pull_of(attacked: Attacked, **other: object) -> bytes:
    """A question as the other replica asks it, but for some of it."""
    (member,) = attacked.group.others
    place = attacked.group.at(member)
    assert place is not None
    assert place.store is not None
    question = Pull(attacked.group.ballot, member, place.store.identity, place.store.incarnation, (), 0, True)
    return msgspec.msgpack.encode(msgspec.structs.replace(question, **other))


def test_who_is_taken_for_a_replica(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a store that is of the group, and only as long as it pulls and asks for nothing else.

    While the replica itself asks, nobody else is taken for it.
    """
    peer = attacked.peer()

    def ask(command: type[Command], **arguments: object) -> bool:
        asked = watch(peer.call(command, 5, **arguments))
        attacked.cluster.advance(1)
        assert asked
        (connection,) = [each for each in attacked.connections() if each.id == identity]
        return connection.replicates

    identity = next(reversed(attacked.connections())).id
    for wrong in (b"", b"\xc1", pull_of(attacked, identity="another"), pull_of(attacked, incarnation="another")):
        assert not ask(commands.PullGroups, pull=wrong, offset=0)
    assert not ask(commands.PullGroups, pull=pull_of(attacked, address="127.0.0.1:1"), offset=0)
    assert not ask(commands.PullGroups, pull=pull_of(attacked, identity="another", ballot=0), offset=0)
    assert not ask(commands.PullGroups, pull=pull_of(attacked), offset=0)
    monkeypatch.setattr(PullPrecedence, "has", lambda *_: True)
    assert ask(commands.PullGroups, pull=pull_of(attacked), offset=0)
    assert not ask(commands.PullGroups, pull=b"", offset=12345)  # which fails
    assert ask(commands.PullGroups, pull=pull_of(attacked), offset=0)
    assert not ask(commands.Stat)
    unread: Box = {b"offset": b"no number"}
    for name in (b"Unknown", commands.PullGroups.commandName):
        assert ask(commands.PullGroups, pull=pull_of(attacked), offset=0)
        refused = watch(peer.call_directly(name, unread))
        attacked.cluster.advance(1)
        assert len(refused) == 1
        assert not next(each for each in attacked.connections() if each.id == identity).replicates
    assert ask(commands.PullGroups, pull=pull_of(attacked), offset=0)
    attacked.write(peer, [b"k"])
    attacked.cluster.advance(1)
    assert not next(each for each in attacked.connections() if each.id == identity).replicates


def test_groups_that_are_asked_for_again(attacked: Attacked) -> None:
    """They aren't given before everybody is served a second time, to whoever asks in a replica's name."""
    (member,) = attacked.group.others
    process = next(name for name, place in attacked.cluster.processes.items() if member.endswith(f":{place[1]}"))
    known = msgspec.msgpack.decode(pull_of(attacked), type=Pull)
    attacked.cluster.kill_shard(process)
    before = attacked.store.sequence
    attacked.cluster.advance(10)
    attacked.write(attacked.peer(), [b"k"])
    peer = attacked.peer()
    identity, store = next(reversed(attacked.connections())).id, attacked.store
    first, beacon = [], b""
    for _ in range(4):
        ballot = attacked.group.ballot
        question = msgspec.structs.replace(known, last=before, history=store.ballots, ballot=ballot, beacon=beacon)
        asked = watch(peer.call(commands.PullGroups, 5, pull=msgspec.msgpack.encode(question), offset=0))
        attacked.cluster.advance(1)
        (answer,) = asked
        assert isinstance(answer, dict)
        beacon = msgspec.msgpack.decode(answer["pulled"], type=PulledHead).beacon
        first += [each.replicates for each in attacked.connections() if each.id == identity]
    assert first == [True, True, False, False]  # with the first one it learns who leads


def test_what_waits_when_the_daemon_stops(attacked: Attacked) -> None:
    """It is refused, and isn't done when a daemon goes on at the same place."""
    peer = attacked.peer()
    answers = [attacked.write(peer, KEYS) for _ in range(10)]
    attacked.cluster.advance(DELAY)
    assert len(attacked.replica.large) == 10 - MOST_ALONE
    attacked.cluster.services[attacked.name].stopService()
    assert len(attacked.replica.large) == 0
    attacked.cluster.advance(2 * DELAY)
    codes = [each.code for answer in answers for each in answer if isinstance(each, PyshardError)]
    assert codes == [ShuttingDown.code] * (10 - MOST_ALONE)
