"""Versions of every store, and the conditions that name them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from storage.contract.ranges import ABOVE, BELOW, FROM, HIGH, LOW, failed, page_of, records_from
from storage.contract.samples import number
from stores import PLENTY, Bench, folder

from pyshard.errors import BadRequest
from pyshard.protocol.batch_answers import ITEM, VERSION
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Touch,
    Write,
)
from pyshard.storage.version_bound import AHEAD


def test_versions_rise(bench: Bench) -> None:
    """Each write has a version that is higher than all before, whatever the key and the index."""
    seen = [0]
    for key, index in ((b"a", ""), (b"b", ""), (b"a", "pages"), (b"a", ""), (b"b", "")):
        bench.fill({key: b"same"}, index)
        seen.append(bench.version(key, index))
    bench.answers(Increment("", [b"n"], [number(1)], [number(0)]))
    seen.append(bench.version(b"n"))
    bench.answers(Remove("", [b"a"]), Write("", [b"a"], [b"same"]))
    seen.append(bench.version(b"a"))
    assert seen == sorted(set(seen))


def test_every_verb_tells_one_version(bench: Bench) -> None:
    """`read`, `item` and `pop` give the same version, which only writing the key changes."""
    bench.fill({b"a": b"one", b"b": b"two"})
    version = bench.version(b"a")
    bench.fill({b"b": b"three"})
    bench.answers(Touch("", [b"a"], [5000]), Remove("", [b"b"]), Write("", [b"a"], [b"no"], [ABSENT]))
    stored = VERSION.pack(version) + b"one"
    assert bench.applied(Read("", [b"a"]), ReadItem("", [b"a"]), Pop("", [b"a"])) == [
        [stored],
        [ITEM.pack(version, bench.now + 5000, 5000) + b"one"],
        [stored],
    ]


def test_a_batch_sees_its_own_versions(bench: Bench) -> None:
    """A write's version is there for the next operation of its batch."""
    ((_,), (first,), (_,), (second,)) = bench.applied(
        Write("", [b"a"], [b"1"]), Read("", [b"a"]), Write("", [b"a"], [b"2"]), Read("", [b"a"])
    )
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert VERSION.unpack_from(first)[0] < VERSION.unpack_from(second)[0] == bench.version(b"a")


