"""A store seals slots that are about to move away: they are there, and nobody reads or changes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from storage.contract.ranges import ABOVE, BELOW, HIGH, KEYS, LOW, rows_of
from storage.followers.following import bring_to_the_disk
from stores import KINDS, Bench, prepared

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import Seal
from pyshard.storage import PageBounds

VERBS: list[Run] = [
    Read("", HIGH),
    Has("", HIGH),
    ReadItem("", HIGH),
    Write("", HIGH, [b"new"] * len(HIGH)),
    Pop("", HIGH),
    Remove("", HIGH),
    Touch("", HIGH, [1000] * len(HIGH)),
    Increment("", HIGH, [b"1"] * len(HIGH), [b"1"] * len(HIGH)),
]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A store of each kind with all keys, and those above the cut sealed."""
    with prepared(request.param) as made:
        made.fill(dict.fromkeys(KEYS, b"text"))
        made.result(made.store.seal("m", ABOVE, 1))
        yield made


def check_sealed(bench: Bench) -> None:
    """No verb does anything above the cut, and nothing is given."""
    for run in VERBS:
        assert bench.applied(run) == [["WRONG_SHARD"] * len(HIGH)], run
    assert all(not bench.store.surely_has_all(0, [key]) for key in HIGH)
    assert all(bench.store.read_at_hand(0, [key], 1 << 20) is None for key in HIGH)
    assert bench.scan() == bench.in_order(LOW)


def test_sealed(bench: Bench) -> None:
    """What is sealed is refused; below the cut all goes on."""
    check_sealed(bench)
    assert bench.answers(Has("", KEYS)) == [[True if key in LOW else "WRONG_SHARD" for key in KEYS]]
    assert bench.answers(Write("", LOW, [b"more"] * len(LOW))) == [[True] * len(LOW)]
    found = bench.result(bench.store.page(0, slot_of(HIGH[0]), None, SLOTS, PageBounds(1000, 1 << 20)))
    assert (found.keys, found.more) == ([], False)


def test_it_is_counted_and_backed_up(bench: Bench) -> None:
    """It is the store's as long as it is owned."""
    store = bench.store
    assert (store.documents, store.count(0)) == (len(KEYS), len(KEYS))
    assert sum(store.histogram(0, SLOTS, 7)) == len(KEYS)
    assert sorted(row.key for row in rows_of(store.snapshot())) == sorted(KEYS)


def test_taken_back(bench: Bench) -> None:
    """Then all is as before, with versions that go on."""
    before = bench.version(LOW[0])
    bench.result(bench.store.unseal("m"))
    assert bench.store.ranges.sealed == {}
    assert bench.answers(Read("", KEYS)) == [[b"text"] * len(KEYS)]
    assert bench.scan() == bench.in_order(KEYS)
    bench.fill({HIGH[0]: b"new"})
    assert bench.version(HIGH[0]) > before


def test_moved_away(bench: Bench) -> None:
    """What isn't owned any more isn't sealed, either."""
    bench.result(bench.store.own(BELOW))
    assert (bench.store.ranges.sealed, bench.store.ranges.left) == ({}, ABOVE)
    assert (bench.store.documents, bench.scan()) == (len(LOW), bench.in_order(LOW))


def test_older_attempts(bench: Bench) -> None:
    """An attempt that is older than the last one is refused, and changes nothing; a later one seals anew."""
    bench.result(bench.store.seal("m", ABOVE, 3))
    with pytest.raises(BadRequest, match="attempt 2"):
        bench.result(bench.store.seal("m", ABOVE, 2))
    assert bench.store.ranges.sealed == {"m": Seal(ABOVE, 3)}
    check_sealed(bench)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_sealed_after_a_restart(bench: Bench, killed: bool) -> None:
    """A durable store that was sealed is, whatever became of its process: nothing but `unseal` opens it."""
    if not bench.durable:
        pytest.skip("a restart loses what is in memory")
    bench.killed = killed
    bench.restart()
    assert bench.store.ranges.sealed == {"m": Seal(ABOVE, 1)}
    check_sealed(bench)
    bench.result(bench.store.unseal("m"))
    bench.restart()
    assert bench.answers(Read("", KEYS)) == [[b"text"] * len(KEYS)]


def test_the_last_group_is_final(bench: Bench) -> None:
    """A follower hears of the seal after all that was done to these slots, and of nothing that comes later."""
    bench.result(bench.store.unseal("m"))
    copy = bench.result(bench.store.copy("f", ABOVE))
    after = copy.head.sequence
    copy.close()
    bench.fill({HIGH[0]: b"before"})
    bench.result(bench.store.seal("m", ABOVE, 2))
    for run in VERBS:
        bench.applied(run)
    bench.fill({LOW[0]: b"after"})
    follower = bench.store.follow("f", after, ABOVE)
    groups: list[ChangeGroup] = []
    while not groups or groups[-1].sequence < bench.store.sequence:
        bring_to_the_disk(bench)
        found = bench.result(follower.groups(1 << 20))
        groups += found
    sealed = next(at for at, group in enumerate(groups) if group.ranges and group.ranges.sealed.get("m"))
    assert [(change.key, change.record) for group in groups[:sealed] for change in group.changes] == [
        (HIGH[0], b"before")
    ]
    assert not any(group.changes for group in groups[sealed:])
    ranges = groups[sealed].ranges
    assert ranges is not None
    assert (ranges.owned, ranges.sealed) == (EVERYTHING, {"m": Seal(ABOVE, 2)})
    assert bench.store.ranges.served == BELOW


def test_values_stay(bench: Bench) -> None:
    """What was refused has changed nothing."""
    versions = [VERSION.unpack_from(found)[0] for found in records(bench, LOW)]
    for run in VERBS:
        bench.applied(run)
    bench.result(bench.store.unseal("m"))
    assert [VERSION.unpack_from(found)[0] for found in records(bench, LOW)] == versions
    assert bench.answers(Read("", HIGH)) == [[b"text"] * len(HIGH)]


def records(bench: Bench, keys: list[bytes]) -> list[bytes]:
    """The results of a read."""
    (found,) = bench.applied(Read("", keys))
    return [each for each in found if isinstance(each, bytes)]
