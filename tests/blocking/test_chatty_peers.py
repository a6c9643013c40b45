"""Peers that always have something to say, and never what they are asked for: no wait lasts longer for it.

Since something has always arrived, none of the waits for it ever ends because of its time. What they say is a box that
never ends, byte by byte: to ask on and on would end the connection (tests/test_questions_of_daemons.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest

from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import PlainSocket, Steps, Wanted, run
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.client_core.conversation import Broken
from pyshard.protocol import commands
from pyshard.protocol.boxes import serialize
from pyshard.protocol.greeting import Greeting

DEADLINE = 1.0


class ChattySocket:
    """A peer that sends a box without end, and answers nothing but the first question, if it is told to.

    :param sockets: where time passes.
    :param greets: whether it answers the first question, which is `Hello`.
    """

    def __init__(self, sockets: ChattySockets, greets: bool) -> None:
        self._sockets = sockets
        self._greets = greets
        self._begun = False

    def is_current(self) -> bool:
        """See `PlainSocket`."""
        return True

    def send(self, data: bytes | memoryview) -> int:
        """See `PlainSocket`."""
        return len(data)

    def receive(self) -> bytes | None:
        """See `PlainSocket`."""
        self._sockets.time += 0.01
        if self._greets:
            self._greets = False
            greeting = Greeting(commands.PROTOCOL, "shard", "", "", "", 0, False, "")
            return serialize({**commands.Hello.answer(attrs.asdict(greeting)), b"_answer": b"1"})
        if self._begun:
            return b"x"
        self._begun = True
        return b"\0\x01k\xff\xff"

    def failure(self) -> str | None:
        """See `PlainSocket`."""
        return None

    def wait(self, writing: bool, until: float) -> bool:
        """See `PlainSocket`."""
        return True

    def shut_down(self) -> None:
        """See `PlainSocket`."""

    def close(self) -> None:
        """See `PlainSocket`."""


class ChattySockets:
    """A network of such peers.

    :param greets: see `ChattySocket`.
    """

    def __init__(self, greets: bool) -> None:
        self._greets = greets
        self.time = 0.0

    def now(self) -> float:
        """See `Network`."""
        return self.time

    def sleep(self, until: float) -> None:
        """See `Network`."""
        self.time = max(self.time, until)

    def addresses(self, host: str, port: int, until: float) -> Steps[Sequence[object]]:
        """See `Network`."""
        yield from ()
        return [host]

    def open(self, address: object) -> ChattySocket:
        """See `Network`."""
        return ChattySocket(self, self._greets)

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """See `Network`."""
        return [one for one, _ in wanted]


def chatty(greets: bool) -> tuple[ChattySockets, PooledConnection, Steps[None]]:
    """A connection to such a peer, and the steps that open it."""
    sockets = ChattySockets(greets)
    connection = PooledConnection(sockets, b"s" * 16, SessionsInDoubt())
    return sockets, connection, connection.open(ConnectionTarget("a", 1), lambda _: None, DEADLINE)


def test_a_peer_that_talks_and_never_greets() -> None:
    """Bytes that go on coming don't put off the end of an attempt to connect."""
    sockets, _, opening = chatty(False)
    with pytest.raises(Broken, match="no connection and no word of a pyshard daemon within 1 s"):
        run(sockets, opening)
    assert sockets.time < DEADLINE + 0.02


@pytest.mark.parametrize("way", ["at once", "beside others", "any"])
def test_a_peer_that_talks_and_never_answers(way: str) -> None:
    """Bytes that go on coming don't put off the end of a wait for an answer."""
    sockets, connection, opening = chatty(True)
    run(sockets, opening)
    tag = connection.conversation.call(commands.Ping)
    until = sockets.time + DEADLINE
    ways: dict[str, Callable[[], object]] = {
        "at once": lambda: connection.answer_at_once(tag, until),
        "beside others": lambda: run(sockets, connection.answer(tag, until)),
        "any": lambda: run(sockets, connection.any_answer(until)),
    }
    with pytest.raises(TooLate):
        ways[way]()
    assert sockets.time < until + 0.02
