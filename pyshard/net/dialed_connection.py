"""A connection that this side dialed, once it is there: what the peer may ask over it, and how it ends.

Rules:

- The peer may ask for a sign of life (`Ping`), and may ask this side to leave (`GoAway`). It may not ask much
  (`pyshard.client_core.questions_from_daemons`).
- A connection that is leaving takes no new calls. It closes when its last answer is there.
- While only small answers are owed, or the greeting, nothing larger is taken: else hostile peers could have this side
  hold as many of the largest boxes as it has connections.
- Its owner hears of the loss before its calls fail, so that nobody makes the next call on a dead connection.
- Where TLS failed, calls fail with `NotTrusted` and the reason in words. Where the peer broke the protocol, the owner
  and the calls are told how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.client_core.conversation import Broken
from pyshard.client_core.questions_from_daemons import QuestionAllowance
from pyshard.errors import NotTrusted, PyshardError
from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.protocol import commands
from pyshard.protocol.boxes import SMALL, Box, Limits
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.command_boxes import Command
from pyshard.security.tls import handshake_errors

#: Why a connection is leaving that has given way to another one.
GAVE_WAY = "its place was wanted for a connection to another shard"


@implementer(IHandshakeListener)
class DialedConnection(BoundedAMP):
    """The connection of a `pyshard.net.reconnecting_dialer.Dialer`.

    :ivar lost: called once with the reason when the connection is lost; None: nobody wants to know.
    :ivar gone: called once when it has ended, whoever wanted that, and its file is given back; None: as above.
    :ivar kept: something at the other side belongs to it, such as a snapshot: it gives way to no other one.
    :ivar small: only small answers are owed, so no larger box is taken.
    :ivar leaving: nothing more is to be asked.
    :ivar why_leaving: why not, in one line.
    """

    lost: Callable[[Failure], None] | None = None
    gone: Callable[[], None] | None = None
    kept = False
    leaving = False
    why_leaving = "it shut down"
    _handshaken = False

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock, SMALL)
        self.small = True
        self._allowance = QuestionAllowance(self.heard)

    def expect_small(self) -> None:
        """Take no larger box than a small answer, since one is about to be asked for and nothing else is owed."""
        self.small = True
        self.set_limits(SMALL)

    def expect_large(self) -> None:
        """Take any box, from the next one on."""
        self.small = False
        self.set_limits(Limits())

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`; called on connections with TLS only."""
        self._handshaken = True

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(commands.Ping, cls.ping), (commands.GoAway, cls.leave)]

    def ping(self) -> Arguments:
        """Give the other side a sign of life."""
        return {}

    def excess(self) -> str | None:
        return self._allowance.breach(self._parser.size, self.heard)

    def leave(self) -> Arguments:
        """Close the connection when the other side owes no answer any more."""
        self.leaving = True
        self._clock.callLater(0, self._close_if_done)  # when this was answered
        return {}

    def give_up(self) -> None:
        """As `leave`, since this side wants the connection's place for another one."""
        self.why_leaving = GAVE_WAY
        self.leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._broken_by and not self._tls_found:
            reason = Failure(Broken(f"the peer broke the protocol: {self._broken_by}"))
        if self.lost is not None:
            lost, self.lost = self.lost, None
            lost(reason)
        error = self._not_trusted(reason)
        super().connectionLost(reason if error is None else Failure(error))
        if self.gone is not None:
            gone, self.gone = self.gone, None
            gone()

    def _not_trusted(self, reason: Failure) -> PyshardError | None:
        """The error of TLS that ended the connection before the peer said anything; None: it was something else."""
        if self._parser.boxes:
            return None
        if self._tls_found:
            return NotTrusted(f"the peer speaks TLS, and this side was not told to; {handshake_errors.SEE}")
        return handshake_errors.tls_error(
            reason, self.transport, self._handshaken
        ) or handshake_errors.closed_unanswered(reason)

    def _answer_received(self, box: Box) -> None:
        super()._answer_received(box)
        if self.leaving:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.transport is not None and not self.owed:
            self.close()
