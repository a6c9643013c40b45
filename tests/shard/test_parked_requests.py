"""Requests wait while their slots are closed: in order, for a bounded time, and only so many."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from deferreds import result, watch
from told_sender import ToldSender
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, Overloaded, Unavailable
from pyshard.protocol.batch_operations import Has, Write
from pyshard.settings import settings
from pyshard.shard.parked_requests import ParkedRequests, ParkingBounds
from pyshard.storage import Sender

ONE, TWO, NEAR, FAR = (Sender(*each) for each in (("a", "c1"), ("a", "c2"), ("a", "c3"), ("b", "c4")))


class Parking:
    """Parked requests of a shard that writes down what it does.

    :ivar closed: keys whose slots are closed.
    :ivar done: the keys of what was done, in order.
    :ivar planned: how often anything was planned.
    """

    def __init__(self, **bounds: Any) -> None:
        self.clock = Clock()
        self.parked = ParkedRequests(self.clock, attrs.evolve(ParkingBounds(), **bounds))
        self.closed: set[bytes] = set()
        self.done: list[bytes] = []
        self.planned = 0
        self.takes = 0.0

    def close(self, *keys: bytes) -> None:
        """Close slots."""
        self.closed |= set(keys)
        self.parked.slots_closed()

    def open(self) -> None:
        """Open them."""
        self.closed = set()
        self.parked.release()

    def ask(self, sender: Sender, *keys: bytes) -> list[str | BaseException]:
        """Ask for keys; what it comes to."""

        def begin(may_wait: bool) -> Deferred[str] | None:
            self.planned += 1
            self.clock.rightNow += self.takes
            if self.closed & set(keys):
                return None if may_wait else succeed("refused")
            self.done += keys
            return succeed("done")

        return watch(self.parked.serve(sender, [Write("", list(keys), [b""] * len(keys))], begin))


def test_wait_until_released() -> None:
    """What comes for closed slots waits, and is done when they are open; the rest goes on meanwhile."""
    parking = Parking()
    assert parking.ask(ONE, b"k") == ["done"]
    parking.close(b"k")
    assert parking.parked.idle is False
    asked = parking.ask(ONE, b"k", b"other")
    assert (asked, parking.ask(ONE, b"free"), parking.ask(TWO, b"other")) == ([], ["done"], ["done"])
    assert len(parking.parked) == 1
    parking.open()
    assert asked == ["done"]
    assert parking.done == [b"k", b"free", b"other", b"k", b"other"]
    assert len(parking.parked) == 0
    parking.clock.advance(settings.PARKED)
    assert parking.parked.idle


def test_what_was_not_opened_waits_on() -> None:
    """Each is planned anew, and waits on if it has to."""
    parking = Parking()
    parking.close(b"k", b"m")
    asked, other = parking.ask(ONE, b"k"), parking.ask(ONE, b"m")
    parking.closed = {b"k"}
    parking.parked.release()
    assert (asked, other) == ([], ["done"])
    parking.open()
    assert asked == ["done"]


def test_order() -> None:
    """Nothing overtakes what its sender has parked for one of its keys, though its own slots are open."""
    parking = Parking()
    parking.close(b"k")
    first = parking.ask(ONE, b"k", b"other")
    behind = parking.ask(ONE, b"other", b"third")
    further = parking.ask(ONE, b"third")
    assert (first, behind, further) == ([], [], [])
    assert parking.done == []
    parking.parked.release()
    assert (first, behind, further) == ([], [], [])
    parking.open()
    assert (first, behind, further) == (["done"], ["done"], ["done"])
    assert parking.done == [b"k", b"other", b"other", b"third", b"third"]


def test_order_while_released() -> None:
    """Nor does it while they are released, which takes several turns of the reactor."""
    parking = Parking()
    parking.close(b"k")
    asked = [parking.ask(sender, b"k", each) for sender in (ONE, TWO) for each in (b"1", b"2", b"3")]
    parking.takes = settings.SERVED_AT_ONCE
    parking.open()
    late, other = parking.ask(TWO, b"3"), parking.ask(FAR, b"k")
    assert (late, other) == ([], ["done"])
    assert [each for each in parking.done if each != b"k"] == [b"1"]
    for _ in range(10):
        parking.clock.advance(0)
    assert asked == [["done"]] * 6
    assert late == ["done"]
    assert [each for each in parking.done if each != b"k"] == [b"1", b"2", b"3", b"1", b"2", b"3", b"3"]


def test_what_an_answer_brings() -> None:
    """A peer that sends the next one as soon as it has an answer doesn't overtake, either."""
    parking = Parking()
    parking.close(b"k")
    brought: list[object] = []

    def begin(may_wait: bool) -> Deferred[str] | None:
        return None if may_wait and parking.closed else succeed("done")

    first = parking.parked.serve(ONE, [Write("", [b"k"], [b""])], begin)
    first.addCallback(lambda _: brought.append(parking.ask(ONE, b"second")))
    parking.ask(ONE, b"k", b"second", b"first")
    parking.open()
    assert parking.done == [b"k", b"second", b"first", b"second"]
    assert brought == [["done"]]


