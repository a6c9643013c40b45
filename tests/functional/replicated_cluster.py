"""A real cluster of one shard with replicas: who leads by what the bootstrap has written down, and what each store has.

The first replica's daemon is called as its shard, ``a``; the others are ``a.2``, ``a.3``, …
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import attrs
from functional.cluster import Cluster, Daemon, listening, until
from functional.machines import HERE, Machine
from ports import free_port

from pyshard.bootstrap import state_file
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.replica_group import ReplicaGroup
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.storage import DataDirectory, ICopy, LmdbStore

#: Makes a cluster with replicas that isn't started yet; arguments as those of `ReplicatedCluster`.
NewReplicatedCluster: TypeAlias = "Callable[..., ReplicatedCluster]"

_PAGE = 1 << 20  # bytes of rows that are read at a time


@attrs.frozen
class Contents:
    """What a store has: equal for equal rows, with their versions and expiries.

    :param rows: how many there are.
    """

    ranges: SlotRanges
    indexes: Mapping[str, int]
    rows: int
    buckets: list[BucketDigest]


class ReplicatedCluster(Cluster):
    """A bootstrap, and one shard with replicas.

    :param replicas: how many there are, the primary included.
    :param lease: seconds.
    :param least: see ``min_replicas`` of the config; None: its default.
    :param machines: where daemons run, by their names; default: here.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        replicas: int = 2,
        lease: float = 1.0,
        least: int | None = None,
        durable: bool = True,
        machines: Mapping[str, Machine] = MappingProxyType({}),
    ) -> None:
        self.replicas: list[Daemon] = []
        self.machines = machines
        super().__init__(folder, environment, 1, durable=durable, machines=machines)
        self.durable = durable
        self.replicas = [self.shards[0]]
        self.config[0].update(replicas=[], lease=lease, **({} if least is None else {"min_replicas": least}))
        for _ in range(replicas - 1):
            self.add_replica()

    @property
    def daemons(self) -> list[Daemon]:
        """Bootstrap and replicas."""
        return [self.bootstrap, *self.replicas]

    def add_replica(self) -> Daemon:
        """Have one more in the config file; it isn't started."""
        name, port = f"a.{len(self.replicas) + 1}", free_port()
        machine = self.machines.get(name, HERE)
        options = [f"--port={port}", *([f"--data-dir=data-{name}"] if self.durable else []), *listening(machine)]
        made = Daemon(self.folder, name, port, self.environment, "pyshard-shard", *options, machine=machine)
        self.replicas.append(made)
        self.config[0]["replicas"].append({"host": machine.host, "port": port})
        self.write_config()
        return made

    def start(self) -> None:
        """Start every daemon that isn't running, and wait until all replicas are members."""
        super().start()
        self.wait_whole()

    def group(self) -> ReplicaGroup:
        """The shard's group, as the bootstrap has written it down."""
        state = state_file.load(self.folder / "etc" / "shards.state")
        assert state is not None
        group = state.map.shards[0].group
        assert group is not None
        return group

    def primary(self) -> Daemon:
        """The one that leads by that."""
        return self.at(self.group().primary)

    def at(self, address: str) -> Daemon:
        """The replica at an address."""
        return next(each for each in self.replicas if each.address == address)

    def members(self) -> list[Daemon]:
        """Those that are members and don't lead."""
        return [self.at(address) for address in sorted(self.group().others)]

    def wait_whole(self) -> None:
        """Wait until all replicas are members."""
        wanted = {each.address for each in self.replicas}
        until(lambda: self.group().members == wanted, "all replicas are members")

    def wait_led_by_another(self, former: Daemon) -> Daemon:
        """Wait until another one leads than it did; which."""
        until(lambda: self.primary() is not former, f"another replica leads than {former.name}")
        return self.primary()

    def end_all(self, number: int = signal.SIGTERM) -> None:
        """End all daemons at once."""
        running = [each for each in self.daemons if each.running]
        for each in running:
            each.send(number)
        for each in running:
            each.wait()

    def contents(self) -> dict[str, Contents]:
        """What each durable replica has, by its name. All daemons have ended before."""
        return {each.name: contents_of(self.folder / f"data-{each.name}") for each in self.replicas}


def contents_of(path: Path) -> Contents:
    """What the durable store in a directory has. Its daemon has ended before."""
    store = LmdbStore(DataDirectory(path), time.time)
    try:
        copies: list[ICopy] = []
        store.copy(None).addCallback(copies.append)
        head = copies[0].head
        digests = RowDigests(store.ranges.owned, {DEFAULT_INDEX, *(head.indexes or {}).values()})
        while page := copies[0].page(_PAGE):
            digests.add(page)
        copies[0].close()
        return Contents(store.ranges.owned, head.indexes or {}, digests.rows, digests.buckets())
    finally:
        store.close()
