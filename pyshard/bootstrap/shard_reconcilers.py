"""The reconcilers of all shards and replicas of the map: one for each, also when they come, go, or move.

Rules:

- a few begin at a time: thousands that dial at once, and are refused at once, would take seconds of the reactor;
- where there are thousands, each dials seldom, so that all together dial as often as some hundred do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.model.address_text import host_and_port
from pyshard.model.shard_map import ShardMap
from pyshard.settings import settings

_AT_ONCE = 25  # reconcilers that begin together
_BETWEEN = 0.05  # seconds until the next ones do
_DIALS = 500  # attempts a second of all of them together, when no shard is in reach


class ShardReconcilers(MultiService):
    """One reconciler for each address of each shard that the map has.

    :param bootstrap: has the state.
    :param reconciler_of: makes the reconciler of a shard at a host and port. Last is its longest pause between dials.
    :param clock: times how they begin.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        reconciler_of: Callable[[str, str, int, float], ShardReconciler],
        clock: IReactorTime,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._coming: deque[tuple[str, str]] = deque()  # those that haven't begun, by name and address
        self._next: IDelayedCall | None = None  # when the next of them begin
        self._bootstrap = bootstrap
        self._reconciler_of = reconciler_of
        self._at: dict[tuple[str, str], ShardReconciler] = {}  # by name and address
        self._followed: ShardMap | None = None  # whose shards these are
        bootstrap.on_change(self._follow_map)
        self._follow_map()

    def startService(self) -> None:
        """Begin, a few at a time."""
        super().startService()
        self._begin_some()

    def stopService(self) -> Deferred[object]:
        """End all."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        stopped: Deferred[object] = super().stopService()
        return stopped

    def named(self, name: str) -> ShardReconciler | None:
        """The reconciler of a shard, at its primary; None: the map doesn't have it any more."""
        shard = self._bootstrap.state.map.named(name) if self._bootstrap.has_state else None
        return None if shard is None else self._at.get((name, shard.address))

    def at(self, name: str, address: str) -> ShardReconciler | None:
        """The reconciler of one replica of a shard; None: the map doesn't have it any more."""
        return self._at.get((name, address))

    def _follow_map(self) -> None:
        shards = self._bootstrap.state.map if self._bootstrap.has_state else None
        if shards is None or shards is self._followed:
            return
        self._followed = shards
        wanted = {
            (shard.name, host_and_port(host, port)): (host, port)
            for shard in shards.shards
            for host, port in shard.places
        }
        for key in self._at.keys() - wanted.keys():
            gone = self._at.pop(key)
            if gone.parent is not None:
                gone.disownServiceParent()
        for (name, address), (host, port) in wanted.items():
            if (name, address) not in self._at:
                longest = max(settings.RETRY_LONGEST, len(wanted) / _DIALS)
                self._at[name, address] = self._reconciler_of(name, host, port, longest)
                self._coming.append((name, address))
        if self.running and self._next is None:
            self._begin_some()

    def _begin_some(self) -> None:
        self._next = None
        for _ in range(min(_AT_ONCE, len(self._coming))):
            reconciler = self._at.get(self._coming.popleft())
            if reconciler is not None and reconciler.parent is None:  # else it has gone again, or is another one by now
                reconciler.setServiceParent(self)
        if self._coming:
            self._next = self._clock.callLater(_BETWEEN, self._begin_some)
