"""When small documents of a shard in memory are copied, and of which sizes: by what the allocator tells."""

from __future__ import annotations

from itertools import count

from pyshard.storage.memory.allocator_pools import PoolUse, lengths_in, pools_in
from pyshard.storage.memory.compaction import Worth, room_in, sparse

MIB = 1_048_576
MUCH = 100 * MIB

REPORT = b"""
class   size   num pools   blocks in use  avail blocks
-----   ----   ---------   -------------  ------------
    0     16           1             594           426
   31    512           2              52            10

# arenas allocated current         =                  984
51 unused pools * 16384 bytes      =              835,584
"""


def test_much_room_in_pools_is_worth_it() -> None:
    """That is more than 16 MiB, and than an eighth of what the store holds."""
    assert not Worth().is_worth_it(16 * MIB, 0, 0.0)
    assert Worth().is_worth_it(16 * MIB + 1, 0, 0.0)
    assert not Worth().is_worth_it(128 * MIB, 1024 * MIB, 0.0)
    assert Worth().is_worth_it(128 * MIB + 1, 1024 * MIB, 0.0)


def test_what_was_in_vain_is_not_done_soon_again() -> None:
    """The next one is worth it when there is half as much more to win than the last one left, or some time later."""
    worth = Worth()
    worth.ended(50 * MIB, 38 * MIB, 40 * MIB, 100.0)
    assert not worth.is_worth_it(60 * MIB, 0, 100.9)
    assert worth.is_worth_it(60 * MIB + 1, 0, 100.9)
    assert worth.is_worth_it(60 * MIB, 0, 101.0)
    assert not worth.is_worth_it(20 * MIB, 0, 100.9)  # somebody has freed the rest
    assert worth.is_worth_it(30 * MIB + 1, 0, 100.9)


def test_what_is_in_vain_again_and_again() -> None:
    """It rests twice as long each time, up to five minutes; after one that has helped it doesn't rest."""
    worth, rests = Worth(), list[float]()
    for _ in range(11):
        worth.ended(MUCH, MUCH, MUCH, 0.0)
        rests.append(next(seconds for seconds in count() if worth.is_worth_it(MUCH, 0, seconds)))
    assert rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    worth.ended(MUCH, MUCH * 3 // 4 - 1, MUCH, 0.0)  # others have left as much meanwhile
    assert worth.is_worth_it(MUCH, 0, 0.0)
    worth.ended(MUCH, MUCH * 3 // 4, MUCH, 0.0)
    assert not worth.is_worth_it(MUCH, 0, 0.9)


def test_which_pools_have_much_room() -> None:
    """A quarter of it, and a part of the room of all."""
    pools = [PoolUse(16, 300, 101), PoolUse(32, 300, 100), PoolUse(48, 300, 99), PoolUse(64, 0, 0), PoolUse(80, 1, 2)]
    assert room_in(pools) == 16 * 101 + 32 * 100 + 48 * 99 + 160
    assert sparse(pools).keys() == {16, 80}
    assert sparse([*pools, PoolUse(96, 0, 110)]).keys() == {16, 96}


def test_lengths_of_what_is_in_a_pool() -> None:
    """A bytes object takes 33 bytes beside its content; one of more than 512 is from no pool."""
    assert list(lengths_in(48)) == list(range(16))
    assert list(lengths_in(64)) == list(range(16, 32))
    assert list(lengths_in(512)) == list(range(464, 480))
    assert list(lengths_in(16)) == []


def test_report_of_the_allocator() -> None:
    """There is a line for each size. Without such a report nothing is known."""
    assert pools_in(REPORT) == [PoolUse(16, 594, 426), PoolUse(512, 52, 10)]
    assert pools_in(b"") == []
