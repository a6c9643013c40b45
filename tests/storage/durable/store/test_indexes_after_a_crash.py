"""Indexes that come and go while a checkpoint is on its way: a killed process loses none, and no document of one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage.durable.store.opened import lmdb_of
from stores import NAMED, PLENTY, Bench, at_once, check_consistent, prepared

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.storage import PageBounds, Task


class Indexes:
    """A store without a thread, with indexes that are made and dropped, and what it must have.

    :ivar expected: name → keys of each index.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ids: dict[str, int] = {}
        self._made = max(NAMED.values())  # which the bench has had
        self.expected: dict[str, set[bytes]] = {}
        self._set()

    def make(self) -> None:
        """Make an index, with an id that none had."""
        self._made += 1
        name = f"index{self._made}"
        self._ids[name], self.expected[name] = self._made, set()
        self._set()

    def drop(self, number: int) -> None:
        """Drop some index."""
        if self._ids:
            name = sorted(self._ids)[number % len(self._ids)]
            del self._ids[name], self.expected[name]
            self._set()

    def write(self, number: int) -> None:
        """Write a key into each index."""
        for name, index in self._ids.items():
            key = b"%d" % number
            task = Task(Write(name, [key], [b"text"]), index, [slot_of(key, name.encode())])
            (answer,) = at_once(self._bench.store.apply([task], PLENTY, PLENTY))
            assert answer.results == [True]
            self.expected[name].add(key)

    def check(self) -> None:
        """Compare what the store has with what it must have."""
        store, bounds = self._bench.store, PageBounds(1000, PLENTY)
        for name, index in self._ids.items():
            assert set(at_once(store.page(index, 0, None, SLOTS, bounds)).keys) == self.expected[name]
            assert store.count(index) == len(self.expected[name])
        assert store.documents == sum(map(len, self.expected.values()))
        check_consistent(lmdb_of(self._bench))

    def _set(self) -> None:
        at_once(self._bench.store.set_indexes(self._ids))


steps = st.sampled_from(["make", "drop", "write", "write", "write", "sweep", "crash"])


def run(bench: Bench, does: Sequence[tuple[str, int]]) -> None:
    """Do steps, each with a number, then crash and sweep; what must be there is compared after each crash."""
    indexes = Indexes(bench)
    for step, number in [*does, ("crash", 0)]:
        if step == "make":
            indexes.make()
        elif step == "drop":
            indexes.drop(number)
        elif step == "write":
            indexes.write(number)
        elif step == "sweep":
            at_once(bench.store.sweep(1 + number % 3))
        else:
            bench.crash()
            indexes.check()
    bench.sweep()
    indexes.check()


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("behind", range(5))
def test_an_index_made_while_a_checkpoint_is_on_its_way(before: int, behind: int) -> None:
    """LMDB knows it before it has the groups of the one made before, which know nothing of it."""
    first = [("write", number) for number in range(before)]
    later = [("write", number) for number in range(before, before + behind)]
    with prepared("lmdb with a small map") as bench:
        run(bench, [("make", 0), *first, ("make", 0), *later])


@settings(max_examples=50)
@given(st.lists(st.tuples(steps, st.integers(0, 30)), max_size=40))
def test_any_steps(does: list[tuple[str, int]]) -> None:
    """Whatever indexes are made and dropped, and wherever the process is killed, the store has what it must."""
    with prepared("lmdb with a small map") as bench:
        run(bench, does)
