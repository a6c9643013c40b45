"""What tests of moves between shards with replicas share: who leads, and what all members have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from moving import DOCS, QUARTER, state_of
from twisted.internet.defer import Deferred

from pyshard.client import Client
from pyshard.errors import StorageFailed
from pyshard.model.range_moves import Phase
from pyshard.model.replica_group import ReplicaGroup
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.storage import ICopy, IStore
from pyshard.testing import MemoryCluster

LEASE = 1.0

#: The shards of a move.
SIDES = {"source": "shard0", "target": "shard1"}

#: Seconds within which another replica leads in the place of one that was killed, by far.
LED = 5.0


@contextmanager
def replicated(
    store: Callable[[str, Callable[[], float]], IStore] | None = None, replicas: int = 2
) -> Iterator[MemoryCluster]:
    """Two shards with `DOCS` and some replicas each, all of which are members."""
    with MemoryCluster(2, store=store, replicas=replicas, lease=LEASE) as cluster:
        wait_whole(cluster)
        cluster.run(cluster.connect().write_many(DOCS))
        yield cluster


def group_of(cluster: MemoryCluster, shard: str) -> ReplicaGroup:
    """A shard's replicas."""
    own = cluster.state.map.named(shard)
    assert own is not None
    assert own.group is not None
    return own.group


def name_of(cluster: MemoryCluster, address: str) -> str:
    """The name of the process at an address."""
    return next(name for name, (host, port) in cluster.processes.items() if f"{host}:{port}" == address)


def primary(cluster: MemoryCluster, shard: str) -> str:
    """The name of the process that leads a shard."""
    return name_of(cluster, group_of(cluster, shard).primary)


def others(cluster: MemoryCluster, shard: str) -> list[str]:
    """The names of the other members."""
    return sorted(name_of(cluster, address) for address in group_of(cluster, shard).others)


def wait_whole(cluster: MemoryCluster) -> None:
    """Let time pass until all replicas of all shards are members."""
    for _ in range(200):
        if not any(shard.group.learners for shard in cluster.state.map.shards if shard.group is not None):
            return
        cluster.advance(0.1)
    raise AssertionError(f"these aren't whole after 20 s: {cluster.state.map.shards}")


def rows_of(store: IStore) -> list[Change]:
    """All rows that a store has, with those that it hides, in order."""
    opened: list[ICopy] = []
    store.copy(None).addCallback(opened.append)
    (copy,) = opened
    rows: list[Change] = []
    while (page := copy.page(1 << 20)) != []:
        rows += page or []
    copy.close()
    return sorted(rows, key=lambda row: (row.index, row.slot, row.key))


def check_members(cluster: MemoryCluster) -> None:
    """All replicas of each shard own what the map says, have nothing left of any move, and have the same rows."""
    wait_whole(cluster)
    cluster.advance(2)  # so that all know what is committed
    for shard in state_of(cluster).map.shards:
        found: dict[str, tuple[SlotRanges, list[Change]]] = {}
        for name in (name for name in cluster.processes if name.partition(".")[0] == shard.name):
            service = cluster.services[name]
            ranges = service.shard.store.ranges
            assert (ranges.owned, dict(ranges.staged), dict(ranges.sealed), ranges.left) == (shard.ranges, {}, {}, ())
            assert not service.followers.names
            assert not service.moves._pulling
            found[name] = ranges.owned, rows_of(service.shard.store)
        assert all(each == found[shard.name] for each in found.values()), f"replicas of {shard.name} differ"


def fail_over(cluster: MemoryCluster, shard: str) -> str:
    """Kill a shard's primary, and wait until another one leads; the name of who was killed."""
    killed = primary(cluster, shard)
    cluster.kill_shard(killed)
    wait_led(cluster, shard, killed)
    return killed


def wait_led(cluster: MemoryCluster, shard: str, former: str) -> None:
    """Wait until another one leads."""
    for _ in range(round(LED / 0.05)):
        if primary(cluster, shard) != former:
            return
        cluster.advance(0.05)
    raise AssertionError(f"nobody leads {shard} in place of {former}")


def check_whole(cluster: MemoryCluster, client: Client) -> None:
    """Nothing is lost or doubled, all can be changed, and all members have the same."""
    keys = list(DOCS)
    assert cluster.run(client.get_many(keys, deadline=30)) == list(DOCS.values())
    assert cluster.run(client.count()) == len(DOCS)
    cluster.run(client.write_many(dict.fromkeys(DOCS, "new"), deadline=30))
    assert cluster.run(client.get_many(keys, deadline=30)) == ["new"] * len(DOCS)
    cluster.run(client.write_many(DOCS))
    check_members(cluster)


def store_of(cluster: MemoryCluster, name: str) -> IStore:
    """The store of a process."""
    return cluster.services[name].shard.store


def until_so(cluster: MemoryCluster, holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Let time pass, a millisecond at a time, until something holds."""
    for _ in range(round(seconds / 0.001)):
        if holds():
            return
        cluster.advance(0.001)
    raise AssertionError(f"in vain for {seconds:g} s: {state_of(cluster).moves}")


def copies_of_last(cluster: MemoryCluster) -> tuple[int, Phase]:
    """How often the copy of the last move was begun by whoever led its target at last, and what became of it."""
    assert cluster.bootstrap is not None
    last = cluster.bootstrap.driver.listed()[-1]
    return last.copies, last.phase


def has_staged(cluster: MemoryCluster, name: str) -> bool:
    """Whether a process has records of a copy."""
    store = store_of(cluster, name)
    return any(in_ranges(row.slot, QUARTER) for row in rows_of(store)) and bool(store.ranges.staged)


class HungDisk:
    """Has a replica's store take nothing more of the primary's log, until it is let go.

    :param name: the process's.
    :param from_: the first group that it doesn't take.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        name: str,
        patched: pytest.MonkeyPatch,
        from_: Callable[[ChangeGroup], object] = lambda _: True,
    ) -> None:
        self._store = store_of(cluster, name)
        self._append = self._store.append
        self._from = from_
        self._waiting: list[Deferred[None]] = []
        patched.setattr(self._store, "append", self._take)

    def _take(self, groups: Sequence[ChangeGroup]) -> Deferred[None]:
        if not self._waiting and not any(map(self._from, groups)):
            return self._append(groups)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def let_go(self, patched: pytest.MonkeyPatch) -> None:
        """Fail what it was told, and go on."""
        patched.setattr(self._store, "append", self._append)
        for waiting in self._waiting:
            waiting.errback(StorageFailed("the disk hung"))
