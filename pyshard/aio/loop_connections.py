"""How a client on an event loop dials: the endpoints of its shards, and every connection that it has.

Rules:

- A host's name is looked up in a thread of its own (`pyshard.net.name_questions`), not in those of the loop, where slow
  names would hold up all else. But a loop with a way of its own to look up names is asked. The addresses are tried in
  a staggered race (`pyshard.net.staggered_race`).
- Twisted's resolver is no use here. It works in a reactor's thread pool, whose threads hand over what they find by the
  reactor's `callFromThread`. Where no reactor runs nobody hears of it, and the threads keep the process from ending.
- An attempt that fails does so with Twisted's exceptions, for which the rest of the code has words; one that fails
  because of TLS, with `NotTrusted` or `Unavailable`.
- No attempt and no connection outlives `closed`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, DNSLookupError, getConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.stream_transport import StreamProtocol
from pyshard.model.address_text import is_ipv4, is_ipv6
from pyshard.net.awaited_names import AwaitedNames
from pyshard.net.ipv6_zones import numeric_host, with_zone_number
from pyshard.net.name_questions import QUESTIONS, FoundAddress, NameQuestions, ipv4_first
from pyshard.net.staggered_race import RaceLost, StaggeredRace
from pyshard.security.tls.handshake_errors import handshake_error
from pyshard.security.tls.ssl_context import SslContext, server_hostname

_T = TypeVar("_T")

_BETWEEN_ATTEMPTS = 0.05  # seconds until the next address of a name is tried as well
_TLS_CLOSE = 1.0  # seconds that a peer has to take leave of TLS


class LoopConnections:
    """The connections of one client, those under way included.

    :param clock: the loop's.
    :param tls: what TLS is spoken with; None: plain TCP.
    :param questions: asks for names.
    :ivar guard: what must live as long as the connections.
    """

    guard: object = None

    def __init__(self, clock: LoopClock, tls: SslContext | None, questions: NameQuestions = QUESTIONS) -> None:
        self.clock = clock
        self._loop = clock.loop
        self._tls = tls
        self._names = AwaitedNames(self._call_here, questions)
        self._attempts: set[asyncio.Task[Any]] = set()
        self._open: set[StreamProtocol] = set()
        self._waiting: list[asyncio.Future[None]] = []  # who waits until there are none

    def dial(self, host: str, port: int) -> IStreamClientEndpoint:
        """The endpoint of a host and port."""
        return LoopEndpoint(self, host, port)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a name, in the order in which they are dialed, each once.

        :raises DNSLookupError: there are none.
        """
        try:
            host.encode("idna")
            found: Sequence[FoundAddress]
            if looks_up_in_threads(self._loop):
                found = await self._look_up(host, port)
            else:
                found = ipv4_first(await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:
            raise DNSLookupError(f"{host!r} is no host name") from None
        except OSError:
            raise DNSLookupError(f"no results for hostname lookup: {host}") from None
        return list(dict.fromkeys(numeric_host(name) for *_, name in found))

    async def open(self, factory: IProtocolFactory, host: str, address: str, port: int) -> IProtocol:
        """Connect to an IP address.

        :param host: whom the peer's certificate must be for, where TLS is spoken.
        """
        stream = StreamProtocol(factory, self._ended)
        secured: dict[str, Any] = {}
        if self._tls is not None:
            secured = {
                "ssl": self._tls.current(),
                "server_hostname": server_hostname(host),
                "ssl_shutdown_timeout": _TLS_CLOSE,
            }
        self._open.add(stream)
        try:
            await self._loop.create_connection(lambda: stream, with_zone_number(address), port, **secured)
        except BaseException as error:
            stream.give_up()
            if isinstance(error, OSError):
                raise self._refusal(error, host) from None
            raise
        assert stream.protocol is not None
        return stream.protocol

    def begin(self, work: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """Have the loop do a part of an attempt.

        :return: a Deferred of what it gives; cancelled, it cancels the work.
        """
        task = self._loop.create_task(work)
        self._attempts.add(task)

        def cancel(_: Deferred[_T]) -> None:
            task.cancel()

        begun: Deferred[_T] = Deferred(cancel)

        def ended(task: asyncio.Task[_T]) -> None:
            self._attempts.discard(task)
            self._tell_waiting()
            error = ConnectionAborted() if task.cancelled() else task.exception()
            if begun.called:  # it was cancelled
                if error is None:
                    _abort(task.result())
            elif error is None:
                begun.callback(task.result())
            else:
                begun.errback(Failure(error))

        task.add_done_callback(ended)
        return begun

    def abort(self) -> None:
        """End all attempts and connections at once."""
        for task in self._attempts:
            task.cancel()
        for stream in list(self._open):
            if stream.transport is not None:
                stream.transport.abortConnection()

    async def closed(self) -> None:
        """Wait until there is no attempt and no connection."""
        while self._attempts or self._open:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter
        await asyncio.sleep(0)  # a handshake that failed closes its socket in the turn after

    async def _look_up(self, host: str, port: int) -> list[FoundAddress]:
        answer: asyncio.Future[list[FoundAddress] | OSError] = self._loop.create_future()

        def told(outcome: list[FoundAddress] | OSError) -> None:
            if not answer.done():  # else it was cancelled in this turn
                answer.set_result(outcome)

        give_up = self._names.look_up(host, port, told)
        try:
            outcome = await answer
        finally:
            give_up()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def _call_here(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function)

    def _refusal(self, error: OSError, host: str) -> Exception:
        """The error for an attempt that failed."""
        by_tls = None if self._tls is None else handshake_error(error, host)
        if by_tls is not None:
            return by_tls
        number = error.errno or 0
        return cast(Exception, getConnectError((number, os.strerror(number) if number else str(error))))

    def _ended(self, stream: StreamProtocol) -> None:
        self._open.discard(stream)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if not self._attempts and not self._open:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


def looks_up_in_threads(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop looks up names as those of asyncio and uvloop do: in threads that all else has to share."""
    own = getattr(loop.getaddrinfo, "__func__", None)
    return own is asyncio.BaseEventLoop.getaddrinfo or type(loop).__module__ == "uvloop"


@implementer(IStreamClientEndpoint)
class LoopEndpoint:
    """Connects to a host and port over TCP, and with TLS if the client speaks it."""

    def __init__(self, connections: LoopConnections, host: str, port: int) -> None:
        self._connections = connections
        self._host = host
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        if is_ipv4(self._host) or is_ipv6(self._host):
            return self.attempt_at(self._host, protocolFactory)
        return Deferred.fromCoroutine(self._connect_by_name(protocolFactory))

    def attempt_at(self, address: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to one IP address of the host."""
        connections = self._connections
        return connections.begin(connections.open(factory, self._host, address, self._port))

    async def _connect_by_name(self, factory: IProtocolFactory) -> IProtocol:
        connections = self._connections
        addresses = await connections.begin(connections.resolve(self._host, self._port))
        race = StaggeredRace(connections.clock, _Addresses(self, factory), addresses)
        try:
            return await race.start()
        except RaceLost as lost:
            error = lost.failures[-1].value
        assert error is not None
        raise error


class _Addresses:
    """The race of the addresses of a name."""

    def __init__(self, endpoint: LoopEndpoint, factory: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._factory = factory

    def attempt(self, candidate: str) -> Deferred[IProtocol]:
        """See `RaceOwner`."""
        return self._endpoint.attempt_at(candidate, self._factory)

    def head_start(self, candidate: str) -> float:
        """See `RaceOwner`."""
        return _BETWEEN_ATTEMPTS


def _abort(connected: object) -> None:
    """End a connection that was made just when nobody wanted it any more."""
    transport = getattr(connected, "transport", None)
    if transport is not None:
        transport.abortConnection()
