"""Which keys expire next: each comes when it is due, whatever was added and removed, in few steps."""

from __future__ import annotations

from sys import getsizeof

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.storage.memory.expiry_schedule import ExpirySchedule

times = st.integers(1, 1 << 20) | st.integers(1, 1 << 62)
moves = st.one_of(
    st.tuples(st.just("expires"), st.sampled_from([b"a", b"b", b"c", b"d"]), times),
    st.tuples(st.just("removed"), st.sampled_from([b"a", b"b", b"c", b"d"]), st.just(0)),
    st.tuples(st.just("time"), st.just(b""), times),
)


def due(schedule: ExpirySchedule, expiries: dict[bytes, int], now: int) -> tuple[set[bytes], int]:
    """The keys that have expired, which are taken out, and how many steps that took."""
    found, steps = set(), 0
    while (key := schedule.next_due(now)) is not None:
        steps += 1
        if expiries[key] > now:
            schedule.add(key, expiries[key])
        else:
            found.add(key)
            del expiries[key]
    assert not schedule.is_due(now)
    return found, steps


@given(times, st.lists(moves, max_size=40))
def test_keys_come_when_they_are_due(begin: int, changes: list[tuple[str, bytes, int]]) -> None:
    """At each time exactly those keys come whose expiry has come, also when the clock goes backwards."""
    schedule, expiries = ExpirySchedule(begin), dict[bytes, int]()
    for what, key, time in changes:
        if what == "time":
            expected = {key for key, expires in expiries.items() if expires <= time}
            assert schedule.may_have_expired(time) or not expected
            assert due(schedule, expiries, time)[0] == expected
            assert not schedule.may_have_expired(time)
        else:
            if key in expiries:
                schedule.remove(key, expiries.pop(key))
            if what == "expires":
                schedule.add(key, time)
                expiries[key] = time
        assert len(schedule) == len(expiries)
        assert all(map(schedule.may_have_expired, expiries.values()))


def test_what_may_have_expired() -> None:
    """What is passed over has expired, also while it is due again; nothing has that is removed, or expires later."""
    schedule = ExpirySchedule(1000)
    for key, expires in ((b"a", 1005), (b"b", 1007), (b"c", 90_000)):
        schedule.add(key, expires)
    assert [schedule.may_have_expired(now) for now in (1000, 1004, 1005)] == [False, False, True]
    schedule.remove(b"a", 1005)
    assert [schedule.may_have_expired(now) for now in (1006, 1007)] == [False, True]
    assert schedule.next_due(1007) == b"b"
    schedule.pass_over(b"b")
    assert schedule.may_have_expired(1007)
    schedule.look_again()
    assert schedule.may_have_expired(1007)
    assert schedule.next_due(1007) == b"b"
    assert not schedule.may_have_expired(1007)


@pytest.mark.parametrize("ttl", [1_000, 3_600_000, 30 * 24 * 3_600_000])
def test_few_steps(ttl: int) -> None:
    """However many keys there are, and however late they expire, each is looked at a few times in all."""
    begin = 1_700_000_000_000
    schedule = ExpirySchedule(begin)
    expiries = {b"%d" % number: begin + ttl + number * 7 for number in range(1000)}
    for key, expires in expiries.items():
        schedule.add(key, expires)
    steps, now = 0, begin
    while expiries:
        now += max(500, ttl // 1000)
        steps += due(schedule, expiries, now)[1]
    assert steps <= 7 * 1000


def test_a_key_that_is_not_there() -> None:
    """To remove what isn't there is an error, and not passed over."""
    schedule = ExpirySchedule()
    schedule.add(b"a", 70)
    with pytest.raises(KeyError):
        schedule.remove(b"a", 7000)


def schedule_bytes(schedule: ExpirySchedule) -> int:
    """Bytes of all sets of a schedule, without the keys."""
    return getsizeof(schedule._sets) + sum(map(getsizeof, schedule._sets.values()))


@pytest.mark.parametrize("left", [1, 40])
def test_sets_that_lost_their_keys_take_little(left: int) -> None:
    """Keys whose expiries change again and again leave no room in the sets behind them but for a few."""
    schedule, shifts, keys = ExpirySchedule(0), range(6, 60, 3), [b"%d" % number for number in range(5000)]
    for shift in shifts:
        for key in keys:
            schedule.add(key, 1 << shift)
        for key in keys[left:]:
            schedule.remove(key, 1 << shift)
        keys = [b"%d of %d" % (number, shift) for number in range(5000)]
    assert len(schedule) == len(shifts) * left
    assert schedule_bytes(schedule) < len(shifts) * (2048 + 2 * 160 * left)


def test_many_sets_that_went_take_little() -> None:
    """Nor does what the sets are in, of which there were many."""
    schedule = ExpirySchedule(0)
    times = [digit << shift for shift in range(0, 60, 6) for digit in range(1, 64)]
    for time in times:
        schedule.add(b"%d" % time, time)
    for time in times[1:]:
        schedule.remove(b"%d" % time, time)
    assert schedule_bytes(schedule) < 2048
    assert due(schedule, {b"%d" % times[0]: times[0]}, times[0])[0] == {b"%d" % times[0]}
