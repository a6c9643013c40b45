"""The bootstrap as a Twisted service: it listens, and watches every shard of its map."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.bootstrap.reconciler import ShardWatch
from pyshard.net.addresses import Dial
from pyshard.security.tokens import Tokens
from pyshard.server.admission import ConnectionLimits
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener


class BootstrapService(MultiService):
    """Everything that a bootstrap runs.

    :param bootstrap: the state's keeper.
    :param clock: a reactor, or a Clock.
    :param endpoint: where to listen.
    :param dial: leads to the shards.
    :param random: jitter.
    :param tokens: gives the tokens that are valid now; None: whoever connects may do everything.
    :param connections: how many there may be.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        dial: Dial,
        random: Random,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
    ) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        factory = ServerFactory(
            lambda made: BootstrapProtocol(bootstrap, self.settle, made, clock), tokens=tokens, connections=connections
        )
        Listener(clock, endpoint, factory).setServiceParent(self)
        self._watches = [
            ShardWatch(bootstrap, one.name, clock, dial(one.host, one.port), random)
            for one in bootstrap.state.map.ranges
        ]
        for watch in self._watches:
            watch.setServiceParent(self)

    def settle(self) -> Deferred[None]:
        """A Deferred that fires when every shard in reach has the present state."""
        return gatherResults([watch.settle() for watch in self._watches]).addCallback(lambda _: None)
