"""Copies are opened one at a time for each follower, however many are asked for."""

from __future__ import annotations

from typing import cast

import pytest
from deferreds import result, watch
from twisted.internet.defer import Deferred

from pyshard.errors import StorageFailed, TooManySnapshots
from pyshard.model.slot_ranges import SlotRanges
from pyshard.shard.opening_copies import OpeningCopies
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
    """A second one is refused at once, until the first one is open, or has failed; others are opened meanwhile."""
    store, copy = Store(), cast(ICopy, object())
    opening = OpeningCopies(cast(IStore, store))

    def asked(opener: str) -> list[ICopy | BaseException]:
        return watch(Deferred.fromCoroutine(opening.copy(opener, "name")))

    first = asked("a")
    for _ in range(3):
        with pytest.raises(TooManySnapshots, match="a copy is being opened for 'a' already"):
            result(Deferred.fromCoroutine(opening.copy("a", "name")))
    other = asked("b")
    assert [name for name, _ in store.asked] == ["name", "name"]
    if fails:
        store.asked[0][1].errback(StorageFailed("why"))
        assert isinstance(first[0], StorageFailed)
    else:
        store.asked[0][1].callback(copy)
        assert first == [copy]
    second = asked("a")
    for _, deferred in store.asked[1:]:
        deferred.callback(copy)
    assert (other, second) == ([copy], [copy])
