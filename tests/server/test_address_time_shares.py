"""Shares of the time, by value: who may be served when, given what each address has used."""

from __future__ import annotations

import pytest

from pyshard.server.address_time_shares import ASKS, QUANTUM, AddressShares

SMALL, LARGE = QUANTUM * 0.9, 0.005


class Day:
    """Shares, and a clock that goes on by what is charged."""

    def __init__(self) -> None:
        self.shares = AddressShares()
        self.now = 0.0
        self.turn = 0

    def use(self, origin: str, seconds: float, boxes: float = 1) -> None:
        """Serve an address."""
        self.now += seconds
        self.shares.charge(origin, seconds, self.now, self.turn, boxes)

    def room(self, origin: str) -> float:
        """What an address has left in this turn."""
        return self.shares.room(origin, self.now, self.turn)

    def busy(self, seconds: float) -> None:
        """Have two addresses ask small things for some time."""
        end = self.now + seconds
        while self.now < end:
            self.turn += 1
            self.use("b", SMALL)
            self.use("c", SMALL)
            self.now += SMALL

    def compete(self, seconds: float = LARGE) -> None:
        """Have an address, a, use about as much for large boxes as each of these two uses for small ones."""
        for _ in range(20):
            self.use("a", seconds)
            self.busy(4.1 * seconds)


@pytest.fixture
def day() -> Day:
    """Shares of which nobody has used anything."""
    return Day()


def test_who_asks_alone_has_all_of_the_time(day: Day) -> None:
    """One address never waits, whatever it asks."""
    for seconds in (SMALL, LARGE, SMALL, 1.0, LARGE):
        day.use("a", seconds)
        assert day.room("a") >= LARGE
        assert day.shares.debt("a", day.now) == 0


def test_beside_others_a_turn_is_shared(day: Day) -> None:
    """In one turn an address gets so much, and in the next one again; another one isn't kept waiting for that."""
    day.busy(0.01)
    for _ in range(3):
        day.use("a", SMALL)
    assert (day.room("a"), day.shares.wait("a", day.now)) == (0, 0)
    assert day.room("unknown") > 0
    day.turn += 1
    assert day.room("a") >= QUANTUM


def test_time_is_left_after_a_long_box(day: Day) -> None:
    """After a box that took long the address waits four times as long, and asks the others nothing of their turns."""
    day.busy(0.5)
    day.compete()
    day.use("a", LARGE)
    assert day.shares.wait("a", day.now) == pytest.approx(4 * LARGE, rel=0.01)
    assert day.shares.debt("a", day.now) == pytest.approx(4 * LARGE, rel=0.01)
    day.turn += 1
    assert (day.room("a"), day.room("b") > 0) == (0, True)
    day.busy(4 * LARGE)
    assert day.room("a") > 0


def test_who_uses_little_leaves_no_time(day: Day) -> None:
    """Nobody waits for smaller things of those who have had several times as much of late."""
    day.busy(0.5)
    day.use("a", LARGE)
    assert day.shares.wait("a", day.now) == 0


def test_nobody_waits_for_those_who_have_gone(day: Day) -> None:
    """Once the others ask nothing for a moment, the address goes on, though its time hasn't come."""
    day.busy(0.5)
    day.use("a", 0.1)
    assert day.shares.wait("a", day.now) == pytest.approx(ASKS)
    day.now += ASKS
    assert day.room("a") > LARGE
    assert day.shares.debt("a", day.now) == 0


def test_who_asks_as_long_things_is_left_no_time(day: Day) -> None:
    """Two addresses that ask large things alike wait for each other's turns, and no longer."""
    for _ in range(100):
        day.turn += 1
        day.use("a", LARGE)
        day.use("b", LARGE * 1.2)
    day.turn += 1
    assert day.room("a") > 0
    assert day.room("b") > 0


@pytest.mark.parametrize(("pings", "least", "most"), [(20, 0.0, 0.06), (100, 0.05, 0.2), (5_000, 2.5, 4.1)])
def test_those_who_ask_now_and_then_hardly_count(day: Day, pings: int, least: float, most: float) -> None:
    """What is left to others depends on what they use: some pings a second cost a bulk load little."""
    for _ in range(pings):
        day.use("b", SMALL)
        day.use("a", LARGE / 1000)  # while one asks alone nobody counts
        day.now += 1 / pings - SMALL - LARGE / 1000
    day.use("a", LARGE)
    account = day.shares._accounts["a"]
    assert least <= max(0.0, account.due - day.now) / LARGE <= most


def test_small_boxes_between_large_ones_change_nothing(day: Day) -> None:
    """An address that pings all the time has its large boxes counted as what they are."""
    day.busy(0.5)
    day.compete()
    for _ in range(3):
        for _ in range(50):
            day.use("a", SMALL / 2)
        day.use("a", LARGE)
        assert day.shares.wait("a", day.now) > 2.5 * LARGE
        day.busy(5 * LARGE)


