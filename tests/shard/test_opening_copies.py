"""Copies are opened one at a time, and one for each follower, however many are asked for."""

from __future__ import annotations

from typing import cast

import pytest
from deferreds import result, watch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import StorageFailed, TooManySnapshots
from pyshard.model.slot_ranges import SlotRanges
from pyshard.shard.opening_copies import OpeningCopies, OpeningTurns
from pyshard.storage import ICopy, IStore


class Store:
    """Opens copies when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Deferred[ICopy]]] = []

    def copy(self, name: str | None, ranges: SlotRanges | None) -> Deferred[ICopy]:
        """See `IFollowedStore`."""
        self.asked.append((name, Deferred()))
        return self.asked[-1][1]


@pytest.mark.parametrize("fails", [False, True])
def test_one_at_a_time(fails: bool) -> None:
    """A second one is refused at once, until the first one is open, or has failed; those of others are opened then."""
    store, copy = Store(), cast(ICopy, object())
    opening = OpeningCopies(cast(IStore, store), OpeningTurns(Clock()))

    def asked(opener: str) -> list[ICopy | BaseException]:
        return watch(Deferred.fromCoroutine(opening.copy(opener, "name")))

    first = asked("a")
    for _ in range(3):
        with pytest.raises(TooManySnapshots, match="a copy is being opened for 'a' already"):
            result(Deferred.fromCoroutine(opening.copy("a", "name")))
    other = asked("b")
    assert [name for name, _ in store.asked] == ["name"]
    if fails:
        store.asked[0][1].errback(StorageFailed("why"))
        assert isinstance(first[0], StorageFailed)
    else:
        store.asked[0][1].callback(copy)
        assert first == [copy]
    second = asked("a")
    for number in (1, 2):
        assert len(store.asked) == number + 1
        store.asked[number][1].callback(copy)
    assert (other, second) == ([copy], [copy])


def test_all_else_has_time_between() -> None:
    """Twenty times as long as a copy took to open, since it goes before all else; a second at the most."""
    store, clock = Store(), Clock()
    turns = OpeningTurns(clock)
    copies, digests = (OpeningCopies(cast(IStore, store), turns) for _ in range(2))
    for number, (took, rest) in enumerate([(0.03125, 0.625), (0.5, 1.0), (9.0, 1.0)]):
        watch(Deferred.fromCoroutine(copies.copy("a", "name")))
        watch(Deferred.fromCoroutine(digests.copy("b", None)))
        clock.advance(took)
        store.asked[2 * number][1].callback(cast(ICopy, object()))
        clock.advance(rest - 0.01)
        assert len(store.asked) == 2 * number + 1
        clock.advance(0.01)
        assert len(store.asked) == 2 * number + 2
        store.asked[-1][1].callback(cast(ICopy, object()))
        clock.advance(1.0)
