"""Happy Eyeballs (RFC 8305): connect to a host by its name, over whichever of its addresses answers first.

A name often has several addresses ("localhost" has ::1 and 127.0.0.1), of which one may lead nowhere. They are tried in
a staggered race, those of IPv4 first, as `pyshard.net.name_questions.ipv4_first` has it. Twisted's `HostnameEndpoint`
does nearly the same, but it imports the global reactor, which installs one: a program that makes blocking calls has no
use for that, or wants to install one of its own choice later.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
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

from pyshard.net.staggered_race import RaceLost, StaggeredRace
from pyshard.net.twisted_internals import NO_TIMEOUT


@implementer(IStreamClientEndpoint)
class HappyEyeballsEndpoint:
    """Connects to a host and port over TCP, without a time limit.

    :param reactor: connects.
    :param clock: times the head starts.
    :param head_start: seconds until the next address of the name is tried as well.
    :param resolver: resolves the name; None: the reactor's own.
    """

    def __init__(
        self,
        reactor: object,
        clock: IReactorTime,
        host: str,
        port: int,
        head_start: float,
        resolver: IHostnameResolver | None = None,
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.host = host
        self.port = port
        self.head_start = head_start
        self.resolver = resolver

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        try:
            self.host.encode("idna")
        except UnicodeError:
            return fail(DNSLookupError(f"{self.host!r} is no host name"))
        return _NamedConnection(self, protocolFactory).start()


@implementer(IResolutionReceiver)
class _NamedConnection:
    """One attempt to connect: resolves the name, then races its addresses."""

    def __init__(self, endpoint: HappyEyeballsEndpoint, factory: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._addresses: list[IStreamClientEndpoint] = []
        self._resolution: IHostResolution | None = None
        self._race: Deferred[IProtocol] | None = None  # None while the name is being resolved
        self._connected: Deferred[IProtocol] = Deferred(self._cancel)

    def start(self) -> Deferred[IProtocol]:
        """Begin.

        :return: a Deferred of the protocol of the first connection; it can be cancelled, and fails as the address that
            failed last.
        """
        endpoint = self._endpoint
        resolver = endpoint.resolver or cast(IReactorPluggableNameResolver, endpoint.reactor).nameResolver
        self._resolution = resolver.resolveHostName(self, endpoint.host, endpoint.port)
        return self._connected

    # ------------------------------------------------------------------ what the resolver calls

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  # the interface's
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:
        """See `IResolutionReceiver`."""
        kind = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
        zone = getattr(address, "scopeID", 0)
        host = getattr(address, "host")  # noqa: B009  # both kinds of address have it; their interface doesn't
        if zone and "%" not in host:
            host = f"{host}%{zone}"
        self._addresses.append(kind(self._endpoint.reactor, host, self._endpoint.port, NO_TIMEOUT))

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        if self._connected.called:  # it was cancelled meanwhile
            return
        if not self._addresses:
            self._connected.errback(DNSLookupError(f"no results for hostname lookup: {self._endpoint.host}"))
            return
        addresses = sorted(self._addresses, key=lambda address: isinstance(address, TCP6ClientEndpoint))
        race = StaggeredRace(self._endpoint.clock, self, addresses)
        self._race = race.start()
        self._race.addCallbacks(self._connected.callback, self._failed)

    # ------------------------------------------------------------------ what the race asks

    def attempt(self, candidate: IStreamClientEndpoint) -> Deferred[IProtocol]:
        """See `RaceOwner`."""
        return candidate.connect(self._factory)

    def head_start(self, candidate: IStreamClientEndpoint) -> float:
        """See `RaceOwner`."""
        return self._endpoint.head_start

    # ------------------------------------------------------------------ inside

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        self._connected.errback(error.failures[-1] if isinstance(error, RaceLost) else failure)

    def _cancel(self, _: Deferred[IProtocol]) -> None:
        if self._race is not None:
            self._race.cancel()
        elif self._resolution is not None:
            with suppress(NotImplementedError):  # Twisted's own can't be cancelled
                self._resolution.cancel()
