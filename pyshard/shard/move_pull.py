"""A pull of a move, and the connection to its source: it is dialed for as long as the move goes on.

Rules:

- It dials where the newest state says that the source is, also when that changes meanwhile. The copy goes on from where
  it is.
- It pulls from that store alone which the state names. When another replica leads the source, it goes on with that one.
- What it failed of last is told until it is past that place.
"""

from __future__ import annotations

from random import Random

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, ShardFull, WrongIdentity, shortened
from pyshard.metrics.line_pace import LinePace
from pyshard.model.range_moves import RangeMove, StoreId, TargetReport
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol.greeting import Greeting
from pyshard.protocol.move_reports import MAX_REASON
from pyshard.settings import settings
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.pull_progress import PullProgress
from pyshard.shard.range_pull import RangePull

_log = Logger()


class MovePull:
    """One pull, and the connection to its source.

    :param move: what is pulled.
    :param pull: takes it.
    :param clock: times attempts to connect.
    :param random: jitter.
    """

    def __init__(self, move: RangeMove, pull: RangePull, clock: IReactorTime, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._running: Deferred[None] | None = None
        self._dialer: Dialer | None = None
        self._address: tuple[str, int] | None = None  # where the source is dialed
        self.move = move
        self.pull = pull
        self._why = ""  # it failed last
        self._full = False  # whether for want of room
        self._dropping = False  # whether this side ends the connection just now
        self._failed_at = PullProgress()  # how far it was then
        self._pace = LinePace(settings.SHARD_LINES)

    @property
    def error(self) -> str:
        """Why it doesn't go on just now, in one line; empty: it does."""
        return "" if self.pull.progress.is_past(self._failed_at) else self._why

    def completed(self, report: TargetReport) -> TargetReport:
        """The report of this pull, with why it doesn't go on."""
        failing = bool(self.error)
        return attrs.evolve(
            report,
            full=self._full and failing,
            failed=failing and self.pull.progress.copies == self._failed_at.copies,
            stalled=self.pull.stall.seconds(self._clock.seconds()),
        )

    def pull_from(self, dial: Dial, move: RangeMove, host: str, port: int) -> None:
        """Dial the source, and pull; anew if it was at another address. What is copied stays.

        :param move: as the state has it now.
        """
        self.move = move
        if self._address == (host, port):
            return
        self.stop()
        self._address, self._why = (host, port), ""  # what failed there says nothing of here
        self._dialer = Dialer(self._clock, dial(host, port), self, self._random)
        self._dialer.dial()

    def stop(self) -> None:
        """End the pull, and the connection."""
        dialer, self._dialer = self._dialer, None
        self._address = None
        if self._running is not None:
            self._running.cancel()
        if dialer is not None:
            dialer.close()

    # ------------------------------------------------------------------ what the dialer asks

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return self._dialer is not None

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`."""
        found = StoreId(greeting.identity, greeting.incarnation)
        if found != self.move.source_store:
            raise WrongIdentity(f"the store of shard {self.move.source!r} isn't the one with which the move began")

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""
        source = FollowedShard(connection, self.move.name, self.move.ranges, self._clock)
        self._running = Deferred.fromCoroutine(self.pull.run(source))
        self._running.addErrback(self._ended, connection)

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`. A pull that asks nothing just now hasn't noticed. One that has failed has said why."""
        if self._running is not None:
            self._running.cancel()
        if not self._dropping:
            self._note(reason)

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`: it is dialed again all the same."""

    # ------------------------------------------------------------------ inside

    def _ended(self, failure: Failure, connection: DialedConnection) -> None:
        """The pull has ended: begin it anew over another connection, unless it was stopped, or has one."""
        self._running = None
        if failure.check(CancelledError) is None:
            self._note(reason_of(failure), failure.check(ShardFull) is not None)
        if self._dialer is not None and self._dialer.connection is connection:
            self._dropping = True
            self._dialer.drop()
            self._dropping = False

    def _note(self, why: str, full: bool = False) -> None:
        if self._dialer is None:
            return
        self._full, why = full, shortened(why, MAX_REASON)  # the source may have written it
        known, self._why, self._failed_at = self.error, why, attrs.evolve(self.pull.progress)
        if why != known and (more := self._pace.ending(self._clock.seconds())) is not None:
            move = self.move
            _log.warn("{move} from {source} waits: {why}{more}", move=move.name, source=move.source, why=why, more=more)
