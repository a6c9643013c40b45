"""Dial a host by its name: all addresses that it has, each a little after the one before it; the first one wins.

Twisted's HostnameEndpoint does so, too, but it imports the global reactor, which installs one. A program that makes
blocking calls has no use for that, or wants to install one of its own choice later.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class NameEndpoint:
    """Connects to a host and port over TCP.

    :param reactor: resolves the name, times, and connects.
    :param timeout: seconds that the attempt at one address may take.
    :param head_start: seconds until the next address of the name is tried as well.
    """

    def __init__(self, reactor: object, host: str, port: int, timeout: int, head_start: float) -> None:
        self.reactor = reactor
        self.host = host
        self.port = port
        self.timeout = timeout
        self.head_start = head_start

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        try:
            self.host.encode("idna")
        except UnicodeError:
            return fail(DNSLookupError(f"{self.host!r} is no host name"))
        return _Dialing(self, protocolFactory).begin()


@implementer(IResolutionReceiver)
class _Dialing:
    """One attempt to connect.

    :ivar connected: fires with the protocol of the first connection; fails as the last address did.
    """

    def __init__(self, endpoint: NameEndpoint, factory: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._clock = cast(IReactorTime, endpoint.reactor)
        self._factory = factory
        self._left: list[IStreamClientEndpoint] = []
        self._open: list[Deferred[IProtocol]] = []
        self._turn: IDelayedCall | None = None  # the next address's
        self.connected: Deferred[IProtocol] = Deferred(lambda _: self._stop())

    def begin(self) -> Deferred[IProtocol]:
        """Resolve the name, then dial; gives `connected`, which can be cancelled."""
        resolver = cast(IReactorPluggableNameResolver, self._endpoint.reactor).nameResolver
        resolver.resolveHostName(self, self._endpoint.host, self._endpoint.port)
        return self.connected

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  # the interface's
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:
        """See `IResolutionReceiver`."""
        kind = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
        host = getattr(address, "host")  # noqa: B009  # both kinds of address have it; their interface doesn't
        self._left.append(kind(self._endpoint.reactor, host, self._endpoint.port, self._endpoint.timeout))

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        if self.connected.called:  # it was cancelled meanwhile
            return
        if self._left:
            self._next()
        else:
            self.connected.errback(DNSLookupError(f"no results for hostname lookup: {self._endpoint.host}"))

    def _next(self) -> None:
        """Try the next address."""
        self._stop_waiting()
        endpoint = self._left.pop(0)
        if self._left:
            self._turn = self._clock.callLater(self._endpoint.head_start, self._next)
        attempt = endpoint.connect(self._factory)
        self._open.append(attempt)
        attempt.addCallbacks(self._succeeded, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _succeeded(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._open.remove(attempt)
        self._stop()
        self.connected.callback(protocol)

    def _failed(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        if attempt not in self._open:
            return  # it was withdrawn
        self._open.remove(attempt)
        if self._left:
            self._next()
        elif not self._open:
            self.connected.errback(failure)

    def _stop(self) -> None:
        """Withdraw everything."""
        self._stop_waiting()
        self._left.clear()
        withdrawn, self._open = self._open, []
        for attempt in withdrawn:
            attempt.cancel()

    def _stop_waiting(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.active():
            turn.cancel()