def test_write_with_a_version(bench: Bench) -> None:
    """Of writes that want one version the first is done; a version that a key had before, or never, is not met."""
    bench.fill({b"a": b"one"})
    version = bench.version(b"a")
    swap = Write("", [b"a"] * 3, [b"two", b"three", b"four"], [version - 1, version, version])
    assert bench.answers(swap, Read("", [b"a"])) == [[False, True, False], [b"three"]]
    assert bench.version(b"a") > version
    assert bench.one(Write("", [b"a"], [b"five"], [bench.version(b"a")])) is True
    assert bench.one(Write("", [b"x"], [b""], [version])) is False
    assert bench.answers(Has("", [b"x"]), Read("", [b"a"])) == [[False], [b"five"]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_removing_with_a_version(bench: Bench, verb: type[Pop | Remove]) -> None:
    """Removed is what has the version that is asked for, and nothing else."""
    bench.fill({b"a": b"12345"})
    version = bench.version(b"a")
    assert bench.answers(verb("", [b"a", b"a", b"x"], [version + 1, ABSENT, version])) == [[None, None, None]]
    assert bench.answers(verb("", [b"a", b"a"], [version, version])) == [[b"12345", None]]
    assert bench.store.documents == 0


def test_write_where_the_key_exists(bench: Bench) -> None:
    """A write that wants the key to exist is done whatever its version, and makes nothing that isn't there."""
    bench.fill({b"a": b"one"})
    replacing = Write("", [b"a", b"a", b"x"], [b"two", b"three", b"new"], [PRESENT] * 3)
    assert bench.answers(replacing, Read("", [b"a", b"x"])) == [[True, True, False], [b"three", None]]
    assert bench.answers(Remove("", [b"a"]), Write("", [b"a"], [b"four"], [PRESENT])) == [[b"three"], [False]]
    assert bench.store.documents == 0


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_removing_where_the_key_exists(bench: Bench, verb: type[Pop | Remove]) -> None:
    """Removing with the condition that the key exists is removing."""
    bench.fill({b"a": b"12345"})
    assert bench.answers(verb("", [b"a", b"a"], [PRESENT, PRESENT])) == [[b"12345", None]]


@pytest.mark.parametrize("condition", [-3, -(2**63), 2**63, 2**64 - 1])
def test_conditions_that_mean_nothing(bench: Bench, condition: int) -> None:
    """A condition that is none of those that there are, and no version either, isn't met."""
    bench.fill({b"a": b"one"})
    changes = Write("", [b"a", b"x"], [b"two"] * 2, [condition] * 2), Touch("", [b"a"], [1], [condition])
    assert bench.answers(*changes, Read("", [b"a", b"x"])) == [[False, False], [False], [b"one", None]]


def test_touch_with_conditions(bench: Bench) -> None:
    """`touch` changes the time to live only where its condition is met, and is never met where there is no key."""
    keys = [b"a", b"b", b"c", b"d"]
    bench.fill(dict.fromkeys(keys, b"same"))
    versions = [bench.version(key) for key in keys]
    conditions = [versions[0], versions[1] + 1000, ABSENT, PRESENT, PRESENT, ABSENT, ALWAYS]
    touch = Touch("", [*keys, b"x", b"y", b"z"], [1000] * 7, conditions)
    assert bench.answers(touch) == [[True, False, False, True, False, False, False]]
    assert [bench.version(key) for key in keys] == versions
    bench.clock.advance(1)
    assert bench.answers(Has("", [*keys, b"x", b"y", b"z"])) == [[False, True, True, False, False, False, False]]


def test_conditions_of_one_run(bench: Bench) -> None:
    """Each operation of a run has a condition of its own."""
    bench.fill({b"a": b"", b"b": b"", b"c": b""})
    conditions = [ALWAYS, ABSENT, bench.version(b"c"), ABSENT]
    assert bench.answers(Write("", [b"a", b"b", b"c", b"d"], [b"new"] * 4, conditions)) == [[True, False, True, True]]
    assert bench.answers(Read("", [b"a", b"b", b"c", b"d"])) == [[b"new", b"", b"new", b"new"]]


def test_unmet_conditions_are_no_refusals(bench: Bench) -> None:
    """A write that isn't done because of its condition needs no room, and takes no version and no time to live."""
    bench.fill({b"a": b""})
    version = bench.version(b"a")
    assert bench.one(Write("", [b"a"], [b"1" * 500], [ABSENT], [1]), limit=0) is False
    assert bench.one(Write("", [b"b"], [b"1" * 500], [version], [1]), limit=0) is False
    bench.clock.advance(1)
    assert bench.answers(Has("", [b"a", b"b"])) == [[True, False]]
    assert bench.version(b"a") == version


def test_a_new_store_goes_on_with_the_versions(kind: str) -> None:
    """A store that takes another one's place a little later gives no version that the other gave."""
    with folder() as first, folder() as second:
        old = Bench(kind, first)
        for each in range(100):
            old.fill({b"a": b"%d" % each})
        version = old.version(b"a")
        old.close()
        old.clock.advance(1)
        new = Bench(kind, second, old.clock)
        new.fill({b"a": b""})
        assert new.version(b"a") > version
        new.close()


@pytest.mark.parametrize("of_a_record", [False, True])
def test_no_version_of_another_store_is_far_ahead(bench: Bench, of_a_record: bool) -> None:
    """One that is a hundred years ahead of the clock is refused, and the next write has a version all the same."""
    bench.result(bench.store.own(BELOW))
    bench.result(bench.store.stage("m", ABOVE, FROM))
    most = int((bench.clock.seconds() + AHEAD) * 1_000_000)
    for version in (most + 1, 2**63 - 1):
        page = replace(page_of(records_from(HIGH[:1], version=version)), version=50)
        group = page if of_a_record else page_of([], version=version)
        failed(bench, bench.store.absorb_staged("m", group, 0, PLENTY), BadRequest, "a hundred years ahead")
        failed(bench, bench.store.absorb(group), BadRequest, "a hundred years ahead")
    bench.fill({LOW[0]: b"text"})
    assert 0 < bench.version(LOW[0]) < most
    bench.result(bench.store.absorb_staged("m", page_of([], version=most), 0, PLENTY))
    bench.fill({LOW[0]: b"text"})
    assert bench.version(LOW[0]) == most + 1
