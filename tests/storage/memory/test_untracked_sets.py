"""Sets of keys at which the garbage collector doesn't look: they are as others are, and all of a schedule are such."""

from __future__ import annotations

import gc
import sys
from random import Random

import pytest
from compiled_twins import built

from pyshard.compiled import IN_USE, dict_leaves
from pyshard.storage.memory.expiry_schedule import ExpirySchedule
from pyshard.storage.memory.untracked_sets import untracked_plainly

in_use = pytest.mark.skipif(not IN_USE, reason="compiled code isn't in use")


@pytest.mark.parametrize("make", [untracked_plainly, pytest.param("compiled", marks=built)])
def test_a_set_stays_as_it_is(make: object) -> None:
    """Whatever is added and removed, and however often the garbage collector comes, or the set is given anew."""
    one = dict_leaves.untracked if make == "compiled" else untracked_plainly
    random, model = Random(5), set[bytes]()
    keys = one(set())
    references = sys.getrefcount(keys)
    assert one(keys) is keys
    for step in range(3000):
        key = b"%d" % random.randrange(2000)
        if random.random() < 0.6:
            keys.add(key)
            model.add(key)
        else:
            keys.discard(key)
            model.discard(key)
        if step % 500 == 0:
            gc.collect()
            assert keys == model
            keys = one(set(one(keys)))
    assert keys == model == set(keys.copy())
    assert sys.getrefcount(keys) == references
    keys.clear()
    del keys
    gc.collect()


@in_use
def test_no_set_of_a_schedule_is_looked_at() -> None:
    """Whatever is added, removed, due, passed over and due again."""
    schedule, random, now = ExpirySchedule(1000), Random(7), 1000
    expiries: dict[bytes, int] = {}
    for _ in range(4000):
        key = b"%d" % random.randrange(900)
        if key in expiries:
            schedule.remove(key, expiries.pop(key))
        else:
            expiries[key] = now + random.randrange(1, 10 ** random.randrange(1, 7))
            schedule.add(key, expiries[key])
        now += random.randrange(40)
        if random.random() < 0.02:
            schedule.look_again()
        while random.random() < 0.6 and (due := schedule.next_due(now)) is not None:
            if expiries[due] > now:
                schedule.add(due, expiries[due])
            else:
                schedule.pass_over(due)
        sets = [*schedule._sets.values(), schedule._passed_over, schedule._again, schedule._next]
        assert not any(map(gc.is_tracked, sets))
        assert sum(map(len, sets)) == len(expiries)
