"""Small groups by value: how many updates are committed together, and for whom the next group waits."""

from __future__ import annotations

from collections import Counter

import pytest

from pyshard.storage.durable.small_groups import MOST_ALONE, MOST_BESIDE, MOST_NOW_AND_THEN, SmallGroups


@pytest.fixture
def beside() -> SmallGroups:
    """What is known when a busy address and another one have asked soon again at the time 1."""
    groups = SmallGroups()
    for time in (0.999, 1.0):
        groups.ask("busy", time)
        groups.ask("other", time)
    return groups


def test_one_address_alone() -> None:
    """It has as many updates in a group as there are, and no group waits, however often it asks."""
    groups = SmallGroups()
    for _ in range(10):
        groups.ask("a", 1.0)
    assert (groups.several_ask(1.0, 9), groups.several_ask_soon(1.0), groups.most(1.0)) == (False, False, MOST_ALONE)
    assert not groups.knows_several
    groups.commit(["a"], 1.0, 1.001)
    assert groups.remaining(500, 1.001) == 0


def test_several_addresses(beside: SmallGroups) -> None:
    """Fewer are committed together while several ask, and for some time after that; a clock that was set ends it."""
    assert (beside.several_ask_soon(1.01), beside.most(1.01)) == (True, MOST_BESIDE)
    assert (beside.several_ask_soon(1.1), beside.most(1.1)) == (False, MOST_ALONE)
    assert not beside.several_ask_soon(0.5)
    assert beside.several_ask(1.1, 0.2)
    assert not beside.several_ask(1.1, 0.05)
    assert not beside.several_ask(0.5, 9)


def groups_beside(asks: str, each: float, took: float = 0.0) -> Counter[int]:
    """How large groups may be beside an address that asks again and again, while another one has many updates waiting.

    :param asks: whether it reads, or submits an update.
    :param each: seconds after its answer in which it asks again.
    :param took: seconds until its answer.
    """
    groups, found, due, answer = SmallGroups(), Counter[int](), 1.0, -1.0
    for step in range(1000):
        now = 1.0 + 0.001 * step
        groups.submit("busy", now)
        groups.answer(["busy"] * 20, now)
        if 0 <= answer <= now:
            groups.answer(["other"], answer)
            due, answer = answer + each, -1.0
        if due <= now and answer < 0:
            groups.ask("other", now) if asks == "reads" else groups.submit("other", now)
            answer = now + took
        if step >= 100:
            found[groups.most(now)] += 1
    return found


@pytest.mark.parametrize(
    ("asks", "each", "took", "expected"),
    [
        ("reads", 0.0, 0.0, MOST_BESIDE),
        ("reads", 0.001, 0.0, MOST_BESIDE),
        ("reads", 0.004, 0.0, MOST_ALONE),
        ("reads", 0.04, 0.0, MOST_ALONE),
        ("changes", 0.001, 0.0, MOST_BESIDE),
        ("changes", 0.01, 0.0, MOST_BESIDE),
        ("changes", 0.001, 0.04, MOST_BESIDE),  # a slow disk, or large groups, don't make it one that asks late
        ("changes", 0.03, 0.0, MOST_NOW_AND_THEN),
    ],
)
def test_who_asks_soon(asks: str, each: float, took: float, expected: int) -> None:
    """Many are committed together beside one that reads now and then; one that changes things is left more."""
    assert groups_beside(asks, each, took) == {expected: 900}


def test_who_changes_something_seldom() -> None:
    """Most of the time all go together."""
    found = groups_beside("changes", 0.5)
    assert found[MOST_ALONE] > 700
    assert found[MOST_BESIDE] == 0


def test_the_store_is_nobody() -> None:
    """What the store asks itself makes no company."""
    groups = SmallGroups()
    for address in ("a", "", "a", ""):
        groups.ask(address, 1.0)
    assert not groups.several_ask(1.0, 9)
    assert not groups.several_ask_soon(1.0)
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


def test_many_addresses_that_ask_soon() -> None:
    """A crowd is one in which several ask soon, however many these are."""
    groups = SmallGroups()
    for step in range(3000):
        groups.ask(f"address {step % 300}", 1.0 + step * 1e-6)
    assert groups.most(1.003) == MOST_BESIDE


def test_many_addresses_that_have_gone() -> None:
    """Nothing is kept of them for long, also of those of which nobody has heard again."""
    groups = SmallGroups()
    for number in range(10_000):
        groups.ask(f"address {number}", 1.0 + number * 0.1)
    assert len(groups._ended) <= 101
    assert not groups.several_ask_soon(1001.0)
