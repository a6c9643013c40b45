"""Two stores of which one changes inside: nobody is to see a difference, also who reads a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from stores import PLENTY, at_once
from twisted.internet.task import Clock

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Read, Remove, Run, Touch, Write
from pyshard.storage import MemoryStore, PageBounds, Task

#: What happens: its name, keys, and a number.
Step: TypeAlias = tuple[str, list[bytes], int]


def steps_on(keys: Sequence[bytes], *inside: str) -> st.SearchStrategy[list[Step]]:
    """Steps in any order.

    :param inside: names of what happens inside one store.
    """
    columns = st.lists(st.sampled_from(keys), unique=True, min_size=1, max_size=8)
    changes = st.tuples(st.sampled_from(["write", "remove", "touch"]), columns, st.sampled_from([0, 500, 2000]))
    others = st.sampled_from([*inside, "pass", "sweep", "open", "follow"])
    return st.lists(st.one_of(changes, st.tuples(others, columns, st.integers(1, 900))), max_size=60)


def check_alike(
    keys: Sequence[bytes],
    steps: Sequence[Step],
    inside: Mapping[str, Callable[[MemoryStore, int], object]],
    sweep: Callable[[MemoryStore, int], object],
) -> MemoryStore:
    """Have steps happen to two stores, and compare what can be seen of them.

    :param keys: all keys of the steps.
    :param inside: what happens inside the first store alone, by name, given the step's number.
    :param sweep: sweeps a store, given the step's number.
    :return: the first store.
    """
    clock = Clock()
    clock.advance(1000)
    one, other = MemoryStore("1d", clock.seconds), MemoryStore("1d", clock.seconds)
    snapshots = []
    for at, (what, of, number) in enumerate(steps):
        run: Run | None = None
        if what == "write":
            ttls = [number] * len(of) if number else None
            run = Write("", [bytes(memoryview(key)) for key in of], [b"%d" % at] * len(of), None, ttls)
        elif what == "remove":
            run = Remove("", of)
        elif what == "touch":
            run = Touch("", of, [number] * len(of))
        elif what == "pass":
            clock.advance(number / 1000)
        elif what == "open":
            snapshots.append((one.snapshot(), other.snapshot()))
        elif what in inside:
            inside[what](one, number)
        for store in (one, other):
            if run is not None:
                apply(store, run)
            if what == "follow":
                at_once(store.copy("follower"))
            if what == "sweep":
                sweep(store, number)
        assert seen(one, keys) == seen(other, keys)
    for pair in snapshots:
        found = list(map(rows_of, pair))
        assert found[0] == found[1]
    return one


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run on the default index."""
    (answer,) = at_once(store.apply([Task(run, 0, list(map(slot_of, run.keys)))], PLENTY, PLENTY))
    assert answer.errors == {}


def seen(store: MemoryStore, keys: Sequence[bytes]) -> object:
    """What of a store can be seen."""
    (answer,) = at_once(store.apply([Task(Read("", list(keys)), 0, list(map(slot_of, keys)))], PLENTY, PLENTY))
    page = at_once(store.page(0, 0, None, SLOTS, PageBounds(1000, PLENTY, PLENTY)))
    index = store._indexes[0]
    return answer.results, page, store.documents, store.used, dict(index.records), dict(index.expiries)


def rows_of(snapshot: Any) -> list[object]:
    """All rows of a snapshot, which is closed then."""
    while snapshot.count(1000) is None:
        pass
    rows: list[object] = []
    while (page := snapshot.page(PLENTY, 1000)) != []:
        rows += page or []
    snapshot.close()
    return rows
