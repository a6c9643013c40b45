"""One connection of a pool: dialed when it is needed, used by one call at a time, and closed when a call is cut short.

Rules:

- Only the call that has taken the connection out of its pool uses it.
- If a call ends before its answers came, and no other thread takes it over (`pyshard.blocking.shard_pool`), the
  connection is closed. So what comes later is nobody's.
- A change that was sent and not answered leaves the connection's session *in doubt*: the change may still come. The
  pool is told the session's id. Before it asks the daemon anything else, it opens a new connection with that id. From
  then on nothing that was sent over the old connection takes effect (`pyshard.server.session_fence`).
- A connection that was silent for long is pinged before it is used. One that has ended meanwhile is dialed anew.
- A connection that was opened before a fork is of no use in the child.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING

from pyshard.blocking.address_race import TooLate, broken, dial
from pyshard.blocking.calling_thread_tasks import Interest, Network, PlainSocket, Steps, run
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.fork_count import fork_count
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.client_core.conversation import Broken, Conversation, Reply
from pyshard.errors import ClientClosed, NotTrusted, PyshardError
from pyshard.protocol import commands
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

if TYPE_CHECKING:
    from pyshard.security.tls.byte_filter import TlsFilter

_LOOK = 0.05  # seconds of idleness after which a connection is looked at before it is used: it may have ended


class PooledConnection:
    """One connection.

    :param network: gives sockets and the time.
    :param session: the id of its session with the daemon.
    :param in_doubt: is told of changes: when they are sent, answered, or cut short.
    :ivar conversation: questions and answers; only while it is open.
    :ivar changing: a change was sent, and its answer hasn't come.
    :ivar at_rest: its thread waits for bytes, so that an interruption finds everything in order.
    :ivar target: where it leads; only while it is open.
    """

    __slots__ = (
        "__weakref__", "_forks", "_in_doubt", "_network", "_reference", "_socket", "_tls", "_unsent",
        "at_rest", "changing", "conversation", "session", "target",
    )  # fmt: skip

    conversation: Conversation

    def __init__(self, network: Network, session: bytes, in_doubt: SessionsInDoubt) -> None:
        self._network = network
        self._in_doubt = in_doubt
        self._socket: PlainSocket | None = None
        self._tls: TlsFilter | None = None
        self._unsent: deque[bytes | memoryview] = deque()
        self._forks = fork_count()
        self._reference = weakref.ref(self)
        self.session = session
        self.changing = self.at_rest = False
        self.target: ConnectionTarget | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected and greeted, and asks may go over it."""
        socket = self._socket
        return socket is not None and self.target is not None and not self.conversation.leaving and socket.is_current()

    @property
    def heard(self) -> float:
        """When something was last heard of its peer; long ago, if it isn't open."""
        return self.conversation.heard if self.is_open else -inf

    def open(self, target: ConnectionTarget, check: Callable[[Greeting], None], until: float) -> Steps[None]:
        """Connect, present the token, and hear who answers.

        :param check: given the greeting, raises when it isn't who it should be.
        :raises Broken: there is no connection; the message says why.
        :raises PyshardError: one side refuses the other.
        """
        self.close()
        begun = self._network.now()
        until = min(until, begun + settings.TIMEOUT)
        with self._closed_on_failure(until - begun):
            self._socket = yield from dial(self._network, target.host, target.port, until)
            if target.tls is not None:
                yield from self._secure(target.tls, target.host, until)
            secret = None if target.secret is None else target.secret()
            self.conversation = Conversation(self.session, secret, self._network.now())
            self._flush()
            yield from self._more_until(lambda: self.conversation.greeted() is not None, until)
            assert self.conversation.greeting is not None
            check(self.conversation.greeting)
            self.target = target

    def freshen(self, until: float, look: bool = False) -> Steps[None]:
        """Look whether the peer is still there, if nothing was heard of it for long.

        :param until: when to give up at the latest.
        :param look: look even if something was heard just now.
        :raises Broken: it isn't, or gave no sign of life.
        """
        silence = self._network.now() - self.conversation.heard
        if silence < _LOOK and not look:
            return
        self._pull()
        if silence >= settings.HEARTBEAT:
            tag = self.conversation.call(commands.Ping)
            now = self._network.now()
            until = min(until, now + settings.TIMEOUT)
            try:
                yield from self.answer(tag, until)
            except TooLate:
                raise Broken(f"it was silent, and gave no sign of life within {max(0.0, until - now):.3g} s") from None

    def is_fresh(self, target: ConnectionTarget, now: float) -> bool:
        """Whether it is open, leads to this target, and needn't be looked at before it is used (`freshen`)."""
        socket = self._socket
        if socket is None or self.target is not target or not socket.is_current():
            return False
        return not self.conversation.leaving and now - self.conversation.heard < _LOOK

    def answer_at_once(self, tag: bytes, until: float) -> Reply:
        """Send what is to be sent, and wait for an answer, in the quick way of a call that waits for nothing else.

        :raises TooLate: it didn't come in time.
        :raises Broken: the connection ended.
        """
        self.at_rest = False
        self._flush()
        if self._unsent:
            return run(self._network, self.answer(tag, until))
        socket, answers = self._socket, self.conversation.answers
        assert socket is not None
        while (reply := answers.pop(tag, None)) is None:
            self.at_rest = True
            arrived = socket.wait(False, until)
            self.at_rest = False
            if not arrived:
                raise TooLate
            self._pull()
            if tag not in answers and self._network.now() >= until:  # it may go on sending other things
                raise TooLate
        return reply

    def answer(self, tag: bytes, until: float) -> Steps[Reply]:
        """As `answer_at_once`, while the thread waits for other things, too."""
        answers = self.conversation.answers
        self._flush()
        yield from self._more_until(lambda: tag in answers, until)
        return answers.pop(tag)

    def any_answer(self, until: float) -> Steps[None]:
        """Send what is to be sent, and wait until some answer is there.

        :raises TooLate: none came in time.
        :raises Broken: the connection ended.
        """
        self._flush()
        yield from self._more_until(lambda: bool(self.conversation.answers), until)

    def begin_change(self) -> None:
        """A change is about to be asked for."""
        self.changing = True
        self._in_doubt.sent(self._reference, self.session)

    def end_change(self) -> None:
        """All changes that were asked for have their answers."""
        if self.changing:
            self._in_doubt.answered(self.session)
            self.changing = False

    def send_some(self) -> None:
        """Send what the system takes now of what is to be sent."""
        self._flush()

    def close(self) -> None:
        """End the connection; it can be opened again. A session that is in doubt is given up, and told to the pool."""
        if self.changing:
            self._in_doubt.cut_short(self.session)
            self.changing = False
            self.session = b""
        socket, self._socket = self._socket, None
        self._tls = self.target = None
        self._unsent.clear()
        if socket is not None:
            socket.close()

    def shut_down(self) -> None:
        """End the connection under a thread that may use it."""
        socket = self._socket
        if socket is not None:
            socket.shut_down()

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _closed_on_failure(self, seconds: float) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise broken(error) from None
        except TooLate:
            self.close()
            raise Broken(f"no connection and no word of a pyshard daemon within {seconds:.3g} s") from None
        except BaseException:
            self.close()
            raise

    def _secure(self, make: Callable[[str], TlsFilter], host: str, until: float) -> Steps[None]:
        """Shake hands by TLS."""
        self._tls = tls = make(host)
        socket = self._socket
        assert socket is not None
        try:
            while not tls.shake_hands():
                self._send(tls.take())
                if self._network.now() >= until:
                    raise TooLate
                wanted = [(socket, False), (socket, True)] if self._unsent else [(socket, False)]
                if not (yield from Interest(wanted, until)):
                    raise TooLate
                self._send(b"")
                data = socket.receive()
                if data is not None:
                    tls.feed(data)
        except ConnectionError:
            raise tls.reset() from None
        except PyshardError:
            with suppress(OSError):
                self._send(tls.take())  # tells the peer what is wrong with its certificate
            raise
        self._send(tls.take())

    def _more_until(self, found: Callable[[], bool], until: float) -> Steps[None]:
        """Take what arrives until something is there.

        :raises TooLate: it wasn't in time, though other things may have come, and go on coming.
        """
        while not found():
            yield from self._more(until)
            if self._network.now() >= until and not found():
                raise TooLate

    def _more(self, until: float) -> Steps[None]:
        """Wait until something has arrived, and take it; meanwhile send what is left."""
        socket = self._socket
        assert socket is not None
        wanted = [(socket, False), (socket, True)] if self._unsent else [(socket, False)]
        if not (yield from Interest(wanted, until)):
            raise TooLate
        self._flush()
        self._pull()

    def _pull(self) -> None:
        """Take what has arrived.

        :raises Broken: the connection ended, or the peer broke the protocol.
        """
        if self._forks != fork_count():
            raise _forked()
        assert self._socket is not None
        try:
            data = self._socket.receive()
            if self._tls is not None and data is not None:
                self._tls.feed(data)
                data = self._tls.read()
        except OSError as error:
            raise broken(error) from None
        except NotTrusted as error:
            if self.target is None:
                raise
            raise Broken(str(error)) from None  # it was trusted, and may be again
        if data is None:
            return
        if not data:
            raise Broken(self._why_ended())
        self.conversation.receive(data, self._network.now())
        if self.conversation.outgoing:
            self._flush()

    def _why_ended(self) -> str:
        if self.target is None and self._tls is None:
            return "the connection was closed before any answer; perhaps the peer speaks TLS"
        return "it shut down" if self.conversation.leaving else "the connection was closed"

    def _flush(self) -> None:
        """Send what the system takes of what is to be sent.

        :raises Broken: the connection ended.
        """
        if self._forks != fork_count():
            raise _forked()
        outgoing = self.conversation.outgoing
        data = b"".join(outgoing) if len(outgoing) != 1 else outgoing[0]
        outgoing.clear()
        try:
            if self._tls is not None:
                if data:
                    self._tls.write(data)
                data = self._tls.take()
            self._send(data)
        except OSError as error:
            raise broken(error) from None

    def _send(self, data: bytes) -> None:
        """Send bytes, behind those that are left; what the system doesn't take is left."""
        socket, unsent = self._socket, self._unsent
        assert socket is not None
        if data:
            if not unsent:
                sent = socket.send(data)
                if sent == len(data):
                    return
                data = memoryview(data)[sent:]  # type: ignore[assignment]  # as `unsent` has it
            unsent.append(data)
        while unsent:
            piece = unsent[0]
            sent = socket.send(piece)
            if sent < len(piece):
                unsent[0] = memoryview(piece)[sent:]
                return
            unsent.popleft()


def _forked() -> ClientClosed:
    return ClientClosed("this process was forked in the middle of the call; the parent goes on with it")
