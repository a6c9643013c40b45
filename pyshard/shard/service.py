"""The shard as a Twisted service: it listens, and closes its store when it has stopped."""

from __future__ import annotations

from twisted.application.service import MultiService
from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from pyshard.server import Listener, ServerFactory
from pyshard.shard.protocol import ShardProtocol
from pyshard.shard.shard import Shard
from pyshard.wire import Steps


class ShardService(MultiService):
    """Everything that a shard runs.

    :param shard: what it does.
    :param clock: a reactor, or a Clock.
    :param endpoint: where to listen.
    """

    def __init__(self, shard: Shard, clock: IReactorTime, endpoint: IStreamServerEndpoint) -> None:
        super().__init__()
        self.shard = shard
        factory = ServerFactory(lambda made: ShardProtocol(shard, made, clock))
        Listener(clock, endpoint, factory).setServiceParent(self)

    @inlineCallbacks
    def stopService(self) -> Steps[None]:
        yield maybeDeferred(super().stopService)
        yield self.shard.store.close()
