"""Small groups by value: how many updates are committed together, and for whom the next group waits."""

from __future__ import annotations

import pytest

from pyshard.storage.durable.small_groups import MOST_ALONE, MOST_BESIDE, SmallGroups


@pytest.fixture
def beside() -> SmallGroups:
    """What is known when a busy address and another one have asked at the time 1."""
    groups = SmallGroups()
    groups.ask("busy", 1.0)
    groups.ask("other", 1.0)
    return groups


def test_one_address_alone() -> None:
    """It has as many updates in a group as there are, and no group waits, however often it asks."""
    groups = SmallGroups()
    for _ in range(10):
        groups.ask("a", 1.0)
    assert (groups.several_ask(1.0), groups.most(1.0)) == (False, MOST_ALONE)
    groups.commit(["a"], 1.0, 1.001)
    assert groups.remaining(500, 1.001) == 0


def test_several_addresses(beside: SmallGroups) -> None:
    """Fewer are committed together while several ask, and for some time after that; a clock that was set ends it."""
    assert (beside.several_ask(1.01), beside.most(1.01)) == (True, MOST_BESIDE)
    assert (beside.several_ask(1.1), beside.most(1.1)) == (False, MOST_ALONE)
    assert not beside.several_ask(0.5)


def test_the_store_is_nobody() -> None:
    """What the store asks itself makes no company."""
    groups = SmallGroups()
    for address in ("a", "", "a", ""):
        groups.ask(address, 1.0)
    assert not groups.several_ask(1.0)
    groups.ask("b", 1.0)
    groups.commit([""] + ["a"] * 20, 1.0, 1.001)
    assert groups.remaining(500, 1.001) == 0


def test_a_group_of_many_waits_for_who_asks_again_at_once(beside: SmallGroups) -> None:
    """It waits for a part of what the last one took, and no longer once all are there that had few updates in it."""
    beside.commit(["other", *["busy"] * 20], 1.0, 1.001)
    assert beside.remaining(500, 1.001) == pytest.approx(0.0007)
    assert beside.remaining(500, 1.0015) == pytest.approx(0.0002)
    assert beside.remaining(500, 1.002) == 0
    assert beside.remaining(3, 1.001) == 0  # few updates don't wait
    beside.submit("other", 1.0012)
    assert beside.remaining(500, 1.0012) == 0


def test_it_waits_for_all_of_them(beside: SmallGroups) -> None:
    """Two that ask one thing at a time are both waited for."""
    beside.commit(["other", "third", *["busy"] * 20], 1.0, 1.001)
    beside.submit("other", 1.0011)
    assert beside.remaining(500, 1.0011) > 0
    beside.submit("third", 1.0012)
    assert beside.remaining(500, 1.0012) == 0


def test_it_waits_for_a_millisecond_at_the_most(beside: SmallGroups) -> None:
    """However long the disk took."""
    beside.commit(["other", *["busy"] * 20], 1.0, 1.04)
    assert beside.remaining(500, 1.04) == pytest.approx(0.001)


def test_who_takes_its_time_isnt_waited_for(beside: SmallGroups) -> None:
    """An address that asked again late, or not at all, is waited for again once it has asked soon."""
    group = ["other", *["busy"] * 20]
    beside.commit(group, 1.0, 1.001)
    beside.commit(["busy"] * 20, 1.002, 1.003)  # it has asked nothing meanwhile
    beside.submit("other", 1.004)
    beside.commit(group, 1.004, 1.005)
    assert beside.remaining(500, 1.005) == 0
    beside.submit("other", 1.0052)
    beside.commit(group, 1.006, 1.007)
    assert beside.remaining(500, 1.007) > 0
    beside.submit("other", 1.02)
    beside.commit(group, 1.02, 1.021)
    assert beside.remaining(500, 1.021) == 0


def test_addresses_that_come_and_go(beside: SmallGroups) -> None:
    """What is known of ten thousand of them takes next to nothing."""
    for number in range(10_000):
        beside.ask(f"address {number}", 1.0)
        beside.commit([f"address {number}", *["busy"] * 20], 1.0, 1.001)
        beside.submit(f"address {number}", 1.0011)
    assert len(beside._again_after) <= 100
    assert not beside._answered
