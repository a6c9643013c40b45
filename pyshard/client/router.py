"""The client's map: which link an operation goes to, and how a newer map is fetched and taken up.

Rules kept here:

- one fetch at a time, with jitter, from the bootstrap, or from a shard where that doesn't answer at once;
- an older map never replaces a newer one;
- when shards lose slots to others, operations on one key must not pass each other on two connections: the losing
  links are *fenced* (they send nothing more), the map is taken up once nothing of theirs is in flight, and what
  waited there is routed anew.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint

from pyshard.client.bulk_part import Chunk
from pyshard.client.discovery import Discovery
from pyshard.client.hedged_request import HedgedRequest
from pyshard.client.operation import Operation
from pyshard.client.operation_queue import Entry
from pyshard.client.rpc import RpcChannel
from pyshard.client.shard_link import ShardLink
from pyshard.errors import ClientClosed, ForeignCluster, PyshardError
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import ShardRange
from pyshard.net.addresses import Dial
from pyshard.net.outgoing_connection import Greeting
from pyshard.protocol import commands
from pyshard.server.session_fence import OWN
from pyshard.settings import settings
from pyshard.steps import Steps

_JITTER = 0.05  # seconds by which clients that need a map at the same moment spread
_CLOSED = "the client is closed, or was made before this process was forked; connect() gives a new one"


class Routing:
    """The map that a client goes by, its links, and its way to the bootstrap.

    :param clock: times everything.
    :param servers: each address that the client was given, for messages, and the endpoint that leads there.
    :param dial: leads to shards.
    :param random: jitter, and the ids of sessions.
    :ivar links: the link to each shard, in slot order.
    """

    state: ClusterState

    def __init__(
        self,
        clock: IReactorTime,
        servers: Sequence[tuple[str, IStreamClientEndpoint]],
        dial: Dial,
        random: Random,
    ) -> None:
        self._clock = clock
        self._dial = dial
        self._random = random
        self._links: dict[str, ShardLink] = {}
        self._starts: list[int] = []  # of the ranges in the map
        self.links: list[ShardLink] = []
        # By the shard's name, for as long as the client lives: a shard that comes back into the map may still have a
        # connection that was given up when it went. And no shard can name the sessions with the others.
        self._sessions: dict[str, bytes] = {}
        self._pending: ClusterState | None = None
        self._waiters: list[Deferred[None]] = []
        self._refreshing: IDelayedCall | None = None
        self._known = False
        self.fetched = 0.0
        self.closed = False
        _routings.add(self)
        self.bootstrap = Discovery(clock, servers, self._approve, random)

    def link_for(self, slot: int) -> ShardLink:
        """The link to the shard that owns a slot."""
        return self.links[bisect_right(self._starts, slot) - 1]

    def submit(self, operation: Operation) -> Deferred[object]:
        """Send an operation to the shard that owns its key; its Deferred."""
        if self.closed:
            operation.finish(ClientClosed(_CLOSED))
        else:
            self.link_for(operation.slot).submit(operation)
        return operation.deferred

    def submit_chunk(self, chunk: Chunk) -> None:
        """Send the operations of a chunk to the shards that own their keys; its receiver is told."""
        for name, part in self.parts(chunk).items():
            self.submit_part(name, part)

    def parts(self, chunk: Chunk) -> dict[str, Chunk]:
        """What each shard owns the keys of: the shard's name → the part of the chunk."""
        by_shard = self.state.map.split(chunk.slots)
        if len(by_shard) == 1:
            return dict.fromkeys(by_shard, chunk)
        return {name: chunk.part(places) for name, places in by_shard.items()}

    def submit_part(self, name: str, part: Chunk) -> None:
        """Send operations to the shard `name`, which owns all of their keys; their receiver is told."""
        if self.closed:
            part.fail(ClientClosed(_CLOSED))
        else:
            self._links[name].submit(part)

    def check_open(self) -> None:
        """Make sure that something can be asked.

        :raises ClientClosed: it can't any more.
        """
        if self.closed:
            raise ClientClosed(_CLOSED)

    def bulk_step(self, changes: bool) -> int:
        """How many keys a bulk verb is to send at a time."""
        durable = changes and any(one.durable for one in self.state.map.ranges)
        return settings.BULK_STEP_DURABLE if durable else settings.BULK_STEP

    @inlineCallbacks
    def start(self, seconds: float) -> Steps[None]:
        """Get the first map.

        :param seconds: the deadline.
        :raises Unavailable: there was none by then; the message says why.
        """
        self.adopt((yield self.bootstrap.first_map(seconds)))

    def refresh(self) -> Deferred[None]:
        """Fetch the newest map; the Deferred fires when that was tried."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if len(self._waiters) == 1:
            self._refreshing = self._clock.callLater(_JITTER * self._random.random(), self._fetch)
        return waiter

    def idle(self) -> None:
        """A link has nothing in flight any more: take up the map that waited for it, if all are so."""
        if self._pending is not None and not any(link.fenced and link.busy for link in self._links.values()):
            pending, self._pending = self._pending, None
            self._switch(pending)

    def adopt(self, state: ClusterState) -> None:
        """Go by a map from now on, or, where shards lose slots, as soon as their links have nothing in flight."""
        newest = self._pending or (self.state if self._known else None)
        if newest is not None and state.epoch <= newest.epoch:
            return
        for link in self._links.values():
            old, own = link.range, state.map.named(link.range.name)
            if own is None or own.start > old.start or own.end < old.end:
                link.fenced = True
        self._pending = state
        self.idle()

    def close(self) -> Deferred[None]:
        """End every link and every question.

        :return: a Deferred that fires when all connections are closed.
        """
        self.closed = True
        if self._refreshing is not None and self._refreshing.active():
            self._refreshing.cancel()
            self._refreshed()
        closing = [self.bootstrap.close(), *(link.close() for link in self._links.values())]
        return gatherResults(closing).addCallback(lambda _: None)

    def _switch(self, state: ClusterState) -> None:
        self.state, self._known = state, True
        old = self._links
        self._links = {own.name: old.get(own.name) or self._new_link(own) for own in state.map.ranges}
        self.links, self._starts = list(self._links.values()), [own.start for own in state.map.ranges]
        stranded: list[Entry] = []
        for link in old.values():
            if link.fenced:
                stranded += link.take_waiting()
        for name, link in old.items():
            own = state.map.named(name)
            if own is None:
                link.close()
            else:
                link.move(own)
        for one in stranded:
            if isinstance(one, Chunk):
                self.submit_chunk(one)
            else:
                self.submit(one)

    def _new_link(self, own: ShardRange) -> ShardLink:
        session = self._sessions.setdefault(own.name, self._random.randbytes(OWN))
        return ShardLink(self, own, self._clock, self._dial, self._random, session)

    def _approve(self, greeting: Greeting) -> None:
        self._check_cluster(greeting.cluster)

    def _check_cluster(self, given: str) -> None:
        if self._known and given and given != self.state.cluster:
            raise ForeignCluster(f"it has cluster {given} now; this client knows {self.state.cluster}")

    @inlineCallbacks
    def _fetch(self) -> Steps[None]:
        peers = self.bootstrap.by_preference([link.rpc for link in self._links.values() if link.rpc.has_connection])
        with suppress(PyshardError):  # those who wait try again until their own deadline
            yield HedgedRequest(self._clock, peers, commands.GetMap, self._take, settings.TIMEOUT / 2).start()
        self._refreshed()

    def _take(self, _: RpcChannel, answer: dict[str, Any], began: float) -> None:
        """Go by the map that a peer has, if it is this cluster's."""
        state = cluster_state.from_json(answer["state"])
        self._check_cluster(state.cluster)
        self.fetched = began
        self.adopt(state)

    def _refreshed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


_routings: weakref.WeakSet[Routing] = weakref.WeakSet()


def _forked() -> None:
    """In a forked child: take nothing up on connections that are the parent's, whose answers would be mixed up."""
    for one in list(_routings):
        one.closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
