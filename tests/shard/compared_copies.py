"""Copies that are compared with their source, and faults in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace
from shard.pulling import MOVING, Pulling
from twisted.internet.defer import Deferred

from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.row_digests import RowDigests
from pyshard.shard import copy_check, digest_slices, served_digests
from pyshard.shard.copy_check import CopyCheck
from pyshard.storage import ICopy, LmdbStore

#: See `conftest.TakeErrors`.
TakeErrors: TypeAlias = Callable[..., list[BaseException]]
NAMES = [b"", b"pages"]  # of the indexes, by id


def placed(row: Change, key: bytes, index: int) -> Change | None:
    """The row with another key, or in another index; None: it isn't in the slots that move then."""
    slot = slot_of(key, NAMES[index])
    return replace(row, index=index, slot=slot, key=key) if in_ranges(slot, MOVING) else None


def renamed(row: Change) -> Change:
    """The row with a key that no other row has."""
    return next(found for n in range(100) if (found := placed(row, row.key + b" %d" % n, row.index)))


def elsewhere(page: list[Change]) -> list[Change]:
    """The page with one row in another index."""
    at, row = next((at, found) for at, row in enumerate(page) if (found := placed(row, row.key, 1 - row.index)))
    return [*page[:at], row, *page[at + 1 :]]


#: What becomes of the first row of a page, and of the page, before the target takes it.
FAULTS: dict[str, Callable[[list[Change]], list[Change]]] = {
    "key": lambda page: [renamed(page[0]), *page[1:]],
    "version": lambda page: [replace(page[0], version=page[0].version + 1), *page[1:]],
    "expiry": lambda page: [replace(page[0], expires=page[0].expires + 10**15), *page[1:]],
    "bytes": lambda page: [replace(page[0], record=(page[0].record or b"")[:-1] + b"?"), *page[1:]],
    "index": elsewhere,
    "missing": lambda page: page[1:],
    "additional": lambda page: [*page, renamed(page[0])],
    "exchanged": lambda page: [
        replace(page[0], record=page[1].record),
        replace(page[1], record=page[0].record),
        *page[2:],
    ],
}


def until_equal(pulling: Pulling, steps: int = 200) -> None:
    """Let the pull go on until the copy was found equal."""
    for _ in range(steps):
        if pulling.outcome:
            raise AssertionError(pulling.outcome[0])
        pulling.step()
        if pulling.pull.verdict.equal:
            return
    raise AssertionError(pulling.pull.verdict)


def compare_anew(pulling: Pulling) -> None:
    """A new process of the target compares what it has with the source."""
    pulling.interrupt()
    pulling.new_pull()
    assert not pulling.pull.verdict.equal
    pulling.run()
    until_equal(pulling)
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (0, 0)


def check_released(pulling: Pulling) -> None:
    """Nothing is kept for a digest any more."""
    for bench in (pulling.source, pulling.target):
        if isinstance(bench.store, LmdbStore):
            assert not bench.store._snapshots
        else:
            assert not any(index._watchers for index in bench.store._indexes.values())  # type: ignore[attr-defined]


async def never_done(check: CopyCheck, copy: ICopy, digests: RowDigests, ahead: object) -> None:
    """Stands in for `CopyCheck._count`: the target's rows are never all counted."""
    del check, copy, digests, ahead
    await Deferred()


def at_each_slice(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something done before each slice that either side counts."""
    before = digest_slices.digest_slice

    def slice_then(copy: ICopy, digests: Any) -> bool:
        act()
        return before(copy, digests)

    monkeypatch.setattr(copy_check, "digest_slice", slice_then)
    monkeypatch.setattr(served_digests, "digest_slice", slice_then)


def tamper(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, fault: str, times: int = 1) -> None:
    """Have pages of a copy, of some rows, be changed on their way into the target's store."""
    store, left = pulling.target.store, [times]
    absorb = store.absorb_staged

    def changed(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if sequence == 0 and len(group.changes) > 1 and left[0]:
            left[0] -= 1
            group = replace(group, changes=FAULTS[fault](group.changes))
        return absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", changed)
