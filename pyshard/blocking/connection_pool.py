"""A pool of connections to one daemon, for the threads that call it.

Rules:

- A call takes a connection out of the pool, and puts it back when its answers are there. There is no lock: taking and
  putting are single steps of a deque, so that a signal's handler, a finalizer or another thread may come between any
  two lines here.
- A connection that was taken by a call which was cut down before it could put it back is simply gone.
- A session is *in doubt* when a change was sent over it and its call was cut short. Before the daemon is asked
  anything else, the session is *fenced*: a new connection with its id is opened. When that is greeted, nothing that was
  sent before under this id can take effect any more. So no later call, also no read, comes before that change.
- A call is repeated until its deadline, but a change that was sent is not: it fails with `OutcomeUnknown`.
- A daemon that can't be reached is left alone for a while, longer each time.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import Interest, Network, Steps
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.client_core.conversation import Broken, read_answer, unknown_call
from pyshard.client_core.unreached_daemon import no_answer
from pyshard.errors import (
    ClientClosed,
    NotAuthenticated,
    NotTrusted,
    PermissionDenied,
    PyshardError,
    ShuttingDown,
    Unavailable,
)
from pyshard.net.backoff import Backoff
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.greeting import Greeting

#: Errors by which one side refuses the other until somebody changes something: to dial again is of no use.
REFUSALS = (NotAuthenticated, PermissionDenied, NotTrusted)

_NONE: Mapping[str, object] = {}

_UNREACHED = "not reached yet"
_SILENT = "it is connected and silent"
_NO_REASON = (_UNREACHED, _SILENT)

#: Connections that are kept when nobody uses them.
_KEPT = 4


class NotSent(Exception):
    """No connection could be had, so nothing was sent. The message says why."""


class ConnectionPool:
    """Connections to one daemon.

    :param network: gives sockets and the time.
    :param random: jitter, and the ids of sessions.
    :param target: where the daemon is.
    :param in_doubt: its sessions in doubt.
    :ivar why: why the daemon could not be reached, in one line.
    :ivar role: of whoever answered last; empty: nobody has.
    :cvar stale: whether what a batch finds may be a little old; it only reads then.
    :ivar on_new: called with a reference to each new connection.
    :ivar on_failure: called with the daemon's name and `why` each time that it can't be reached.
    """

    stale = False
    on_failure: Callable[[str, str], object] = staticmethod(lambda _name, _why: None)
    on_new: Callable[[weakref.ref[PooledConnection]], object] = staticmethod(lambda _: None)

    def __init__(
        self, network: Network, random: Random, target: ConnectionTarget, in_doubt: SessionsInDoubt | None = None
    ) -> None:
        self.network = network
        self.target = target
        self.role = ""
        self.why = _UNREACHED
        self.closed = False
        self.in_doubt = SessionsInDoubt() if in_doubt is None else in_doubt
        self._random = random
        self._free: deque[PooledConnection] = deque()
        # References without callbacks: what a signal's handler raises within a callback, Python swallows.
        self._all: set[weakref.ref[PooledConnection]] = set()
        self._backoff = Backoff(random)
        self._rests_until = 0.0

    def peer_name(self) -> str:
        """The daemon, as messages call it."""
        raise NotImplementedError

    def check(self, greeting: Greeting) -> None:
        """Look at who answers, and raise when it isn't who it should be."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether there is an open connection that nobody uses."""
        return any(connection.is_open for connection in list(self._free))

    @property
    def size(self) -> int:
        """How many connections there are, used or not."""
        return sum(reference() is not None for reference in self._all.copy())

    def take(self) -> PooledConnection | None:
        """A connection that nobody uses; None: there is none."""
        try:
            return self._free.pop()
        except IndexError:
            return None

    def new(self) -> PooledConnection:
        """One more connection, which isn't open yet."""
        made = PooledConnection(self.network, self._new_session(), self.in_doubt)
        self._all.difference_update([reference for reference in self._all.copy() if reference() is None])
        reference = weakref.ref(made)
        self._all.add(reference)
        self.on_new(reference)
        return made

    def idle(self) -> list[float]:
        """When the connections that nobody uses were last heard of, the oldest first."""
        return [connection.heard for connection in list(self._free)]

    def close_idle(self) -> None:
        """Close the connection that nobody has used for the longest time."""
        with suppress(IndexError):
            self._free.popleft().close()

    def put_back(self, connection: PooledConnection) -> None:
        """Nobody uses this connection any more."""
        if self.closed or len(self._free) >= _KEPT:
            connection.close()
        else:
            self._free.append(connection)

    def ready(self, connection: PooledConnection, until: float, look: bool = False) -> Steps[None]:
        """Have a connection open, with a peer that is there and that no session in doubt can change any more.

        :param look: look at it even if it was used just now.
        :raises NotSent: that can't be had in time; the pool rests for a little.
        :raises PyshardError: one side refuses the other.
        """
        if self.closed:
            raise ClientClosed("the client was closed before the answer came")
        if connection.is_open and connection.target is self.target:
            try:
                yield from connection.freshen(until, look)
            except Broken as broken:
                connection.close()
                self.why = str(broken)
        if not connection.is_open or connection.target is not self.target:  # it may have been asked to leave
            yield from self._open(connection, until)
        if self.in_doubt:
            yield from self._fence(until)

    def rest(self) -> None:
        """Wait out the time for which the daemon is left alone after failures, longer each time."""
        self._backoff.failed()
        self._rests_until = self.network.now() + self._backoff.pause()

    def rested(self) -> float:
        """The time until which the daemon is left alone."""
        return self._rests_until

    def worked(self) -> None:
        """The daemon gave an answer: the next failure is the first one."""
        if self._backoff.failures:
            self._backoff.reset()

    def call(
        self,
        command: type[Command],
        until: float,
        seconds: float,
        changes: bool = False,
        arguments: Mapping[str, object] = _NONE,
        unreached: Callable[[float], Steps[None]] | None = None,
    ) -> Steps[dict[str, Any]]:
        """Call the daemon, again and again while it can't be reached.

        :param until: the end of the deadline.
        :param seconds: the whole deadline, for messages.
        :param changes: whether the command may change something.
        :param arguments: the command's, by name.
        :param unreached: given the end of the deadline, gives the steps before each new attempt, such as to fetch a
            newer map.
        :return: the answer's arguments, by name.
        :raises Unavailable: no answer came by then, and nothing was changed.
        :raises OutcomeUnknown: it was sent, the answer was lost, and it may have changed something.
        """
        while True:
            try:
                return (yield from self.attempt(command, until, seconds, changes, arguments))
            except NotSent:
                if self.network.now() >= until:
                    raise self.gave_no_answer(seconds) from None
            if unreached is not None:
                yield from unreached(until)
            yield from Interest((), min(until, self._rests_until))

    def attempt(
        self,
        command: type[Command],
        until: float,
        seconds: float,
        changes: bool = False,
        arguments: Mapping[str, object] = _NONE,
    ) -> Steps[dict[str, Any]]:
        """Call the daemon once.

        :param until: the end of the deadline.
        :param seconds: the whole deadline, for messages.
        :raises NotSent: nothing was done, and it can be tried again; `why` says why.
        :raises PyshardError: as `call`.
        """
        name = command.commandName.decode()
        connection = self.take() or self.new()
        try:
            yield from self.ready(connection, until, look=True)
            if changes:
                connection.begin_change()
            tag = connection.conversation.call(command, **arguments)
            reply = yield from connection.answer(tag, until)
            connection.end_change()
        except TooLate:
            connection.close()
            if changes:
                raise unknown_call(name, self.peer_name(), f"no answer came within {seconds:g} s") from None
            raise self.gave_no_answer(seconds) from None
        except Broken as broken:
            connection.close()
            self.rest()
            if changes:
                raise unknown_call(name, self.peer_name(), "the connection was lost before the answer came") from None
            self.why = str(broken)
            raise NotSent(self.why) from None
        except BaseException:
            connection.close()
            raise
        self.put_back(connection)
        if isinstance(reply, ShuttingDown):
            self.rest()
            self.why = str(reply)
            raise NotSent(self.why)
        self.worked()
        return read_answer(command, reply, changes, self.peer_name())

    def gave_no_answer(self, seconds: float) -> Unavailable:
        """The error for a deadline that passed while the daemon couldn't be reached."""
        return no_answer(self.peer_name(), seconds, self.why)

    def close(self) -> None:
        """Close all connections, also those that a thread uses."""
        self.closed = True
        for reference in self._all.copy():
            if (connection := reference()) is not None:
                connection.shut_down()
        while (free := self.take()) is not None:
            free.close()

    # ------------------------------------------------------------------ inside

    def _new_session(self) -> bytes:
        return self._random.randbytes(commands.OWN_SESSION_ID)

    def _fence(self, until: float) -> Steps[None]:
        """Make sure that nothing of the sessions in doubt can take effect any more.

        :raises NotSent: that can't be had in time.
        """
        for session in self.in_doubt.sessions():
            fencing = PooledConnection(self.network, session, self.in_doubt)
            try:
                yield from self._open(fencing, until)
            finally:
                fencing.close()
            self.in_doubt.fenced(session)

    def _open(self, connection: PooledConnection, until: float) -> Steps[None]:
        if not connection.session:
            connection.session = self._new_session()
        try:
            yield from connection.open(self.target, self._greeted, until)
        except REFUSALS as error:
            raise type(error)(f"{self.peer_name()}: {error}") from None
        except (Broken, PyshardError) as error:
            if isinstance(error, ClientClosed):
                raise
            if self.network.now() < until or self.why in _NO_REASON:
                self.why = str(error)  # else it says no more than that the caller's time was over
            self.rest()
            self.on_failure(self.peer_name(), self.why)
            raise NotSent(self.why) from None
        self.why = _SILENT

    def _greeted(self, greeting: Greeting) -> None:
        self.role = greeting.role
        self.check(greeting)
