"""What a member gives up and hasn't counted: it is counted behind, some records at a time, whatever changes."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from storage.contract.ranges import ABOVE, BELOW, CUT
from storage.contract.replica_steps import follow, lead, load_copy, pull
from storage.contract.test_given_up_counts import CUTS, HIGH_MANY, MANY, count_ahead, looked_at
from storage.followers.following import everything
from stores import FAST_KINDS, Bench, check_consistent, prepared

from pyshard.model.key_slots import slot_of
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import IFollowingReplica, LmdbStore
from pyshard.storage.hidden_counts import MOST_AT_ONCE, HiddenCounts

MOST = 50


def committed(bench: Bench, other: Bench, follower: IFollowingReplica) -> None:
    """The member has, and applies, all that the primary has made."""
    pull(bench, other, follower)
    for replica in (bench, other):
        replica.result(replica.store.commit(bench.store.position.sequence))


def given_up(bench: Bench, other: Bench, ahead: int) -> IFollowingReplica:
    """A primary with many documents gives half of them up; its member has counted some steps ahead."""
    bench.fill(dict.fromkeys(MANY, b"text"))
    lead(bench, 1)
    follower = follow(bench, other, 1)
    count_ahead(bench)
    for _ in range(ahead):
        other.result(other.store.count_ahead(BELOW, MOST))
    bench.result(bench.store.own(BELOW))
    pull(bench, other, follower)
    return follower


def swept(bench: Bench) -> int:
    """Sweep until all is counted; return how many sweeps that took."""
    steps = 0
    while not bench.store.all_counted:
        bench.result(bench.store.sweep(MOST))
        steps += 1
    return steps


def figures_of(hidden: HiddenCounts) -> object:
    """All that is told of what is hidden."""
    buckets = sum(map(Counter, hidden.buckets), Counter[int]())
    return hidden.documents(), hidden.documents(0), hidden.used(), hidden.used(staged=False), buckets


def check_counts(bench: Bench) -> None:
    """What a durable store counts of hidden records is what a count one by one gives."""
    if isinstance(bench.store, LmdbStore):
        check_consistent(bench.store)
        counted = figures_of(bench.store._engine.counters.hidden)
        bench.store._engine.recount()
        assert figures_of(bench.store._engine.counters.hidden) == counted


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_member_counts_behind(bench: Bench, other: Bench, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step looks at more than it may, and it goes on from where the member was; then it is as the primary is."""
    given_up(bench, other, ahead)
    looks = looked_at(monkeypatch)
    other.result(other.store.commit(other.store.position.sequence))
    assert looks["at"] <= MOST_AT_ONCE
    rest = len(HIGH_MANY) - MOST_AT_ONCE - ahead * MOST
    assert other.store.ranges == StoreRanges(BELOW, {}, ABOVE)
    assert other.store.documents > bench.store.documents
    looks.clear()
    other.result(other.store.sweep(MOST))
    assert looks["at"] <= MOST
    assert rest // MOST - 1 <= swept(other) <= rest // MOST + 1
    assert looks["at"] <= rest + MOST
    assert everything(other) == everything(bench)
    check_counts(other)


def test_what_changes_while_a_member_counts_behind(bench: Bench, other: Bench) -> None:
    """Neither what the primary removes meanwhile nor what is dropped or written counts twice, or not at all."""
    follower = given_up(bench, other, 0)
    other.result(other.store.commit(other.store.position.sequence))
    assert not other.store.all_counted
    for _ in range(2):
        assert bench.result(bench.store.sweep(70))
    bench.fill({key: b"other text" for key in MANY if slot_of(key) < CUT and key.endswith(b"7")})
    bench.result(bench.store.set_indexes({"new": 77}))
    committed(bench, other, follower)
    assert swept(other) > 1
    assert everything(other) == everything(bench)
    check_counts(other)


def test_a_member_that_counts_behind_leads(bench: Bench, other: Bench) -> None:
    """It removes what is counted and what isn't, and the slots are free."""
    given_up(bench, other, 0)
    other.result(other.store.commit(other.store.position.sequence))
    lead(other, 2)
    assert other.result(other.store.count_ahead(BELOW, MOST)) is not other.store.all_counted
    other.result(other.store.sweep(MOST))
    other.sweep()
    other.result(other.store.commit(other.store.position.sequence))
    assert other.store.ranges == StoreRanges(BELOW)
    assert other.store.documents == len(MANY) - len(HIGH_MANY)
    check_counts(other)


def test_a_copy_is_counted_page_by_page(bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store looks at a record again when its copy of one with hidden records is complete."""
    given_up(bench, other, 0)
    looks = looked_at(monkeypatch)
    load_copy(bench, other)
    assert looks["at"] <= (len(MANY) if other.durable else 0)  # each is looked at with its page
    assert everything(other) == everything(bench)
    assert other.store.ranges == StoreRanges(BELOW, {}, ABOVE)
    check_counts(other)


def test_a_primary_that_becomes_a_member(bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has left over is counted as it was when the last group was committed, and isn't looked at again."""
    if not bench.durable:
        return  # it can't undo anything
    follower = given_up(bench, other, 0)
    bench.result(bench.store.sweep(MOST))
    committed(bench, other, follower)
    bench.result(bench.store.sweep(MOST))
    bench.result(bench.store.promise(2))
    looks = looked_at(monkeypatch)
    bench.result(bench.store.be_member())
    assert looks["at"] <= 4 * MOST  # of groups that are replayed
    assert bench.store.all_counted
    check_counts(bench)


@pytest.mark.parametrize("kind", FAST_KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_random_counts_behind(kind: str, seed: int) -> None:
    """Whatever the primary gives up, writes and removes while its member counts, both are alike in the end."""
    random = Random(seed)
    owned = [((CUTS[0], CUTS[4]),), ((CUTS[0], CUTS[2]),), ((CUTS[1], CUTS[2]),)]
    with prepared(kind) as bench, prepared(kind) as other:
        bench.fill(dict.fromkeys(MANY, b"text"))
        lead(bench, 1)
        follower = follow(bench, other, 1)
        for _ in range(40):
            what = random.choice(["own", "fill", "sweep", "commit", "count", "count"])
            if what == "own" and owned:
                count_ahead(bench, ranges := owned.pop(0))
                bench.result(bench.store.own(ranges))
            elif what == "fill":
                some = [key for key in random.sample(MANY, 20) if CUTS[1] <= slot_of(key) < CUTS[2]]
                bench.fill({key: b"x" * random.randint(0, 9) for key in some})
            elif what == "sweep":
                bench.result(bench.store.sweep(random.randint(1, 30)))
            elif what == "commit":
                committed(bench, other, follower)
            elif what == "count":
                other.result(other.store.sweep(random.randint(1, 200)))
        committed(bench, other, follower)
        swept(other)
        assert everything(other) == everything(bench)
        check_counts(other)
