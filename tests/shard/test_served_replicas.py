"""What a primary gives to other replicas over a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
import pytest
from stores import Bench, at_once, prepared
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, FollowerBehind
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.replica import Replica
from pyshard.settings import settings
from pyshard.shard import parted_answer
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.served_replicas import ServedReplicas, decode_pulled
from pyshard.storage.durable.data_directory import FORMAT


class Primary:
    """A store that leads, and what serves its groups.

    :param bench: has the store.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.result(bench.store.promise(5))
        self.first = bench.result(bench.store.lead(5))
        self.clock = Clock()
        self.served = ServedReplicas(bench.store, self.clock)
        self.held: dict[str, int] = {}

    async def pulled(self, question: Pull) -> Pulled:
        """See `Replica`."""
        groups = await self.served.groups(question.address, question.last, question.log_format)
        return Pulled(5, committed=3, beacon=b"b", settled=True, groups=groups)

    def begin(self, owner: str, last: int, offset: int = 0) -> Deferred[tuple[bytes, bytes, bool]]:
        """Have the replica h:2 ask over a connection."""

        def hold(size: int) -> None:
            self.held[owner] = self.held.get(owner, 0) + size

        pull = msgspec.msgpack.encode(Pull(5, "h:2", "store 2", "1", ((5, 1),), last, True))
        return Deferred.fromCoroutine(self.served.answer(owner, cast(Replica, self), pull, offset, hold))

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


def test_who_lacks_something(primary: Primary) -> None:
    """How many groups a replica lacks, whether it had all with its last answer, and when it asked."""

    def told() -> list[tuple[str, int, float, float, bool]]:
        found = primary.served.chasers(["h:2", "h:3"])
        return [(one.name, one.lacks, one.asked_at, one.even_at, one.is_even) for one in found]

    assert told() == []
    primary.ask(primary.first, FORMAT)
    assert told() == [("replica h:2", 0, 0.0, 0.0, True)]
    primary.clock.advance(5)
    primary.bench.fill({b"c": b"3"})
    assert told() == [("replica h:2", 1, 0.0, 0.0, True)]
    asked = primary.begin("one", primary.first + 3)
    assert not asked.called
    primary.clock.advance(primary.served.wait)
    assert told() == [("replica h:2", 0, 5.0, 5.0 + primary.served.wait, True)]


@pytest.fixture
def waiting(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> Deferred[tuple[bytes, bytes, bool]]:
    """The answer to a question over connection one, before there is anything to give; parts have 100 bytes."""
    monkeypatch.setattr(parted_answer, "_PART", 100)
    answer = primary.begin("one", primary.first + 2)
    assert not answer.called
    return answer


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


def test_a_connection_that_ends_while_its_question_waits(
    primary: Primary, waiting: Deferred[tuple[bytes, bytes, bool]]
) -> None:
    """Nothing is kept of its answer; over the next one the replica goes on where it was."""
    primary.served.lost("one")
    primary.bench.fill({b"c": b"3" * 1000})
    assert not at_once(waiting)[2]
    assert (primary.served._answers, primary.held) == ({}, {})
    _, part, more = primary.bench.result(primary.begin("two", primary.first + 2))
    assert (len(part), more) == (100, True)


def test_the_last_question_of_a_replica(primary: Primary, waiting: Deferred[tuple[bytes, bytes, bool]]) -> None:
    """It takes the place of those before, over whichever connections: one answer is kept for each replica."""
    primary.bench.fill({b"c": b"3" * 1000})
    assert primary.bench.result(waiting)[2]
    for owner in ("two", "three"):
        assert primary.bench.result(primary.begin(owner, primary.first + 2))[2]
    assert ([owner for owner, _ in primary.served._answers.values()], len(primary.served._answers)) == (["three"], 1)
    assert [held > 1000 for held in primary.held.values()] == [False, False, True]
    with pytest.raises(BadRequest, match="offset: found 100"):
        primary.bench.result(primary.begin("two", 0, 100))
    _, part, more = primary.bench.result(primary.begin("three", 0, 100))
    assert (len(part), more) == (100, True)
    primary.served.lost("two")
    assert primary.bench.result(primary.begin("three", 0, 200))[2]
    primary.served.lost("three")
    assert (primary.served._answers, list(primary.held.values())) == ({}, [0, 0, 0])


def test_parts_that_nobody_asks_for(primary: Primary, waiting: Deferred[tuple[bytes, bytes, bool]]) -> None:
    """They go after a while, which begins anew with each part; so do those of one that is no replica any more."""
    primary.bench.fill({b"c": b"3" * 1000})
    assert primary.bench.result(waiting)[2]
    primary.clock.advance(settings.REST_KEPT - 1)
    assert primary.bench.result(primary.begin("one", 0, 100))[2]
    primary.clock.advance(settings.REST_KEPT - 1)
    assert primary.held["one"] > 1000
    primary.clock.advance(1)
    assert primary.held == {"one": 0}
    with pytest.raises(BadRequest, match="offset: found 200"):
        primary.bench.result(primary.begin("one", 0, 200))
    assert primary.bench.result(primary.begin("one", primary.first + 2))[2]
    primary.served.keep_for(frozenset({"h:3"}))
    assert (primary.served._answers, primary.held) == ({}, {"one": 0})


def test_the_end_of_an_answer(primary: Primary, waiting: Deferred[tuple[bytes, bytes, bool]]) -> None:
    """All parts together are what was to be given, and nothing is kept behind them; nor of a question that fails."""
    primary.bench.fill({b"c": b"3" * 1000})
    head, groups, more = primary.bench.result(waiting)
    while more:
        _, part, more = primary.bench.result(primary.begin("one", 0, len(groups)))
        groups += part
    assert [group.sequence for group in decode_pulled(head, groups).groups] == [primary.first + 3]
    with pytest.raises(FollowerBehind):
        primary.bench.result(primary.begin("one", 10**6))
    assert (primary.served._answers, primary.held, primary.clock.getDelayedCalls()) == ({}, {"one": 0}, [])


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
