"""Groups as one replica gives them to another: those of a log, or of changes, whichever both stores take."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
from msgspec import structs
from storage.contract.replica_steps import follow, lead, next_groups, pull
from storage.followers.following import everything
from stores import KINDS, prepared

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_operations import Pop
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.group_outline import check_announced
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.storage.durable import lmdb_encoding, log_changes
from pyshard.storage.durable.group_changes import LoggedGroup, encoded
from pyshard.storage.version_bound import AHEAD

LONG = b"long" * 300
PAIRS = list(product(KINDS[:2], KINDS[:2]))


@pytest.mark.parametrize(("kind", "other_kind"), PAIRS)
def test_whatever_changes(kind: str, other_kind: str) -> None:
    """Records, indexes, ranges and what is remembered: all comes to replicas of both kinds, and takes effect there."""
    with prepared(kind) as bench, prepared(other_kind) as other:
        store = bench.store
        lead(bench, 1)
        bench.fill({b"old": b"1", LONG: b"2", b"stays": b"3"})
        follower = follow(bench, other, 1)
        bench.fill({b"%d" % number: bytes(number) for number in range(50)})
        bench.fill({b"late": b"4", LONG + b"late": b"5"}, ttl=1000)
        bench.answers(Pop("", [b"old", LONG]))
        bench.result(store.set_indexes({"other": 7}, 8))
        bench.result(store.remember(b"text"))
        bench.result(store.own(EVERYTHING))
        groups = pull(bench, other, follower)
        of_log = kind == other_kind == "lmdb"
        assert {type(group) for group in groups} == {LogGroup if of_log else ChangeGroup}
        other.result(other.store.commit(other.store.position.sequence))
        assert everything(other)[:5] == everything(bench)[:5]
        assert other.store.recall() == b"text"


def test_other_formats() -> None:
    """Who has a log of another format is given groups of changes."""
    with prepared("lmdb") as bench:
        first = lead(bench, 1)
        for name, log_format in (("older", bench.store.log_format - 1), ("none", 0)):
            follower = bench.store.follow_as_replica(name, first - 1, log_format)
            given = bench.result(next_groups(follower, 1000))
            assert {type(group) for group in given} == {ChangeGroup}


def test_a_store_without_a_log() -> None:
    """It takes no groups of one."""
    with prepared("memory") as bench:
        bench.result(bench.store.promise(1))
        bench.result(bench.store.be_member())
        position = bench.store.position
        with pytest.raises(BadRequest, match="found groups of a log"):
            bench.result(bench.store.append([LogGroup(position.sequence + 1, b"", 1)]))
        assert bench.store.position == position


SHORT = lmdb_encoding.database_key(0, 5, b"k")
VALUE = bytes(7) + b"\1" + bytes(8) + b"record"
STRANGE = {
    "nothing": b"",
    "text": b"text",
    "not an array": b"\xc0",
    "too short a key": encoded(LoggedGroup(1, {SHORT[:8]: VALUE})),
    "a slot past the last": encoded(LoggedGroup(1, {lmdb_encoding.database_key(0, 10_000_000, b"k"): VALUE})),
    "too long a short key": encoded(LoggedGroup(1, {SHORT + bytes(502): VALUE})),
    "an unknown mark": encoded(LoggedGroup(1, {SHORT[:8] + b"\2k": VALUE})),
    "half a value": encoded(LoggedGroup(1, {SHORT: VALUE[:15]})),
    "no version": encoded(LoggedGroup(1, {SHORT: bytes(16)})),
    "a version below 0": encoded(LoggedGroup(-1, {SHORT: VALUE})),
    "an index past the last": encoded(LoggedGroup(1, {}, {"a": 2**32}, None, 1)),
    "a next index past the last": encoded(LoggedGroup(1, {}, {}, None, 2**32 + 1)),
    "too late an expiry": encoded(LoggedGroup(1, {SHORT: VALUE[:8] + b"\xff" + VALUE[9:]})),
    "a long key's length": encoded(
        LoggedGroup(1, {lmdb_encoding.database_key(0, 5, LONG): VALUE[:16] + b"\0\0\xff\xff"})
    ),
}


@pytest.mark.parametrize("payload", STRANGE.values(), ids=STRANGE)
def test_what_no_store_makes(payload: bytes) -> None:
    """It is refused before the log has it, and what comes with it, too."""
    with prepared("lmdb") as bench:
        store = bench.store
        bench.result(store.promise(1))
        bench.result(store.be_member())
        position, good = store.position, encoded(LoggedGroup(1, {SHORT: VALUE}))
        first = position.sequence + 1
        with pytest.raises(BadRequest, match=f"found group {first + 1}"):
            bench.result(store.append([LogGroup(first, good, 1), LogGroup(first + 1, payload, 1)]))
        assert store.position == position
        bench.result(store.append([LogGroup(first, good, 1)]))
        bench.restart()
        assert bench.store.position.sequence == first


@pytest.mark.parametrize("kind", KINDS)
def test_no_version_of_a_primary_is_far_ahead(kind: str) -> None:
    """A member refuses groups and copies with one that is a hundred years ahead of its clock."""
    with prepared(kind) as bench:
        store = bench.store
        bench.result(store.promise(1))
        bench.result(store.be_member())
        position, most = store.position, int((bench.clock.seconds() + AHEAD) * 1_000_000)
        first, head = position.sequence + 1, ChangeGroup(9, 1, most + 1, [])
        late: list[ReplicatedGroup] = [ChangeGroup(first, 1, most + 1, [])]
        if store.log_format:
            late.append(LogGroup(first, encoded(LoggedGroup(most + 1, {})), 1))
        for group in late:
            with pytest.raises(BadRequest, match="a hundred years ahead"):
                bench.result(store.append([group]))
        with pytest.raises(BadRequest, match="a hundred years ahead"):
            bench.result(store.begin_copy(head))
        assert store.position == position
        bench.result(store.append([ChangeGroup(first, 1, most, [])]))
        bench.result(store.begin_copy(structs.replace(head, version=most)))
        with pytest.raises(BadRequest, match="a hundred years ahead"):
            bench.result(store.load_page([Change(0, 5, b"k", most + 1, 0, b"")]))


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_of_a_copy_is_far_ahead(kind: str) -> None:
    """A member refuses a copy whose head leaves no numbers, or no ballots, for the groups behind it."""
    with prepared(kind) as bench:
        store = bench.store
        bench.result(store.promise(2))
        bench.result(store.be_member())
        most = int((bench.clock.seconds() + AHEAD) * 1_000_000)
        for number, ballot in ((most + 1, 2), (2**63 - 2, 2), (9, 3), (9, 2**63 - 1)):
            with pytest.raises(BadRequest, match=r"found (number|ballot)"):
                bench.result(store.begin_copy(ChangeGroup(number, ballot, 1, [])))
        assert not store.incomplete
        bench.result(store.begin_copy(ChangeGroup(most, 2, 1, [])))


def test_more_changes_than_a_primary_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member refuses groups of a log that have more together, before it looks into them."""
    monkeypatch.setattr(log_changes, "FEW", 100)
    monkeypatch.setattr(log_changes, "check_announced", partial(check_announced, most_changes=20))
    with prepared("lmdb") as bench:
        store = bench.store
        bench.result(store.promise(1))
        bench.result(store.be_member())
        first = store.position.sequence + 1
        payload = encoded(LoggedGroup(1, {SHORT + bytes([number]): VALUE for number in range(20)}))
        groups = [LogGroup(first + number, payload, 1) for number in range(2)]
        with pytest.raises(BadRequest, match="found 40 changes"):
            bench.result(store.append(groups))
        assert store.position.sequence < first
        bench.result(store.append(groups[:1]))
