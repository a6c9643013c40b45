"""The reconcilers of all shards and replicas of the map: one for each, also when they come, go, or move."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.model.address_text import host_and_port


class ShardReconcilers(MultiService):
    """One reconciler for each address of each shard that the map has.

    :param bootstrap: has the state.
    :param reconciler_of: makes the reconciler of a shard at a host and port.
    """

    def __init__(self, bootstrap: Bootstrap, reconciler_of: Callable[[str, str, int], ShardReconciler]) -> None:
        super().__init__()
        self._bootstrap = bootstrap
        self._reconciler_of = reconciler_of
        self._at: dict[tuple[str, str], ShardReconciler] = {}  # by name and address
        bootstrap.on_change(self._follow_map)
        self._follow_map()

    def named(self, name: str) -> ShardReconciler | None:
        """The reconciler of a shard, at its primary; None: the map doesn't have it any more."""
        shard = self._bootstrap.state.map.named(name) if self._bootstrap.has_state else None
        return None if shard is None else self._at.get((name, shard.address))

    def at(self, name: str, address: str) -> ShardReconciler | None:
        """The reconciler of one replica of a shard; None: the map doesn't have it any more."""
        return self._at.get((name, address))

    def settle(self) -> Deferred[None]:
        """A Deferred that fires when every shard and replica in reach has the present state, or a later one."""
        settled = [reconciler.settle() for reconciler in self._at.values()]
        return gatherResults(settled).addCallback(lambda _: None)

    def _follow_map(self) -> None:
        if not self._bootstrap.has_state:
            return
        wanted = {
            (shard.name, host_and_port(host, port)): (host, port)
            for shard in self._bootstrap.state.map.shards
            for host, port in shard.places
        }
        for key in self._at.keys() - wanted.keys():
            self._at.pop(key).disownServiceParent()
        for (name, address), (host, port) in wanted.items():
            if (name, address) not in self._at:
                reconciler = self._at[name, address] = self._reconciler_of(name, host, port)
                reconciler.setServiceParent(self)