def test_parts_of_a_box(day: Day) -> None:
    """What is a tenth of a box counts as long as all of that; it is no use of the address's for smaller things."""
    for _ in range(10):
        day.use("a", SMALL, 0.1)
    day.use("b", SMALL)
    assert day.shares.average("a", day.now) == pytest.approx(10 * SMALL)
    day.busy(0.2)
    for _ in range(2000):
        day.use("a", SMALL, 0.01)
        day.busy(SMALL)
    day.use("a", SMALL, 0.01)
    assert day.room("a") == 0
    assert day.shares.debt("a", day.now) > SMALL


def test_parts_of_a_box_are_no_small_things(day: Day) -> None:
    """To those whose boxes take still longer they are no reason to leave time."""
    for _ in range(100):
        day.use("a", SMALL, 0.1)
    day.use("b", LARGE)
    assert day.shares.debt("b", day.now) == 0


def test_many_boxes_at_once_are_no_long_box(day: Day) -> None:
    """Who was alone, and had many small boxes served in one go, is judged by these."""
    day.use("a", 0.02, boxes=1000)
    day.busy(0.1)
    day.use("a", QUANTUM)
    assert day.shares.wait("a", day.now) == 0


def test_who_asks_while_it_rests_asks_for_more(day: Day) -> None:
    """An address that asks again and again in a long rest has the next one behind what it is given then, too."""
    for _ in range(3000):
        day.turn += 1
        day.use("b", SMALL / 2)
        day.use("a", 3 * SMALL)
        day.room("a")
    account = day.shares._accounts["a"]
    assert account.due > day.now + 0.02
    for _ in range(20):
        day.turn += 1
        day.now += 0.001
        day.use("b", SMALL / 2)
        assert day.room("a") == 0
    due = account.due
    day.use("a", 3 * SMALL)
    assert account.due > due


def test_busy_addresses_share_long_turns(day: Day) -> None:
    """Where all have a lot to ask, what one may have in a turn grows."""
    for _ in range(2000):
        day.turn += 1
        for origin in "abcd":
            for _ in range(30):
                if day.room(origin) > 0:
                    day.use(origin, SMALL)
    day.turn += 1
    assert day.room("a") > 5 * QUANTUM


def test_one_alone_cannot_make_turns_long(day: Day) -> None:
    """Beside others that ask one thing at a time, an address that asks thousands gets little more than they do."""
    for _ in range(2000):
        day.turn += 1
        day.use("b", SMALL)
        day.use("c", SMALL)
        for _ in range(100):
            if day.room("a") > 0:
                day.use("a", SMALL)
    day.turn += 1
    assert day.room("a") < 3 * QUANTUM


def test_what_counts_no_longer_is_forgotten(day: Day) -> None:
    """A million addresses that come and go leave next to nothing."""
    for number in range(20_000):
        day.use(f"2001:db8:{number:x}::/64", LARGE)
    assert len(day.shares._accounts) < 3000


def test_a_clock_that_is_set_back(day: Day) -> None:
    """Nobody waits for longer than a second, and nothing fails."""
    day.busy(0.5)
    day.use("a", LARGE)
    day.now -= 1000
    day.use("b", SMALL)
    day.use("a", LARGE)
    day.now += 2000
    day.busy(0.1)
    day.turn += 1
    assert day.room("a") > 0


def test_a_box_that_takes_a_minute(day: Day) -> None:
    """However long a box took, its address is left waiting for a second at the most."""
    day.busy(0.5)
    day.use("a", 60.0)
    day.busy(0.01)
    assert day.shares.debt("a", day.now) <= 1.0


def left_to(waiting: float, times: int) -> float:
    """How long an address waits after a long box, as part of what that took, beside another one that asked little.

    :param waiting: seconds for which that one has waited elsewhere, so many times at once.
    """
    day = Day()
    day.use("b", SMALL)
    day.use("c", SMALL)
    day.use("b", SMALL)
    day.now += waiting
    for _ in range(times):
        day.shares.count_waiting("b", waiting, day.now)
    day.use("a", LARGE)
    return day.shares.wait("a", day.now) / LARGE


def test_waiting_elsewhere_counts_as_use() -> None:
    """Time is left to who waits for an answer from elsewhere as to who is busy; what several wait for counts once."""
    assert left_to(0.0, 1) < left_to(0.001, 1) < left_to(0.01, 1)
    assert left_to(0.01, 1) > 1.5
    assert left_to(0.01, 5) == left_to(0.01, 1)
    Day().shares.count_waiting("unknown", 1.0, 5.0)
