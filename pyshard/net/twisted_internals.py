"""What pyshard uses of Twisted that Twisted doesn't promise: private names, each with the reason.

Rules:

- No other module uses a private name of Twisted.
- Each name has a test that fails when Twisted changes it (tests/net/test_twisted_internals.py and
  test_twisted_reads_and_accepts.py).
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, cast

from twisted.internet._resolver import GAIResolver
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.tcp import Connection, Port
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python import runtime

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor
    from twisted.protocols.amp import AMP

#: The timeout of an endpoint that is to set no timer. Connectors take None, though endpoints declare a number.
NO_TIMEOUT = cast(int, None)

_SHORT = 0.001  # seconds that `epoll` would wait for, where less is to be waited for
_SELECTABLE = 1024  # `select` takes files with smaller numbers
_TURNS = "pyshard_turns"  # the name of an attribute of the reactor that `poll_lightly` has set

#: States of TCP in which the peer has ended its side, as Linux numbers them: TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK,
#: CLOSING.
_ENDED_BY_PEER = frozenset((6, 7, 8, 9, 11))

_log = Logger()

#: Numbers calls without a delay: reactors make calls in the order of their times.
_order = count(1)


def below_tls(transport: object) -> object:
    """The transport from which one with TLS reads, and to which it writes; any other one is given as it is."""
    return transport.transport if isinstance(transport, ProtocolWrapper) else transport


def send_now(transport: FileDescriptor, data: bytes) -> bytes:
    """Hand bytes to the system at once.

    `FileDescriptor.write` has the reactor wait until the socket can be written. That costs two system calls and a turn
    of the reactor, though the socket can nearly always be written. What waits in the transport already must go first;
    only its private buffers tell of it.

    A connection that is being lost has no socket any more when Twisted tells its protocol of the loss.

    :return: what the system didn't take; it is to be given to `write`.
    """
    if transport.dataBuffer or transport._tempDataBuffer or not transport.connected:
        return data
    sent: object
    if isinstance(transport, Connection):  # without two more calls of Python, for what `writeSomeData` does
        try:
            sent = transport.socket.send(data)
        except OSError:  # nothing is taken now, or the connection is lost
            return data
    else:
        sent = transport.writeSomeData(data)
    if isinstance(sent, int) and sent >= 0:
        return data[sent:]
    return data  # the connection is lost: the reactor's own attempt fails too, and ends it


def send_both_now(transport: FileDescriptor, first: bytes, second: bytes) -> tuple[bytes, bytes]:
    """Hand bytes to the system at once, as `send_now` does, without having joined them.

    :return: what the system didn't take of each.
    """
    if not isinstance(transport, Connection) or transport.dataBuffer or transport._tempDataBuffer:
        return first, second
    try:
        sent = transport.socket.sendmsg((first, second)) if transport.connected else 0
    except OSError:  # as above
        return first, second
    return first[sent:], second[max(0, sent - len(first)) :]


def discard_unwritten(transport: FileDescriptor) -> None:
    """Forget what waits in a transport to be written.

    `abortConnection` forgets it in the reactor's next turn. Until then a thousand connections that are ended for the
    memory that they take would still take it.
    """
    transport.dataBuffer, transport._tempDataBuffer, transport._tempDataLen = b"", [], 0


def peer_has_ended(transport: object) -> bool:
    """Whether the peer of a transport has ended its side of the connection, or reset it, as far as the system tells.

    A transport that reads nothing doesn't notice, nor does one that has much to read before the end. On Linux the
    system tells; elsewhere the answer is False.
    """
    transport = below_tls(transport)
    if sys.platform != "linux" or not isinstance(transport, Connection) or not transport.connected:
        return False
    try:
        return transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _ENDED_BY_PEER
    except OSError:  # it is no socket of TCP
        return False


def has_unread(transport: object, more_than: int = 0) -> bool:
    """Whether the system has bytes of the peer that the transport hasn't read. It may have read some before.

    :param more_than: how many bytes don't count.
    """
    transport = below_tls(transport)
    if not isinstance(transport, Connection) or not transport.connected:
        return False
    try:
        return len(transport.socket.recv(more_than + 1, socket.MSG_PEEK)) > more_than
    except OSError:  # there is nothing, or the connection is lost
        return False


def bound_accepts(
    port: object, in_turn: Callable[[Callable[[int], None]], float | None], may_connect: Callable[[IAddress], bool]
) -> None:
    """Have a port accept as many connections in one turn of the reactor as it is told, and close some of them at once.

    A `tcp.Port` accepts 100 at first, and 20 more in each turn that brings as many. While hundreds dial again and
    again, nobody else would be served. A connection for which its factory makes no protocol costs a tenth of another
    one; but factories of TLS always make one.

    :param in_turn: is called in a turn in which somebody has connected. It is given a function that accepts at most so
        many connections as it is told, and calls it as often as it likes. It may give seconds for which none is to be
        accepted.
    :param may_connect: whether a peer may connect; if not, the connection is closed.
    """
    if not isinstance(port, Port) or port.factory is None:
        return
    accept, build = port.doRead, port.factory.buildProtocol

    def accept_at_most(count: int) -> None:
        port.numberAccepts = count
        accept()

    def read_on() -> None:
        if port.connected and not port.disconnecting:
            port.startReading()

    def accept_in_turn() -> None:
        pause = in_turn(accept_at_most)
        if pause:
            port.stopReading()
            cast(ReactorBase, port.reactor).callLater(pause, read_on)

    port.doRead = accept_in_turn  # type: ignore[method-assign]  # the reactor looks it up on the object
    vars(port.factory)["buildProtocol"] = lambda addr: build(addr) if may_connect(addr) else None


def wrap_reads_and_writes(
    transport: object,
    reads: Callable[[Callable[[], object]], Callable[[], object]],
    writes: Callable[[Callable[[], object]], Callable[[], object]],
) -> None:
    """Have functions called in place of those by which the reactor has a transport read and write.

    They see all that this takes, with the work of TLS, before and behind the protocol's own. The reactor looks both
    methods up on the transport. `unwrap_reads_and_writes` puts them back.

    :param reads: is given the method that reads, and gives what is called in its place.
    :param writes: the same for the one that writes.
    """
    made = below_tls(transport)
    if not isinstance(made, FileDescriptor):
        return
    # Not by `vars`: an object whose dict was asked for takes longer for each of its attributes.
    made.doRead, made.doWrite = reads(made.doRead), writes(made.doWrite)  # type: ignore[method-assign]  # see above


def unwrap_reads_and_writes(transport: object) -> None:
    """Put back what `wrap_reads_and_writes` has replaced, if it has."""
    made = below_tls(transport)
    if isinstance(made, FileDescriptor):
        for name in ("doRead", "doWrite"):
            if name in made.__dict__:
                delattr(made, name)


def begin_amp(protocol: AMP) -> None:
    """Do what AMP's constructor does, but for what it counts files by that come over Unix sockets.

    That is seven objects of each connection, at which Python's garbage collector would look.
    """
    protocol._ampInitialized = True
    protocol._outstandingRequests = {}
    protocol.locator = protocol.boxReceiver = protocol


def resolves_in_its_thread_pool(resolver: object) -> bool:
    """Whether a reactor's name resolver is Twisted's own, which asks in the threads of the reactor's pool.

    A program that has installed none has it. Only a private module has its class.
    """
    return type(resolver) is GAIResolver


def goes_by_the_wall_clock(reactor: IReactorTime) -> bool:
    """Whether a reactor's timers go by the wall clock, as those of Twisted's own reactors do."""
    return isinstance(reactor, ReactorBase) and reactor.seconds is runtime.seconds


def set_clock(reactor: IReactorTime, seconds: Callable[[], float]) -> None:
    """Have a reactor time everything by another clock, which goes on where the one before it is now.

    Reactors look `seconds` up whenever they need the time. It is a public name, but nothing says that it can be set.
    """
    vars(reactor)["seconds"] = seconds


def call_soon(reactor: ReactorBase, function: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
    """Have a reactor call a function in its next turn, wherever its clock is put until then; in order.

    `callLater` alone takes the call's time from the clock, and waits for that time again when the clock is put back in
    the same turn. `callFromThread` doesn't, but costs two system calls. Here the time is in 1970, so it has passed.
    """
    call = reactor.callLater(0, function, *args, **kw)
    call.time = next(_order) / 1e6
    return call


def turn_number(reactor: object) -> Callable[[], int] | None:
    """The number of a reactor's turn: what it calls in a turn, and what it reads then, have the same.

    :return: gives it; None: the turns aren't counted (`poll_lightly`).
    """
    turns: list[int] | None = vars(reactor).get(_TURNS)
    return None if turns is None else lambda: turns[0]


def poll_lightly(reactor: object) -> None:
    """Have an `EPollReactor` spare what it does for Twisted's old log around each event.

    It calls each selectable within a context of its own, in which the messages of that log have the selectable's name.
    That takes nine calls of Python, a tenth of the time in which a shard answers a read. pyshard logs by
    `twisted.logger`, which takes nothing from there. What a selectable raises is caught and logged in either case.

    `epoll` waits for whole milliseconds. Where less is to be waited for, `select` waits for what it waits for.

    Where an event says no more than that there is something to be read, it is read at once. All others go the reactor's
    own way. And each turn is counted (`turn_number`).
    """
    epoll = sys.modules.get("twisted.internet.epollreactor")  # Linux alone has it
    if epoll is None or type(reactor) is not epoll.EPollReactor:
        return
    made, turns = cast("EPollReactor", reactor), [0]
    poll, selectables, serve = made._poller.poll, made._selectables, made._doReadOrWrite
    readable, number_of_poller = select.EPOLLIN, made._poller.fileno()
    short = _SHORT if number_of_poller < _SELECTABLE else 0.0

    def do_poll(timeout: float | None) -> None:
        try:
            if timeout is not None and 0 < timeout < short:
                select.select((number_of_poller,), (), (), timeout)
                timeout = 0
            ready = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for number, event in ready:
            selectable = selectables.get(number)
            if selectable is None:  # one before it has ended it
                continue
            if event != readable:
                serve(selectable, number, event)
                continue
            why: BaseException | None
            try:
                why = selectable.doRead()
            except Exception as error:  # noqa: BLE001  # it is logged, and ends the selectable, as in the reactor's own way
                _log.failure("while reading")
                why = error
            if why is not None:
                made._disconnectSelectable(selectable, why, True)
        turns[0] += 1

    vars(made)[_TURNS] = turns
    made.doIteration = do_poll  # type: ignore[method-assign]  # the reactor looks it up on itself
