"""Connections that a daemon dials, counted beside those that it accepts: others leave time for what comes over them.

A replica follows its primary over a connection that it dials, and so does the target of a move. Beside it whoever asks
this daemon for all it can would be alone, as far as the daemon knew, and be served for long at a time. Meanwhile each
change of the whole shard would wait for this replica.

A bootstrap counts what it writes to shards and reads of them, and leaves as much time to others
(`pyshard.bootstrap.push_rests`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from pyshard.net.client_endpoints import Dial
from pyshard.net.twisted_internals import wrap_reads_and_writes

_P = TypeVar("_P", bound=IProtocol)

#: Makes of what a connection's reading or writing does what is counted.
Count: TypeAlias = Callable[[Callable[[], object]], Callable[[], object]]


@implementer(IStreamClientEndpoint)
class CountedEndpoint:
    """An endpoint over whose connections is counted what is read and written.

    :param endpoint: leads there.
    :param count: counts.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, count: Count) -> None:
        self._endpoint = endpoint
        self._count = count

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        """See `IStreamClientEndpoint`."""
        connected: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connected.addCallback(self._counted)

    def _counted(self, protocol: _P) -> _P:
        transport: object = getattr(protocol, "transport", None)
        wrap_reads_and_writes(transport, self._count, self._count)  # until it is lost; then nobody reads any more
        return protocol


def counted_dial(dial: Dial, count: Count) -> Dial:
    """A way to dial over whose connections is counted."""
    return lambda host, port: CountedEndpoint(dial(host, port), count)
