"""The bootstrap's behavior without a network: owns the cluster state, and judges who answers at a shard's address.

Rules:

- A change is in the state store before anybody hears of it (`pyshard.bootstrap.state_changes`).
- A state that could not be read again is never put there, whatever a shard says of itself.
- A shard that another cluster has configured, that has another name, or that lost its durable data is refused and
  reported. It is never overwritten.
- A durable shard that owns nothing, such as a drained one, has nothing to lose: a new store may take its place, so that
  what is left to do for its moves comes to an end.
- How ready a shard is holds for its address. At another one it counts as not reached until it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.state_changes import CHANGE_WITHIN, Change, StateChanges
from pyshard.bootstrap.state_stores.state_store import StateStore, StoredState
from pyshard.errors import ForeignCluster, StaleEpoch, WrongIdentity, of_peer
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

_MINUTE = 60.0  # seconds


class Condition(Enum):
    """How ready a shard is."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    READY = "ready"


@attrs.frozen
class ShardReadiness:
    """One shard as the bootstrap sees it.

    :param detail: why it isn't ready, in one line; empty when it is.
    """

    name: str
    address: str
    condition: Condition
    detail: str

    def described(self) -> dict[str, str]:
        """For JSON."""
        return {"name": self.name, "address": self.address, "state": self.condition.value, "detail": self.detail}


def first_state(cluster: str, configured: ShardMap) -> ClusterState:
    """The state of a new cluster."""
    return ClusterState(cluster, 1, configured)


def check_greeting(state: ClusterState, own: MapShard, address: str, greeting: Greeting) -> None:
    """Refuse who can't be a shard, or a replica of it, whatever its store is. Pure.

    :param address: where it answered.
    :raises ForeignCluster, WrongIdentity, StaleEpoch: it can't; the message says why and what to do.
    """
    if greeting.role != "shard":
        raise WrongIdentity(f"a {greeting.role} answers at {address}, where shard {own.name!r} should be")
    if greeting.cluster and greeting.cluster != state.cluster:
        raise ForeignCluster(
            f"the shard at {address} belongs to another cluster ({greeting.cluster}, as {greeting.name!r}); this "
            f"one is {state.cluster}. Correct the address, or restart that shard empty"
        )
    if greeting.name and greeting.name != own.name:
        raise WrongIdentity(f"shard {greeting.name!r} answers at {address}, where shard {own.name!r} should be")
    other = next((shard for shard in state.map.holders(greeting.identity) if shard.name != own.name), None)
    if other is not None:
        raise WrongIdentity(
            f"the shard at {address} is {other.name!r} at {other.address} already; "
            f"give {own.name!r} an address of its own"
        )
    if greeting.epoch > state.epoch:
        raise StaleEpoch(
            f"shard {own.name!r} knows epoch {greeting.epoch} and this bootstrap {state.epoch}; "
            "restore the bootstrap's newest state file"
        )


def judge(state: ClusterState, own: MapShard, greeting: Greeting) -> ClusterState:
    """The state by which the shard that answered at `own`'s address is to be configured. Pure.

    :return: `state`, or the next one when the shard's store is a new one that may take the place.
    :raises ForeignCluster, WrongIdentity, StaleEpoch: it may not; the message says why and what to do.
    """
    check_greeting(state, own, own.address, greeting)
    if own.identity == greeting.identity:
        return state
    if own.identity and (greeting.cluster or (own.durable and own.ranges)):
        raise WrongIdentity(
            f"the store at {own.address} is {greeting.identity}, but the documents of shard {own.name!r} are in store "
            f"{own.identity}; start the shard with its own data"
        )
    return state.with_identity(own.name, greeting.identity, durable=not greeting.ephemeral)


class NewStores:
    """How often one shard came with a new store. Pure.

    Each is a new epoch, which is saved, and told to every shard and client.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=settings.NEW_STORES)

    def check(self, name: str, now: float) -> None:
        """Refuse one more, if there were too many within a minute.

        :param name: the shard's.
        :param now: seconds of a steady clock.
        :raises WrongIdentity: there were.
        """
        times, most = self._times, settings.NEW_STORES
        if len(times) == most and now - times[0] < _MINUTE:
            raise WrongIdentity(
                f"shard {name!r} came with {most} new stores within a minute; it is taken up again when that is over"
            )

    def add(self, now: float) -> None:
        """Count one that was taken up."""
        self._times.append(now)


class Bootstrap:
    """Owns the cluster state, and knows how ready each shard is.

    :param store: where the state is kept.
    :param clock: times changes.
    :param writer: as that of `StateChanges`.
    :param stored: the state to begin with; None: it is still to be read.
    :ivar changes: the state, and the way to change it.
    """

    def __init__(self, store: StateStore, clock: IReactorTime, writer: str, stored: StoredState | None = None) -> None:
        self.store = store
        self.changes = StateChanges(store, clock, writer, stored, self._changed)
        self._listeners: dict[Callable[[], None], None] = {}  # in their order
        self._map: ShardMap | None = None  # the last one that was
        self._readiness: dict[str, ShardReadiness] = {}

    @property
    def state(self) -> ClusterState:
        """The newest state that is known.

        :raises Unavailable: none is, since the state store wasn't reached yet.
        """
        return self.changes.state

    @property
    def has_state(self) -> bool:
        """Whether a state is known."""
        return self.changes.known is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every change of the state, also by another bootstrap."""
        self._listeners[listener] = None

    def off_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called no more."""
        del self._listeners[listener]

    def change(self, decide: Change, within: float = CHANGE_WITHIN, asker: Asker | None = None) -> Deferred[None]:
        """Change the state, then tell everybody; see `StateChanges.change`."""
        return self.changes.change(decide, within, asker)

    def _changed(self) -> None:
        shards = self.state.map
        if shards is not self._map:
            self._map = shards
            addresses = {shard.name: shard.address for shard in shards.shards}
            self._readiness = {  # of who answers at another address nothing is known yet
                name: known for name, known in self._readiness.items() if addresses.get(name) == known.address
            }
        for listener in list(self._listeners):  # one may come or go meanwhile, with a shard
            listener()

    def set_readiness(self, name: str, condition: Condition, detail: str = "") -> bool:
        """Set how ready a shard is.

        :return: whether that has changed.
        """
        own = self.state.map.named(name)
        shown = of_peer(detail)  # a shard may have written it
        readiness = ShardReadiness(name, own.address if own else "", condition, shown)
        changed = self._readiness.get(name) != readiness
        self._readiness[name] = readiness
        return changed

    def readiness(self) -> list[ShardReadiness]:
        """How ready each shard is, in slot order."""
        return [self._readiness_of(shard) for shard in self.state.map.shards] if self.has_state else []

    def readiness_of(self, name: str) -> ShardReadiness | None:
        """How ready one shard is; None: the map has none of this name."""
        shard = self.state.map.named(name)
        return None if shard is None else self._readiness_of(shard)

    def _readiness_of(self, shard: MapShard) -> ShardReadiness:
        known = self._readiness.get(shard.name)
        return known or ShardReadiness(shard.name, shard.address, Condition.UNREACHABLE, "not reached yet")
