"""How much a store may look at: reads from a disk, with the parts in which keys are looked at."""

from __future__ import annotations

import pytest

from pyshard.settings import settings
from pyshard.storage.look_budget import FIRST, LookBudget


class Disk:
    """Counts reads."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> int:
        return self.reads


def looked_at(budget: LookBudget, disk: Disk, count: int, reads_each: float) -> list[int]:
    """How many keys each part has, while each key takes so many reads."""
    found = []
    for part in budget.parts(count):
        keys = len(range(count)[part])
        found.append(keys)
        disk.reads += int(keys * reads_each)
    return found


def test_what_is_in_memory_is_looked_at_in_few_parts() -> None:
    """They grow while nothing comes from a disk, up to a bound."""
    disk = Disk()
    assert looked_at(LookBudget(disk), disk, 5000, 0) == [32, 64, 128, *[256] * 18, 168]
    assert looked_at(LookBudget(disk), disk, 10, 0) == [10]
    assert looked_at(LookBudget(), disk, 5000, 1) == [5000]


@pytest.mark.parametrize(("each", "keys"), [(1, 160), (3, 64), (100, 32), (0.5, 320)])
def test_what_is_not_ends_it(each: float, keys: int) -> None:
    """After so many reads no further part is given; the first one always is."""
    disk = Disk()
    budget = LookBudget(disk)
    found = looked_at(budget, disk, 10_000, each)
    assert (sum(found), set(found)) == (keys, {FIRST})
    assert budget.left == 0
    assert disk.reads >= settings.DISK_READS_AT_ONCE


def test_parts_grow_behind_a_few_reads() -> None:
    """One page that isn't in memory makes the next part small, not all."""
    disk = Disk()
    budget, found = LookBudget(disk), list[int]()
    for number, part in enumerate(budget.parts(1000)):
        found.append(len(range(1000)[part]))
        disk.reads += number == 2
    assert found == [32, 64, 128, 32, 64, 128, 256, 256, 40]
    assert budget.left == budget.whole


def test_many_small_runs() -> None:
    """Runs of one batch count together, however small each is; a lone small one costs no look at the disk."""
    disk = Disk()
    budget, runs = LookBudget(disk), 0
    while budget.left > 0:
        assert looked_at(budget, disk, 4, 1) == [4]
        runs += 1
    assert runs == settings.DISK_READS_AT_ONCE // 4 + 2

    def refuse() -> int:
        raise AssertionError("it was asked")

    assert [part.start for part in LookBudget(refuse).parts(FIRST)] == [0]


def test_reads_for_large_records() -> None:
    """They are counted behind each large record, since one may need thousands; behind small ones they aren't."""
    disk = Disk()
    budget = LookBudget(disk)
    disk.reads += 1
    budget.took(16_000_000)  # from here on it is known how many there were
    for _ in range(31):
        disk.reads += 4000
        budget.took(1000)
    assert budget.left == budget.whole - 16_031_000
    disk.reads += 4000
    budget.took(100_000)
    assert budget.left == 0