def test_for_so_long() -> None:
    """What is still closed some time after it was closed is refused, and so is what comes later, at once."""
    parking = Parking(seconds=1.0)
    parking.close(b"k")
    early = parking.ask(ONE, b"k", b"x")
    parking.clock.advance(0.75)
    late, behind = parking.ask(TWO, b"k"), parking.ask(ONE, b"x")
    parking.clock.advance(0.2)
    assert (early, late, behind) == ([], [], [])
    parking.clock.advance(0.05)
    assert (early, late, behind) == (["refused"], ["refused"], ["done"])
    assert parking.ask(TWO, b"k") == ["refused"]
    assert parking.parked.idle
    parking.close(b"k")  # by the next attempt
    assert parking.ask(TWO, b"k") == []
    parking.parked.close()


def test_another_closing_begins_the_time_anew() -> None:
    """It is counted from when slots were closed last."""
    parking = Parking(seconds=1.0)
    parking.close(b"k")
    asked = parking.ask(ONE, b"k")
    parking.clock.advance(0.9)
    parking.close(b"m")
    parking.clock.advance(0.9)
    assert asked == []
    parking.clock.advance(0.1)
    assert asked == ["refused"]


def test_bound_of_a_connection() -> None:
    """A connection with too many has its next one refused, as long as that is so."""
    parking = Parking(of_connection=2)
    parking.close(b"k")
    asked = [parking.ask(ONE, b"k") for _ in range(2)]
    (error,) = parking.ask(ONE, b"k", b"new")
    assert isinstance(error, Overloaded)
    assert parking.ask(TWO, b"k") == []
    parking.open()
    assert asked == [["done"], ["done"]]
    parking.close(b"k")
    assert parking.ask(ONE, b"k") == []


def test_no_room_behind_a_parked_one() -> None:
    """What would overtake isn't done at all then; what wouldn't is refused as it is without parking."""
    parking = Parking(of_connection=1)
    parking.close(b"k", b"m")
    first = parking.ask(ONE, b"k", b"other")
    planned = parking.planned
    (error,) = parking.ask(ONE, b"other")
    assert isinstance(error, Overloaded)
    assert parking.planned == planned
    assert parking.ask(ONE, b"m") == ["refused"]
    assert parking.ask(ONE, b"free") == ["done"]
    parking.open()
    assert first == ["done"]
    assert parking.done == [b"free", b"k", b"other"]


@pytest.mark.parametrize("bound", [{"requests": 4}, {"size": 4 * 1800}])
def test_bounds(bound: dict[str, Any]) -> None:
    """One address has half of the room at the most, however many connections; others find some."""
    parking = Parking(**bound)
    parking.close(b"k", b"m", b"n")
    near = [parking.ask(sender, b"k") for sender in (ONE, TWO, NEAR)]
    assert near == [[], [], ["refused"]]
    assert (parking.ask(FAR, b"k"), parking.ask(FAR, b"m")) == ([], ["refused"])
    parking.open()
    assert near == [["done"], ["done"], ["refused"]]
    parking.close(b"k", b"m", b"n")
    assert [parking.ask(FAR, each) for each in (b"k", b"m", b"n")] == [[], [], ["refused"]]


