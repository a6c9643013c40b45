"""What a primary gives to other replicas over a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
import pytest
from stores import Bench, at_once, prepared
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.replica import Replica
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.served_replicas import ServedReplicas, decode_pulled


class Primary:
    """A store that leads, and what serves its groups.

    :param bench: has the store.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.result(bench.store.promise(5))
        self.first = bench.result(bench.store.lead(5))
        self.served = ServedReplicas(bench.store, Clock())

    async def pulled(self, question: Pull) -> Pulled:
        """See `Replica`."""
        groups = await self.served.groups(question.address, question.last, question.log_format)
        return Pulled(5, committed=3, beacon=b"b", settled=True, groups=groups)

    def ask(self, last: int, log_format: int) -> Pulled:
        """Have a replica ask as it does over a connection."""
        pull = Pull(5, "h:2", "store 2", "1", ((5, 1),), last, True, log_format=log_format)
        asked = self.served.answer("connection", cast(Replica, self), msgspec.msgpack.encode(pull), 0)
        head, groups, more = at_once(Deferred.fromCoroutine(asked))
        assert not more
        return decode_pulled(head, groups)


@pytest.fixture
def primary() -> Iterator[Primary]:
    """One with a durable store, and three groups of its own ballot."""
    with prepared("lmdb") as bench:
        primary = Primary(bench)
        bench.fill({b"a": b"1"})
        bench.fill({b"b": b"2"})
        yield primary


def kinds(groups: Sequence[ReplicatedGroup]) -> set[type]:
    """Of what types groups are."""
    return {type(group) for group in groups}


def test_groups_of_the_log(primary: Primary) -> None:
    """Who has a log of the same format is given groups as the primary's log has them."""
    before, log_format = primary.first - 1, primary.bench.store.log_format
    answer = primary.ask(before, log_format)
    assert [(group.ballot, group.sequence) for group in answer.groups] == [(5, primary.first + i) for i in range(3)]
    assert (kinds(answer.groups), answer.of_log) == ({LogGroup}, True)
    assert (answer.committed, answer.beacon, answer.settled, answer.copy, answer.cut) == (3, b"b", True, False, None)


def test_groups_of_changes(primary: Primary) -> None:
    """Anybody else is given what any store takes."""
    answer = primary.ask(primary.first - 1, 0)
    assert (len(answer.groups), kinds(answer.groups), answer.of_log) == (3, {ChangeGroup}, False)


def test_a_replica_with_another_store(primary: Primary) -> None:
    """At the same place, and under the same address: it isn't given what the former store took."""
    before, log_format = primary.first - 1, primary.bench.store.log_format
    assert kinds(primary.ask(before, log_format).groups) == {LogGroup}
    last = primary.first + 2
    primary.bench.fill({b"c": b"3"})
    assert kinds(primary.ask(last, 0).groups) == {ChangeGroup}


def test_somebody_else_in_its_name(primary: Primary) -> None:
    """Whoever follows under its name, or has it forgotten, ends its question with nothing. It goes on with the next."""
    store, last = primary.bench.store, primary.first + 2
    for follows in (True, False):
        waiting = Deferred.fromCoroutine(primary.served.groups("h:2", last, 0))
        if follows:
            store.follow("replica h:2", last)
        else:
            store.forget("replica h:2")
        assert primary.bench.result(waiting) == ()
        asked = Deferred.fromCoroutine(primary.served.groups("h:2", last, 0))
        assert not asked.called
        primary.bench.fill({b"c": b"3"})
        last += 1
        assert [group.sequence for group in primary.bench.result(asked)] == [last]


@pytest.mark.parametrize("name", ["replica ", "replica h:2"])
def test_names_of_replicas(primary: Primary, name: str) -> None:
    """Nobody else may be called so."""
    followers = ServedFollowers(primary.bench.store, Clock())
    for asked in (
        followers.open_copy("owner", name, EVERYTHING),
        followers.groups("owner", name, 0, EVERYTHING),
        followers.open_digest("owner", name, EVERYTHING),
    ):
        with pytest.raises(BadRequest, match="so replicas are called"):
            primary.bench.result(Deferred.fromCoroutine(asked))
    assert not primary.bench.store.followers


def test_what_can_not_be_read() -> None:
    """Groups of a log with numbers that no log has are refused, and so are those of changes in place of them."""
    of_log = msgspec.msgpack.encode(Pulled(5, groups=[LogGroup(1, b"", 5)]).head)
    for groups in ([(-1, b"", 5)], [(1, b"", 2**63)], [ChangeGroup(1, 5, 1, [])], [(1,)], 5):
        with pytest.raises(BadRequest, match="groups: found"):
            decode_pulled(of_log, msgspec.msgpack.encode(groups))
    with pytest.raises(BadRequest, match="pulled: found"):
        decode_pulled(b"\xc1", b"\x90")
