"""The client's map: which link an operation goes to, and how a newer map is fetched and taken up.

Rules:

- One fetch at a time, with jitter: from the bootstrap, or from a shard where that doesn't answer at once.
- An older map never replaces a newer one, but the bootstrap's replaces one that only a shard has given
  (`pyshard.client_core.map_fetching`).
- A newer map counts at once. When shards lose slots by it, operations on one key must not pass each other on two
  connections. So the link of a losing shard that owes answers is quiesced: it sends nothing more, and operations on the
  slots that it has lost wait there (`pyshard.client_core.held_slots`). When nothing of it is in flight any more, what
  waited is routed anew. Operations on other shards don't wait for it.
- In a forked child the client is closed: its connections are the parent's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint

from pyshard.client.hedged_request import HedgedRequest
from pyshard.client.map_servers import MapServers
from pyshard.client.member_peer import MemberPeer
from pyshard.client.replica_reads import ReplicaReads
from pyshard.client.rpc_channel import RpcChannel
from pyshard.client.shard_link import ShardLink
from pyshard.client_core import map_fetching
from pyshard.client_core.bulk_input import slice_size
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.held_slots import holder_of, lost_slots, places_by_holder
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.client_core.operation import Operation
from pyshard.client_core.operation_queue import Entry
from pyshard.client_core.read_sizes import ReadSizes
from pyshard.errors import ClientClosed, PyshardError
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

_CLOSED = "the client is closed, or was made before this process was forked; connect() gives a new one"


class Router:
    """The map that a client goes by, its links, and its way to the bootstrap.

    :param clock: times everything.
    :param servers: each address that the client was given, for messages, and the endpoint that leads there.
    :param dial: leads to shards.
    :param random: jitter, and the ids of sessions.
    :param addresses: where shards are dialed in place of where the map says.
    :param read_from: where what only reads goes that may find what is a little old.
    """

    state: ClusterState

    def __init__(
        self,
        clock: IReactorTime,
        servers: Sequence[tuple[str, IStreamClientEndpoint]],
        dial: Dial,
        random: Random,
        addresses: AddressMapping = AS_ANNOUNCED,
        read_from: ReadFrom = "primary",
    ) -> None:
        self.addresses = addresses
        self._clock = clock
        self._dial = dial
        self._random = random
        self._links: dict[str, ShardLink] = {}  # of those shards that something was asked of
        self._secret = random.randbytes(commands.OWN_SESSION_ID)
        self._held: dict[str, SlotRanges] = {}  # of quiesced links; see `HeldSlots`
        self._rank: map_fetching.MapRank | None = None  # of the newest map
        self._shards_rest = 0.0  # until when no map of a shard's is taken up
        self._confirming: IDelayedCall | None = None
        self._pace = map_fetching.MapPace()
        self._states = StateReader()
        self._waiters: list[Deferred[None]] = []
        self._refreshing: IDelayedCall | None = None
        self._known = False
        self.fetched = 0.0
        self.closed = False
        self.read_sizes = ReadSizes()
        _routers.add(self)
        self.bootstrap = MapServers(clock, servers, self._check_greeting, random)
        self._reads = ReplicaReads(self, clock, dial, random) if read_from == "nearest" else None

    @property
    def links(self) -> list[ShardLink]:
        """The link to each shard, in slot order."""
        return [self._link(own) for own in self.state.map.shards]

    def link_for(self, slot: int) -> ShardLink:
        """The link to the shard that owns a slot."""
        own = self.state.map.lookup(slot)
        return self._links.get(own.name) or self._link(own)

    def submit(self, operation: Operation) -> None:
        """Send an operation to the shard that owns its key; its caller is told."""
        if self.closed:
            operation.finish(ClientClosed(_CLOSED))
        elif self._held and (holder := holder_of(self._held, operation.slot)) is not None:
            self._links[holder].submit(operation)
        else:
            self.link_for(operation.slot).submit(operation)

    def submit_bulk(self, bulk_operation: BulkOperation) -> None:
        """Send a bulk operation to the shards that own its keys; its receiver is told."""
        for name, part in self.parts(bulk_operation).items():
            self.submit_to(name, part)

    def parts(self, bulk_operation: BulkOperation) -> dict[str, BulkOperation]:
        """What each shard owns the keys of: the shard's name → the part of the bulk_operation."""
        by_shard = self.state.map.split(bulk_operation.slots)
        if len(by_shard) == 1:
            return dict.fromkeys(by_shard, bulk_operation)
        return {name: bulk_operation.part(places) for name, places in by_shard.items()}

    def submit_to(self, name: str, part: BulkOperation) -> None:
        """Send a bulk operation to the shard `name`, which owns all of its keys; its receiver is told."""
        if self.closed:
            part.fail(ClientClosed(_CLOSED))
        else:
            own = self.state.map.named(name)
            assert own is not None, "the part is one by the present map"
            if not self._held:
                self._link(own).submit(part)
                return
            for holder, places in places_by_holder(self._held, part.slots).items():
                link = self._link(own) if holder is None else self._links[holder]
                link.submit(part if len(places) == len(part) else part.part(places))

    def submit_read(self, operation: Operation) -> None:
        """Send an operation that only reads, and may find what is a little old, to where the client reads."""
        (self if self._reads is None else self._reads).submit(operation)

    def submit_read_to(self, name: str, part: BulkOperation) -> None:
        """As `submit_to`, what only reads, and may find what is a little old."""
        (self if self._reads is None else self._reads).submit_to(name, part)

    def peer_at(self, place: MapShard) -> MemberPeer:
        """A way of its own to a member of a shard, which whoever has it closes.

        :param place: the shard, at the member's address and with its store.
        """
        return MemberPeer(self, place, self._clock, self._dial, self._random)

    def primary_connection(self, own: MapShard) -> DialedConnection | None:
        """The connection to a shard's primary; None: there is none."""
        link = self._links.get(own.name)
        return None if link is None else link.dialer.connection

    def check_open(self) -> None:
        """Make sure that something can be asked.

        :raises ClientClosed: it can't any more.
        """
        if self.closed:
            raise ClientClosed(_CLOSED)

    def slice_size(self, changes: bool, fitting: int | None = None) -> int:
        """How many keys a bulk verb is to send at a time; see `pyshard.client_core.bulk_input.slice_size`."""
        return slice_size(self.state.map.shards, changes, fitting)

    async def start(self, seconds: float) -> None:
        """Get the first map.

        :param seconds: the deadline.
        :raises Unavailable: there was none by then; the message says why.
        """
        self.adopt(*await self.bootstrap.first_map(seconds))

    def refresh(self) -> Deferred[None]:
        """Fetch the newest map; the Deferred fires when that was tried."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if len(self._waiters) == 1:
            pause = max(map_fetching.JITTER * self._random.random(), self._pace.earliest - self._clock.seconds())
            self._refreshing = self._clock.callLater(pause, self._start_fetch)
        return waiter

    def link_idle(self) -> None:
        """A link has nothing in flight any more: if it was quiesced, what waits there goes to its slots' new shards."""
        if self._held and (idle := [name for name in self._held if not self._links[name].busy]):
            self._let_go(idle)

    def adopt(self, state: ClusterState, by_bootstrap: bool = True) -> None:
        """Take up a map.

        :param by_bootstrap: whether a bootstrap gave it.
        """
        now, old = self._clock.seconds(), self._rank
        same = self._known and state == self.state
        rank = map_fetching.rank_of(old, state.epoch, same, by_bootstrap, now < self._shards_rest)
        if rank is None:
            return
        self._rank = rank
        if old is not None and rank.era > old.era:
            self._shards_rest = now + map_fetching.SHARDS_REST
        self._look_for_bootstrap()
        if same:
            return
        self.state, self._known = state, True
        self._let_go(self._links)
        if self._reads is not None:
            self._reads.update(state.map.shards)

    def close(self) -> Deferred[None]:
        """End every link and every question.

        :return: a Deferred that fires when all connections are closed.
        """
        self.closed = True
        if self._refreshing is not None and self._refreshing.active():
            self._refreshing.cancel()
            self._refreshed()
        if self._confirming is not None:
            self._confirming.cancel()
        reads = [] if self._reads is None else self._reads.close()
        closing = [self.bootstrap.close(), *reads, *(link.close() for link in self._links.values())]
        return gatherResults(closing).addCallback(lambda _: None)

    def _let_go(self, names: Iterable[str]) -> None:
        """Have links go by the present map, but for those that lose slots by it and owe answers: these are quiesced.

        What waits at a link that loses slots, or did, is routed anew.
        """
        stranded: list[Entry] = []
        current: list[tuple[ShardLink, MapShard | None]] = []
        for name in list(names):
            link, own = self._links[name], self.state.map.named(name)
            lost = lost_slots(link.own, own)
            if lost or link.quiesced:
                stranded += link.take_waiting()
            link.quiesced = bool(lost) and link.busy
            if link.quiesced:
                self._held[name] = lost
            else:
                self._held.pop(name, None)
                current.append((link, own))
        for link, own in current:
            if own is None:
                del self._links[link.own.name]
            else:
                link.update(own)
        for entry in stranded:
            if isinstance(entry, BulkOperation):
                self.submit_bulk(entry)
            else:
                self.submit(entry)
        for link, own in current:
            if own is None:
                link.close()

    def _link(self, own: MapShard) -> ShardLink:
        """The link to a shard, which is made when it is first needed."""
        link = self._links.get(own.name)
        if link is None:
            session = map_fetching.session_of(own.name, self._secret)
            link = ShardLink(self, own, self._clock, self._dial, self._random, session)
            self._links[own.name] = link
        return link

    def _check_greeting(self, greeting: Greeting) -> None:
        self._check_cluster(greeting.cluster)

    def _check_cluster(self, given: str) -> None:
        map_fetching.check_cluster(self.state.cluster if self._known else "", given)

    def _look_for_bootstrap(self) -> None:
        """Have the bootstrap asked, a little later, while the map is a shard's word alone."""
        doubtful = self._rank is not None and not self._rank.confirmed and not self.closed
        if doubtful and self._confirming is None and self.bootstrap.perhaps_bootstraps():
            self._confirming = self._clock.callLater(map_fetching.CONFIRM_EVERY, self._confirm)

    def _confirm(self) -> None:
        self._confirming = None
        peers = self.bootstrap.perhaps_bootstraps()
        if peers and self._rank is not None and not self._rank.confirmed:
            Deferred.fromCoroutine(self._ask(peers))
        self._look_for_bootstrap()

    def _start_fetch(self) -> None:
        Deferred.fromCoroutine(self._fetch())

    async def _fetch(self) -> None:
        connected = [link.rpc for link in self._links.values() if link.rpc.has_connection]
        await self._ask(self.bootstrap.by_preference(connected))
        self._refreshed()

    async def _ask(self, peers: Sequence[RpcChannel]) -> None:
        with suppress(PyshardError):  # those who wait try again until their own deadline
            await HedgedRequest(self._clock, peers, commands.GetMap, self._accept_map, settings.TIMEOUT / 2).start()

    def _accept_map(self, peer: RpcChannel, answer: dict[str, Any], began: float) -> None:
        """Take up the map that a peer has, if it is this cluster's."""
        read = self._clock.seconds()
        try:
            state = self._states.read(answer["state"])
            self._check_cluster(state.cluster)
            self.fetched = began
            before = self._rank
            self.adopt(state, self.bootstrap.is_bootstrap(peer))
            self.bootstrap.in_vain += self._rank is before
        finally:
            self._pace.took(read, self._clock.seconds())

    def _refreshed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


_routers: weakref.WeakSet[Router] = weakref.WeakSet()


def _forked() -> None:
    """In a forked child: close every client, since two processes on one connection would mix up its answers."""
    for router in list(_routers):
        router.closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