def test_a_connection_that_ended() -> None:
    """What is parked of it is never done, and its Deferred fires: a fence waits for it."""
    parking = Parking()
    parking.close(b"k")
    asked, other = [parking.ask(ONE, b"k"), parking.ask(ONE, b"k", b"more")], parking.ask(TWO, b"k")
    parking.parked.forget(ONE)
    assert [type(each) for (each,) in asked] == [Unavailable] * 2
    parking.parked.forget(ONE)  # there is nothing any more
    parking.open()
    assert (other, parking.done) == (["done"], [b"k"])


def test_a_sender_that_is_gone() -> None:
    """Nor is it when nobody has said so."""
    parking, gone = Parking(), list[bool]()
    sender = ToldSender("a", "c9", lambda: bool(gone))
    parking.close(b"k")
    asked = [parking.ask(sender, b"k"), parking.ask(sender, b"other", b"k")]
    gone.append(True)
    parking.open()
    assert [type(each) for (each,) in asked] == [Unavailable] * 2
    assert parking.done == []


def test_the_end() -> None:
    """At the end of the daemon nothing waits, and nothing is parked any more."""
    parking = Parking()
    parking.close(b"k")
    asked = parking.ask(ONE, b"k")
    parking.parked.close()
    assert asked == ["refused"]
    parking.close(b"k")
    assert parking.ask(ONE, b"k") == ["refused"]
    assert parking.parked.idle
    assert parking.clock.getDelayedCalls() == []
    parking.parked.close()


def test_what_planning_raises() -> None:
    """At once where it isn't parked, else as the answer; the others are released all the same."""
    parking = Parking()
    raises: list[BadRequest | ValueError] = [BadRequest("no such slot")]

    def begin(may_wait: bool) -> Deferred[None] | None:
        if raises:
            raise raises[-1]
        return None

    with pytest.raises(BadRequest, match="no such slot"):
        parking.parked.serve(ONE, (), begin)
    parking.close(b"k")
    known, raises[:] = list(raises), []
    asked = watch(parking.parked.serve(ONE, (), begin))
    other = parking.ask(TWO, b"k")
    raises[:] = known
    parking.open()
    assert (asked, other) == (known, ["done"])


def test_what_has_no_keys() -> None:
    """A page waits for its slot alone, and holds nothing up."""
    parking = Parking()
    parking.close(b"k")
    page = parking.parked.serve(ONE, (), lambda _: succeed("page") if not parking.closed else None)
    assert parking.ask(ONE, b"free") == ["done"]
    assert parking.parked.serve(ONE, (), lambda _: succeed("another")).called
    parking.open()
    assert result(page) == "page"


def test_what_a_page_keeps_counts() -> None:
    """It has no runs, but may begin behind a long key."""
    parking = Parking(size=100_000)
    parking.close(b"k")
    pages = [
        watch(parking.parked.serve(ONE, (), lambda may_wait: None if may_wait else succeed("refused"), 20_000))
        for _ in range(4)
    ]
    assert pages == [[], [], ["refused"], ["refused"]]


def test_their_time_is_their_senders() -> None:
    """The time that it takes to begin what was parked is counted for who sent it."""
    parking, sender = Parking(), ToldSender("a", "c9")
    parking.close(b"k")
    parking.ask(sender, b"k")
    parking.takes = 0.001
    parking.open()
    assert [(round(seconds, 9), alike) for seconds, alike in sender.counted] == [(0.001, 1)]


def test_slots_of_reads() -> None:
    """A read that came behind a parked change of its key waits as well."""
    parking = Parking()
    parking.close(b"k")
    parking.ask(ONE, b"k", b"other")
    read = parking.parked.serve(ONE, [Has("", [b"other"])], lambda _: succeed(list(parking.done)))
    assert not read.called
    parking.open()
    assert result(read) == [b"k", b"other"]
