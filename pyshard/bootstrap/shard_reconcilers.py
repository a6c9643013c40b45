"""The reconcilers of all shards of the map: one for each, also when shards come, go, or get another address."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.model.shard_map import MapShard


class ShardReconcilers(MultiService):
    """One reconciler for each shard that the map has.

    :param bootstrap: has the state.
    :param reconciler_of: makes the reconciler of a shard.
    """

    def __init__(self, bootstrap: Bootstrap, reconciler_of: Callable[[MapShard], ShardReconciler]) -> None:
        super().__init__()
        self._bootstrap = bootstrap
        self._reconciler_of = reconciler_of
        self._by_name: dict[str, tuple[str, ShardReconciler]] = {}  # with the address for which it was made
        bootstrap.on_change(self._follow_map)
        self._follow_map()

    def named(self, name: str) -> ShardReconciler | None:
        """The reconciler of a shard; None: the map doesn't have it any more."""
        found = self._by_name.get(name)
        return None if found is None else found[1]

    def settle(self) -> Deferred[None]:
        """A Deferred that fires when every shard in reach has the present state, or a later one."""
        settled = [reconciler.settle() for _, reconciler in self._by_name.values()]
        return gatherResults(settled).addCallback(lambda _: None)

    def _follow_map(self) -> None:
        if not self._bootstrap.has_state:
            return
        shards = {shard.name: shard for shard in self._bootstrap.state.map.shards}
        for name, (address, reconciler) in list(self._by_name.items()):
            if name not in shards or shards[name].address != address:
                del self._by_name[name]
                reconciler.disownServiceParent()
        for name, shard in shards.items():
            if name not in self._by_name:
                reconciler = self._reconciler_of(shard)
                self._by_name[name] = shard.address, reconciler
                reconciler.setServiceParent(self)
