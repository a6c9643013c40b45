"""Many small changes of one address that are on their way together count as large ones."""

from __future__ import annotations

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.errors import NotConfigured
from pyshard.shard.large_changes import BESIDE, LargeChanges
from pyshard.shard.small_changes import SMALL, SMALL_OF_ADDRESS
from pyshard.storage import Sender
from pyshard.storage.uncommitted_bytes import UncommittedBytes

ONE, TWO, NEAR = (Sender(*each) for each in (("a", "c1"), ("a", "c2"), ("b", "c3")))
SIZE = SMALL - 10_000  # of a change
AT_ONCE = SMALL_OF_ADDRESS // SIZE
PER_BYTE = 1e-8  # seconds until all members have a byte


class Flooded:
    """A shard whose members take on what it has begun, one byte after the other.

    :ivar on_the_way: bytes that they don't have yet.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.large = LargeChanges(self.clock, UncommittedBytes())
        self.on_the_way = 0
        self._free = 0.0  # when the members have all of it

    def ask(self, sender: Sender, size: int = SIZE) -> Deferred[None]:
        """Ask for a change."""

        def begin() -> Deferred[None]:
            self.on_the_way += size
            self._free = max(self._free, self.clock.seconds()) + size * PER_BYTE
            answered: Deferred[None] = Deferred()
            self.clock.callLater(self._free - self.clock.seconds(), self._have, size, answered)
            return answered

        return self.large.serve(sender, size, begin)

    def _have(self, size: int, answered: Deferred[None]) -> None:
        self.on_the_way -= size
        answered.callback(None)


@pytest.fixture
def flooded() -> Flooded:
    """Nothing is on its way."""
    return Flooded()


def test_so_many_are_begun_at_once(flooded: Flooded) -> None:
    """Whichever connections of the address they come over; another address has its own."""
    for number in range(AT_ONCE):
        flooded.ask((ONE, TWO)[number % 2])
    assert (flooded.on_the_way, len(flooded.large)) == (AT_ONCE * SIZE, 0)
    for number in range(100):
        flooded.ask((ONE, TWO)[number % 2])
    assert flooded.on_the_way <= SMALL_OF_ADDRESS + BESIDE
    before = flooded.on_the_way
    flooded.ask(NEAR)
    assert flooded.on_the_way == before + SIZE


def test_all_of_them_are_begun_in_the_end(flooded: Flooded) -> None:
    """And then as many are begun at once as ever."""
    answers = [watch(flooded.ask(ONE)) for _ in range(200)]
    flooded.clock.pump([0.001] * 1000)
    assert answers == [[None]] * 200
    for _ in range(AT_ONCE):
        flooded.ask(TWO)
    assert flooded.on_the_way == AT_ONCE * SIZE


def test_what_came_to_nothing(flooded: Flooded) -> None:
    """What is refused, or answered at once, isn't on its way."""

    def refuse() -> Deferred[None]:
        raise NotConfigured("another replica leads")

    for _ in range(2 * AT_ONCE):
        with pytest.raises(NotConfigured):
            flooded.large.serve(ONE, SIZE, refuse)
        assert watch(flooded.large.serve(ONE, SIZE, lambda: succeed("done"))) == ["done"]
    assert len(flooded.large) == 0


def test_beside_a_flood(flooded: Flooded) -> None:
    """Somebody who changes one thing after the other waits for a bounded part of it, however much there is."""
    waits: list[float] = []

    def flood(_: object = None) -> None:
        flooded.ask(ONE).addCallback(flood)  # as soon as one is answered, another one comes

    def ask(_: object = None) -> None:
        asked = flooded.clock.seconds()
        flooded.ask(NEAR, 500).addCallback(lambda _: waits.append(flooded.clock.seconds() - asked)).addCallback(
            lambda _: flooded.clock.callLater(0.0005, ask)
        )

    for _ in range(1000):
        flood()
    ask()
    flooded.clock.pump([0.0002] * 10_000)
    assert max(waits) <= (SMALL_OF_ADDRESS + BESIDE + SIZE) * PER_BYTE
    assert len(waits) > 1400  # of 2,860 without the flood
    assert len(waits) > 1400
