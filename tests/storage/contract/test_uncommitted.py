"""What a primary's changes take until all members have them, at each kind of store."""

from __future__ import annotations

import pytest
from storage.contract.replica_steps import follow, keys_of, lead, pull
from stores import KINDS, PLENTY, Bench, task

from pyshard.errors import Overloaded
from pyshard.protocol.batch_operations import ABSENT, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import Sender
from pyshard.storage.uncommitted_bytes import UncommittedBytes

KIB = 1024
A, B = Sender("a", "1"), Sender("b", "1")


def change(bench: Bench, sender: Sender, *runs: Run) -> None:
    """Apply a batch."""
    bench.result(bench.store.apply([task(run) for run in runs], PLENTY, PLENTY, sender))


def limited(bench: Bench, most: int) -> UncommittedBytes:
    """Have a primary take so many bytes, of which none is used yet."""
    bench.result(bench.store.commit(bench.store.position.sequence))
    uncommitted = bench.store.uncommitted
    uncommitted._most = most
    assert uncommitted.total == 0
    return uncommitted


def test_alone(bench: Bench) -> None:
    """Nobody else is needed, and nothing counts."""
    change(bench, A, Write("", [b"a"], [bytes(KIB)]))
    assert bench.store.uncommitted.total == 0


def test_until_members_have_it(bench: Bench) -> None:
    """Keys, records, and what each change and each group takes; by address, in all, and no longer than that."""
    lead(bench, 1)
    uncommitted = limited(bench, 1 << 30)
    change(bench, A, Write("", [b"a" * KIB], [bytes(KIB)]))
    one = uncommitted.total
    assert 2 * KIB + 500 < one < 20 * KIB
    first = bench.store.position.sequence
    change(bench, B, Write("", [b"%d" % number for number in range(1000)], [b""] * 1000))
    assert uncommitted.total > one + 300_000
    assert uncommitted._of["a"] <= one < uncommitted._of["b"]
    bench.result(bench.store.commit(first))
    assert list(uncommitted._of) == ["b"]
    bench.result(bench.store.commit(bench.store.position.sequence))
    assert (uncommitted.total, uncommitted._of) == (0, {})


def test_what_is_copied(bench: Bench) -> None:
    """A touch of a few bytes counts the document, of which the group has a copy."""
    lead(bench, 1)
    change(bench, A, Write("", [b"a"], [bytes(100 * KIB)]))
    uncommitted = limited(bench, 1 << 30)
    change(bench, B, Touch("", [b"a"], [1000]))
    assert 100 * KIB < uncommitted._of["b"] < 120 * KIB
    change(bench, A, Write("", [b"a"], [bytes(100 * KIB)], [ABSENT]))  # which is put nowhere
    assert uncommitted.total < 250 * KIB


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"], indirect=True)
def test_touches_that_are_on_their_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they copy counts before, and is known when they are done: then the next are refused, and change nothing."""
    lead(bench, 1)
    change(bench, A, Write("", [b"a", b"b"], [bytes(100 * KIB)] * 2))
    uncommitted, begun = limited(bench, 150 * KIB), list[int]()
    begin = uncommitted.begin

    def note(address: str, weight: int) -> None:
        begun.append(weight)
        begin(address, weight)

    monkeypatch.setattr(uncommitted, "begin", note)
    touch = [task(Touch("", [b"a"], [10**9]))], PLENTY, PLENTY, A
    on_their_way = [bench.store.apply(*touch) for _ in range(5)]
    assert [weight > 100 * KIB for weight in begun] == [True] * 5
    for answered in on_their_way[2:]:
        with pytest.raises(Overloaded):
            bench.result(answered)
    for answered in on_their_way[:2]:
        bench.result(answered)
    bench.result(bench.store.commit(bench.store.position.sequence))
    bench.result(bench.store.apply(*touch))
    assert keys_of(bench, b"a", b"b") == [b"a", b"b"]


def test_a_member_that_leads_again(bench: Bench, other: Bench) -> None:
    """What its log has and isn't committed counts then, but for no address; as a member nothing does."""
    lead(bench, 1)
    follower = follow(bench, other, 1)
    uncommitted = limited(bench, 1 << 30)
    change(bench, A, Write("", [b"a"], [bytes(50 * KIB)]))
    pull(bench, other, follower)
    assert list(uncommitted._of) == ["a"]
    bench.result(bench.store.be_member())
    assert (uncommitted.total, uncommitted._of) == (0, {})
    for store in (bench, other):
        lead(store, 2)
        assert 50 * KIB < store.store.uncommitted.total < 90 * KIB
        assert "a" not in store.store.uncommitted._of
    taken = uncommitted.total
    lead(bench, 3)
    assert taken <= uncommitted.total < taken + 20 * KIB, "what was counted is counted once"
    for store in (bench, other):
        store.result(store.store.commit(store.store.position.sequence))
        assert (store.store.uncommitted.total, store.store.uncommitted._of) == (0, {})


def test_what_has_expired_waits(bench: Bench) -> None:
    """It isn't removed while half of the room is taken, and is out of sight all the same."""
    lead(bench, 1)
    change(bench, A, Write("", [b"a", b"b"], [b"", b""], None, [1000, 1000]))
    limited(bench, 40 * KIB)
    change(bench, A, Write("", [b"c"], [bytes(20 * KIB)]))
    bench.clock.advance(2)
    assert (bench.result(bench.store.sweep(100)), bench.store.documents) == (False, 3)
    assert keys_of(bench, b"a", b"b", b"c") == [b"c"]
    bench.result(bench.store.commit(bench.store.position.sequence))
    bench.result(bench.store.sweep(100))
    assert bench.store.documents == 1


def test_a_copy_waits(bench: Bench) -> None:
    """Rows of a range that moves here are refused while half of the room is taken, and taken when they come again."""
    store, slots = bench.store, ((0, 5_000_000),)
    bench.result(store.own(((5_000_000, 10_000_000),)))
    lead(bench, 1)
    bench.result(store.stage("move 1", slots, Origin("9x", "9x")))
    limited(bench, 40 * KIB)
    change(bench, A, Write("", [b"a"], [bytes(20 * KIB)]))
    group = ChangeGroup(1, 0, 1, [Change(0, 5, b"row", 1, 0, b"")])
    before = store.position
    with pytest.raises(Overloaded, match="wait for this shard's replicas"):
        bench.result(store.absorb_staged("move 1", group, 0, PLENTY))
    assert store.position == before
    bench.result(store.commit(store.position.sequence))
    bench.result(store.absorb_staged("move 1", group, 0, PLENTY))
    assert store.position.sequence == before.sequence + 1
