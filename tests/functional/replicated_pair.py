"""A real cluster of two shards with two replicas each, between which ranges move.

The daemons of shard ``a`` are called ``a`` and ``a.2``, those of ``b`` ``b`` and ``b.2``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from functional.cluster import HOST, Cluster, Daemon, until
from functional.replicated_cluster import contents_of
from ports import free_port

from pyshard.bootstrap import state_file
from pyshard.model.cluster_state import ClusterState
from pyshard.model.replica_group import ReplicaGroup


class ReplicatedPair(Cluster):
    """A bootstrap, and two durable shards with two replicas each.

    :param lease: seconds.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], lease: float = 1.0) -> None:
        self.seconds: list[Daemon] = []
        self._lease = lease
        super().__init__(folder, environment, 2, durable=True)
        for own in self.config:
            name, port = f"{own['name']}.2", free_port()
            options = [f"--port={port}", f"--data-dir=data-{name}"]
            self.seconds.append(Daemon(folder, name, port, environment, "pyshard-shard", *options))
            own.update(replicas=[{"host": HOST, "port": port}], lease=lease)
        self.write_config()

    @property
    def replicas(self) -> list[Daemon]:
        """All of both shards."""
        return [*self.shards, *self.seconds]

    @property
    def daemons(self) -> list[Daemon]:
        """Bootstrap and replicas."""
        return [self.bootstrap, *self.replicas]

    def start(self) -> None:
        """Start every daemon that isn't running, and wait until all replicas are members."""
        super().start()
        self.wait_whole()

    def state(self) -> ClusterState:
        """The cluster's state, as the bootstrap has written it down."""
        state = state_file.load(self.folder / "etc" / "shards.state")
        assert state is not None
        return state

    def group(self, shard: str) -> ReplicaGroup:
        """A shard's group."""
        own = self.state().map.named(shard)
        assert own is not None
        assert own.group is not None
        return own.group

    def primary(self, shard: str) -> Daemon:
        """The one that leads a shard."""
        return next(each for each in self.replicas if each.address == self.group(shard).primary)

    def wait_whole(self) -> None:
        """Wait until all replicas are members."""
        until(lambda: not any(self.group(shard).learners for shard in "ab"), "all replicas are members")

    def check_equal(self) -> None:
        """End all daemons: then both replicas of each shard have the same on disk, and own what the map says."""
        self.wait_whole()
        time.sleep(self._lease)  # so that all members know what is committed
        for daemon in self.daemons:
            daemon.end()
        found = {each.name: contents_of(self.folder / f"data-{each.name}") for each in self.replicas}
        for own in self.state().map.shards:
            assert found[own.name] == found[f"{own.name}.2"]
            assert found[own.name].ranges == own.ranges


#: Makes such a cluster, which isn't started yet.
NewReplicatedPair: TypeAlias = Callable[[], ReplicatedPair]
