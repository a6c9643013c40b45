"""A sweep that waited while a durable store began to follow another one."""

from __future__ import annotations

from storage.contract.ranges import ABOVE, BELOW, FROM, KEYS, records_from
from stores import commit, prepared
from twisted.python.failure import Failure

from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import LmdbStore
from pyshard.storage.durable.expiry_sweep import sweep_expired
from pyshard.storage.durable.hidden_records import trim
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate
from pyshard.storage.durable.range_updates import absorbing


def test_a_sweep_behind_the_first_group() -> None:
    """It removes nothing, though it was asked for before."""
    with prepared("lmdb") as bench:
        store = bench.store
        assert isinstance(store, LmdbStore)
        ranges = StoreRanges(BELOW, {}, ABOVE)
        group = ChangeGroup(5, 0, 60, records_from(KEYS, expires=bench.now + 1), ranges=ranges)
        bench.clock.advance(1)
        now = bench.now
        outcomes = commit(
            store,
            [
                absorbing(store._engine.ahead, group, Origin(FROM.identity, FROM.incarnation, 5), 1e9),
                LoggedUpdate(lambda view, counters, changes: sweep_expired(view, counters, changes, b"", now, 99)),
                LoggedUpdate(lambda view, counters, changes: trim(view, counters, changes, b"", 99)),
            ],
        )
        assert not any(isinstance(outcome, Failure) for outcome in outcomes)
        assert outcomes[1:] == [False, False]
        assert sum(store._engine.counters.documents.values()) == len(KEYS)
        assert store.ranges == ranges
