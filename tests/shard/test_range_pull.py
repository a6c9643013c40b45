"""A shard takes what another one has of some slots, over a connection, and follows what becomes of it."""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any

import attrs
import pytest
from shard.pulling import INDEXES, KEYS, MOVING, REST, Pulling, records
from stores import PLENTY, folder
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import deferLater

from pyshard.errors import Overloaded, ShardFull, WrongShard
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.settings import settings
from pyshard.shard import range_pull, served_followers
from pyshard.shard.copy_check import CopyCheck
from pyshard.shard.followed_shard import FollowedShard


def test_copied_and_followed(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there when the pull begins is taken, and then what changes, while connections are lost in between."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=2000))
    random = Random(pulling.source.kind + pulling.target.kind)
    for _ in range(30):
        pulling.change(random)
    pulling.run()
    for number in range(60):
        pulling.change(random)
        pulling.step(0.01)
        if number in (5, 40):
            pulling.interrupt()
            pulling.run()
        if number == 20:
            pulling.catch_up()
    pulling.catch_up()
    pulling.check()


def test_goes_on_where_it_was(pulling: Pulling) -> None:
    """A complete copy isn't copied again, neither over a new connection nor by a new process."""
    random = Random(1)
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.interrupt()
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.interrupt()
    pulling.change(random)
    pulling.new_pull()
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 0
    pulling.check()


def test_begins_anew(pulling: Pulling) -> None:
    """A copy of a store that has lost what it had is given up, and what it had is removed first."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    store, before = pulling.target.store, Origin(pulling.origin.identity, "before")
    pulling.target.result(store.stage("m", MOVING, before))
    keys = [key for key in (*KEYS, *(b"gone%d" % each for each in range(50))) if in_ranges(slot_of(key), MOVING)]
    old = [Change(0, slot_of(key), key, 7, 0, b"old") for key in keys]
    pulling.target.result(store.absorb_staged("m", ChangeGroup(5, 0, 8, old), 0, PLENTY))
    pulling.target.result(store.absorb_staged("m", ChangeGroup(5, 0, 8, []), 5, PLENTY))
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.check()


def test_waits_for_the_members_of_its_shard(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a primary takes no more rows, since members lack too much already, they come again, and none is lost."""
    store, refused = pulling.target.store, list[ChangeGroup]()
    absorb = store.absorb_staged

    def absorb_later(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if len(refused) % 3 < 2:
            refused.append(group)
            return fail(Overloaded("changes wait for this shard's replicas already"))
        refused.append(group)
        return absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", absorb_later)
    random = Random(1)
    for _ in range(5):
        pulling.change(random)
    pulling.run()
    pulling.catch_up()
    pulling.check()
    assert len(refused) > 3
    assert refused[0] is refused[1] is refused[2]
    assert pulling.pull.progress.copies == 1


def test_left_behind(pulling: Pulling) -> None:
    """Whoever is too slow for what the source keeps begins anew by itself."""
    random = Random(3)
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    pulling.interrupt()
    pulling.source.store.forget("m")
    for _ in range(3):
        pulling.change(random)
    pulling.run()
    pulling.catch_up()
    behind = pulling.source.kind == "memory"  # a log has its last segment anyway
    assert pulling.pull.progress.copies == (2 if behind else 1)
    pulling.check()


def test_no_room(pulling: Pulling) -> None:
    """A pull ends when the shard hasn't the room, and goes on when it has."""
    pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
    pulling.limit = 5000
    pulling.run()
    pulling.step(1)
    (found,) = pulling.outcome
    assert found.check(ShardFull)
    assert pulling.target.store.documents == 0
    pulling.limit = PLENTY
    pulling.run()
    pulling.catch_up()
    pulling.check()


def test_a_new_index_is_waited_for(pulling: Pulling) -> None:
    """A record of an index that the target wasn't told of yet comes when it is."""
    pulling.run()
    pulling.catch_up()
    indexes = {**INDEXES, "links": 2}
    pulling.source.result(pulling.source.store.set_indexes(indexes))
    keys = [key for key in KEYS if in_ranges(slot_of(key, b"links"), MOVING)]
    pulling.source.fill(dict.fromkeys(keys, b"record"), "links")
    for _ in range(30):
        pulling.step()
    assert not pulling.outcome
    pulling.target.result(pulling.target.store.set_indexes(indexes))
    pulling.catch_up()
    pulling.check()


def test_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy takes as long as its pace says; what changes is not held up by it."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=1000))
    with folder() as path:
        pulling = Pulling("memory", "memory", path, pace=10_000)
        pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
        pulling.run()
        began = pulling.clock.seconds()
        pulling.catch_up()
        size = pulling.pull.progress.size
        assert size == sum(change.size for change in records(pulling.source, MOVING))
        assert pulling.pull.progress.rows == len(records(pulling.source, MOVING))
        assert size / 10_000 <= pulling.clock.seconds() - began <= size / 10_000 + 2
        pulling.close()


@pytest.mark.parametrize("busy", [False, True])
def test_leaves_clients_time(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """While clients ask the target for something, they have some times as long as each piece took."""
    pulling = pulling_in_memory
    absorb = pulling.target.store.absorb_staged

    def slowly(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        pulling.asked += busy
        return deferLater(pulling.clock, 0.1).addCallback(lambda _: absorb(name, group, sequence, limit))

    monkeypatch.setattr(pulling.target.store, "absorb_staged", slowly)
    monkeypatch.setattr(range_pull, "_PIECE", 10)
    pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
    pulling.run()
    began = pulling.clock.seconds()
    pulling.catch_up()
    pieces = len(records(pulling.source, MOVING)) / 10
    took = pulling.clock.seconds() - began
    assert pieces * (0.7 if busy else 0.1) <= took <= (pieces + 5) * (0.8 if busy else 0.2)


def test_progress() -> None:
    """It says whether the target is even with the source."""
    with folder() as path:
        pulling = Pulling("memory", "memory", path)
        pulling.run()
        pulling.catch_up()
        progress = pulling.pull.progress
        assert (progress.even, progress.behind) == (None, 0)
        pulling.step(settings.FOLLOW_WAIT)
        assert progress.even == pytest.approx(pulling.clock.seconds(), abs=0.1)
        pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
        pulling.step(0)
        assert progress.behind > 100
        pulling.close()


def test_the_largest_group(pulling: Pulling) -> None:
    """A group is taken as a whole, though no box holds it: a full one, and then a batch that fills a box."""
    pulling.run()
    pulling.catch_up()
    keys = [key for key in (b"large %d" % each for each in range(400)) if in_ranges(slot_of(key), MOVING)][:60]
    record = b"r" * (1024 * 1024)
    pulling.source.applied(Write("", keys, [record] * len(keys)))
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    assert sum(change.size for change in records(pulling.target, MOVING)) > 3 * settings.MAX_BOX_BYTES
    pulling.check()


def test_expected(pulling: Pulling) -> None:
    """The source says about how much it has to give, before it gives anything."""
    keys = [b"key %d" % each for each in range(8000)]
    pulling.source.fill({key: b"r" * (len(key) * 20) for key in keys})
    pulling.run()
    pulling.step(0)
    progress = pulling.pull.progress
    wanted = sum(change.size for change in records(pulling.source, MOVING))
    assert progress.size < wanted
    assert wanted * 0.9 < progress.expected < wanted * 1.1
    pulling.catch_up()
    assert progress.size == wanted


def test_nothing_expected(pulling_in_memory: Pulling) -> None:
    """An empty source has nothing to give."""
    pulling_in_memory.run()
    pulling_in_memory.catch_up()
    assert pulling_in_memory.pull.progress.expected == 0


def test_sealed(pulling: Pulling) -> None:
    """It says of which seal it knows, once it has all that was changed before it."""
    pulling.run()
    pulling.catch_up()
    store = pulling.source.store
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(store.seal("m", MOVING, 3))
    assert pulling.sealed == 0
    pulling.catch_up()
    assert pulling.sealed == 3
    pulling.source.result(store.unseal("m"))
    pulling.source.fill({KEYS[0]: b"other"})
    pulling.source.result(store.seal("m", MOVING, 4))
    pulling.catch_up()
    assert pulling.sealed == 4
    pulling.check()


def test_held(pulling: Pulling) -> None:
    """What has reached a seal is kept while it is held, whatever becomes of the source, and of the target's process."""
    pulling.run()
    pulling.catch_up()
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(pulling.source.store.seal("m", MOVING, 3))
    pulling.held = 3
    pulling.catch_up()
    wanted, place = records(pulling.source, MOVING), pulling.target.store.ranges.staged["m"].origin
    pulling.source.result(pulling.source.store.own(REST))
    pulling.source.store.forget("m")
    for again in (False, True):
        if again:
            assert pulling.running is not None
            pulling.running.cancel()
            pulling.new_pull()
            pulling.run()
        for _ in range(5):
            pulling.step()
        assert not pulling.outcome
        assert pulling.target.store.ranges.staged["m"].origin == place
        assert records(pulling.target, MOVING) == wanted


def test_no_copy_of_what_is_not_owned(pulling: Pulling) -> None:
    """It would be empty, and seem to be complete."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(pulling.source.store.own(REST))
    pulling.run()
    pulling.step()
    (found,) = pulling.outcome
    assert found.check(WrongShard)
    assert pulling.target.store.ranges.staged["m"].origin.sequence == 0


@pytest.mark.parametrize("step", ["go_on", "reached"])
def test_comparing_is_no_chase(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A target that is long about comparing, or fetching again, doesn't lag behind its source for that."""
    pulling, slow, chased = pulling_in_memory, [3], list[float]()
    compare, groups = getattr(CopyCheck, step), FollowedShard.groups

    async def slowly(check: CopyCheck, number: int) -> None:
        slow[0] -= 1
        if slow[0] >= 0:
            await deferLater(pulling.clock, 100)
        await compare(check, number)

    async def never_even(source: FollowedShard, after: int) -> list[ChangeGroup]:
        while not (found := await groups(source, after)):
            pass
        source.newest += 1
        return found

    def write() -> None:
        pulling.source.fill(dict.fromkeys(KEYS, b"record"))
        pulling.step(1)
        since = pulling.pull.progress.chasing
        chased.append(0.0 if since is None else pulling.clock.seconds() - since)

    monkeypatch.setattr(CopyCheck, step, slowly)
    monkeypatch.setattr(FollowedShard, "groups", never_even)
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    while slow[0] > 0 or not pulling.pull.progress.chasing:
        write()
    assert max(chased) < 50
    for _ in range(200):
        write()
    assert 150 < chased[-1] < 350  # what it has chased is that alone, and all of it


def test_cancelled(pulling_in_memory: Pulling) -> None:
    """A pull that is cancelled ends, and can be run again."""
    pulling_in_memory.run()
    pulling_in_memory.catch_up()
    assert pulling_in_memory.running is not None
    pulling_in_memory.running.cancel()
    (found,) = pulling_in_memory.outcome
    assert found.check(CancelledError)
    pulling_in_memory.run()
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling_in_memory.catch_up()
    pulling_in_memory.check()


def test_changes_that_come_together(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """While clients write all the time, it asks ten times a second while it compares, then fifty times."""
    pulling, asked, groups = pulling_in_memory, list[float](), FollowedShard.groups

    def noted(source: FollowedShard, after: int) -> Coroutine[Any, Any, list[ChangeGroup]]:
        asked.append(pulling.clock.seconds())
        return groups(source, after)

    async def nothing(check: CopyCheck, sequence: int) -> None:
        del check, sequence

    monkeypatch.setattr(FollowedShard, "groups", noted)
    monkeypatch.setattr(CopyCheck, "go_on", nothing)
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    pulling.catch_up()
    for equal, most in ((False, 11), (True, 51)):
        pulling.pull.verdict.equal = equal
        pulling.step(1)
        asked.clear()
        for _ in range(200):
            pulling.source.fill({KEYS[0]: b"changed"})
            pulling.step(0.005)
        assert most / 3 <= len(asked) <= most
