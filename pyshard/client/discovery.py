"""Where a client gets the map: the addresses that it was given, each of a bootstrap or of a shard.

Rules kept here: who answers at an address is known when it has said so, and may be another one the next time; a
connection to a shard is kept for as long as it is asked something, since the client's links have their own; what only a
bootstrap can do is asked of one address, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from pyshard.client.hedged_request import Search
from pyshard.client.rpc import Asking
from pyshard.errors import ConfigError
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState
from pyshard.net.dialer import Greeting, Peer, PeerConnection
from pyshard.protocol import commands
from pyshard.protocol.commands import Command
from pyshard.server.session_fence import OWN
from pyshard.settings import settings
from pyshard.steps import Steps

_BOOTSTRAP, _SHARD = "bootstrap", "shard"  # the roles that Hello tells


class Source:
    """One address that a client was given.

    :param clock: times everything.
    :param endpoint: leads there.
    :param name: the address, for messages.
    :param approve: see `Peer`.
    :param random: jitter.
    :param alone: no other address was given.
    :ivar role: of whoever answered there last, as `Hello` says it; empty: nobody has.
    :ivar asking: for questions.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        name: str,
        approve: Callable[[Greeting], None],
        random: Random,
        alone: bool,
    ) -> None:
        self.name = name
        self.role = ""
        self._alone = alone
        self._accepts = approve
        self._closed = False
        self.asking = Asking(clock, self._described, self._ready, self._drop, settings.TIMEOUT)
        self._peer = Peer(
            clock,
            endpoint,
            self._approve,
            lambda: self.asking.pending and not self._closed,
            self._up,
            self.asking.down,
            random,
            self.asking.refuse,
            random.randbytes(OWN),
        )

    def rest(self) -> None:
        """Do without a connection to a shard of which nothing is asked."""
        connection = self._peer.connection
        if connection is not None and self.role == _SHARD and not self.asking.pending:
            connection.leave()

    def close(self) -> Deferred[None]:
        """End everything; the Deferred fires when the connection is closed."""
        self._closed = True
        closed = self._peer.close()
        self.asking.close()
        return closed

    def _described(self) -> str:
        if self.role:
            return f"the {self.role} at {self.name}"
        return f"the bootstrap at {self.name}" if self._alone else self.name

    def _ready(self) -> PeerConnection | None:
        return self._peer.ready()

    def _drop(self) -> None:
        self._peer.drop()

    def _approve(self, connection: PeerConnection, greeting: Greeting) -> None:
        self.role = greeting.role
        self._accepts(greeting)

    def _up(self, connection: PeerConnection) -> None:
        self.asking.up(connection)
        self.rest()


class Sources:
    """All addresses that a client was given.

    :param clock: times everything.
    :param endpoints: each address, for messages, and the endpoint that leads there; one at the least.
    :param approve: raises when whoever answered isn't of the client's cluster.
    :param random: jitter.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoints: Sequence[tuple[str, IStreamClientEndpoint]],
        approve: Callable[[Greeting], None],
        random: Random,
    ) -> None:
        self._clock = clock
        alone = len(endpoints) == 1
        self._all = [Source(clock, endpoint, name, approve, random, alone) for name, endpoint in endpoints]

    @inlineCallbacks
    def first_map(self, seconds: float) -> Steps[ClusterState]:
        """The map, from the first address that has it.

        :param seconds: the deadline.
        :raises PyshardError: what each address failed with.
        """
        search = Search(self._clock, [one.asking for one in self._all], commands.GetMap, _state, seconds)
        state: ClusterState = yield search.begin()
        self._rest()
        return state

    def by_rank(self, between: Sequence[Asking]) -> list[Asking]:
        """Whom to ask for a newer map: addresses that may be a bootstrap's, then others, then the rest."""
        shards = [one.asking for one in self._all if one.role == _SHARD]
        return [*(one.asking for one in self._all if one.role != _SHARD), *between, *(() if between else shards)]

    @inlineCallbacks
    def ask(self, command: type[Command], seconds: float, changes: bool = False, **arguments: object) -> Steps[Any]:
        """Ask the bootstrap; see `Asking.ask`.

        :raises ConfigError: (in the Deferred) none of the addresses is a bootstrap's.
        """
        end = self._clock.seconds() + seconds
        found = self._all[0].asking if len(self._all) == 1 and self._all[0].role != _SHARD else None
        if found is None:
            found = yield self._bootstrap(seconds)
        left = max(0.0, round(end - self._clock.seconds(), 2))
        answer = yield found.ask(command, left, changes, **arguments)
        return answer

    def close(self) -> Deferred[None]:
        """End everything; the Deferred fires when all connections are closed."""
        return gatherResults([one.close() for one in self._all]).addCallback(lambda _: None)

    @inlineCallbacks
    def _bootstrap(self, seconds: float) -> Steps[Asking]:
        """The address at which a bootstrap is."""
        source = {one.asking: one for one in self._all}

        def is_bootstrap(peer: Asking, *_: object) -> Asking:
            if source[peer].role != _BOOTSTRAP:
                raise ConfigError(
                    f"{source[peer].name} is a {source[peer].role}'s address, and only the bootstrap can do this; "
                    "connect with the bootstrap's address"
                )
            return peer

        ranked = sorted(self._all, key=lambda one: (_BOOTSTRAP, "", _SHARD).index(one.role))
        search = Search(self._clock, [one.asking for one in ranked], commands.Ping, is_bootstrap, seconds)
        try:
            found: Asking = yield search.begin()
        finally:
            self._rest()
        return found

    def _rest(self) -> None:
        for one in self._all:
            one.rest()


def _state(_: Asking, answer: dict[str, Any], *__: object) -> ClusterState:
    return cluster_state.from_json(answer["state"])
