"""What a bootstrap asks one shard, or one replica of it, over the connection that its reconciler has.

Rules:

- no large box is taken over that connection, but while an item is owed, or the reports of very many moves;
- what is asked all the time waits after long answers (`pyshard.bootstrap.answer_pace`).
"""

from __future__ import annotations

from typing import cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.answer_pace import AnswerPace
from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.errors import BadRequest, PyshardError, Unavailable, plain, shortened
from pyshard.metrics.line_pace import LinePace
from pyshard.model.bounded_json import decode_json
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import ReadItem
from pyshard.protocol.move_reports import MoveReports, decode_reports
from pyshard.replication.wishes import ReplicaReport
from pyshard.settings import settings

#: Bytes of its statistics: those of a shard with the most ranges have half of them.
LONGEST_STATISTICS = 1024 * 1024

_MOVES_WITHIN = 2.0  # seconds that a shard has to say how its moves are
_REPORT_WITHIN = 0.5  # seconds that a replica has to say how it is: others wait for that
_LONGEST_REPORT = 64 * 1024  # bytes of what a replica says of itself: its longest text has 2,000 characters
_LOGGED = 500  # characters of a reason that the log has
_MANY = 200  # moves: the reports of so many come in a small box, whatever errors they have


class QuestionedShard(Service):
    """One shard, or one replica of it, that can be asked while there is a connection.

    :param bootstrap: has the state.
    :param shard: the shard's name.
    :param address: where it is.
    :param clock: times answers.
    """

    _log = Logger()

    def __init__(self, bootstrap: Bootstrap, shard: str, address: str, clock: IReactorTime) -> None:
        self._bootstrap = bootstrap
        self.shard = shard
        self.address = address
        self._clock = clock
        self._reading = False  # whether it is asked for an item
        self._reports_pace = LinePace(settings.SHARD_LINES)
        self._of_replica, self._of_moves = AnswerPace(), AnswerPace()

    @property
    def connection(self) -> DialedConnection | None:
        """Over which it is asked; None: there is none now."""
        raise NotImplementedError

    def ask_replica(self) -> Deferred[ReplicaReport | None]:
        """What a replica says of itself; None: it can't be asked now, or doesn't answer in time."""
        connection = self.connection
        if connection is None or self._of_replica.rests(self._clock.seconds()):
            return succeed(None)

        def read(answer: dict[str, object]) -> ReplicaReport:
            text = cast("bytes", answer["report"])
            self._of_replica.answered(len(text), self._clock.seconds())
            return decode_json(text, ReplicaReport, "report of a replica: found what can't be read", _LONGEST_REPORT)

        self._expect(connection)
        asked = connection.call(commands.ReportReplica, _REPORT_WITHIN, name=self.shard)
        return asked.addCallback(read).addErrback(self._not_told, "its replica")

    def switch_primary(self, replica: str) -> Deferred[None]:
        """Tell a primary to have another member lead.

        :param replica: the member's address; empty: it is to go on itself.
        :raises Unavailable: (in the Deferred) it can't be told now, or doesn't answer in time.
        :raises PyshardError: (in the Deferred) as it refuses it.
        """
        connection = self.connection
        if connection is None:
            return fail(Unavailable(f"the primary of shard {self.shard!r}, at {self.address}, can't be reached now"))

        def not_told(failure: Failure) -> None:
            if failure.check(PyshardError):
                failure.raiseException()
            raise Unavailable(f"the primary of shard {self.shard!r} can't be told: {reason_of(failure)}")

        told = connection.call(commands.SwitchPrimary, settings.TIMEOUT, name=self.shard, replica=replica)
        return told.addCallback(lambda _: None).addErrback(not_told)

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What the shard says of its moves; None: it can't be asked now, or doesn't answer in time."""
        connection = self.connection
        if connection is None or self._of_moves.rests(self._clock.seconds()):
            return succeed(None)

        def read(answer: dict[str, object]) -> MoveReports:
            text = cast("bytes", answer["reports"])
            self._of_moves.answered(len(text), self._clock.seconds())
            return decode_reports(text)

        self._expect(connection, len(self._bootstrap.state.moves) > _MANY)
        asked = connection.call(commands.ReportMoves, _MOVES_WITHIN)
        return asked.addCallback(read).addErrback(self._not_told, "its moves")

    def ask_statistics(self) -> Deferred[bytes]:
        """How the shard fares, in JSON.

        :raises Unavailable: (in the Deferred) it can't be asked now, doesn't answer in time, or tells too much.
        """
        connection = self.connection
        if connection is None:
            return fail(Unavailable(f"shard {self.shard!r} can't be reached now"))

        def not_told(failure: Failure) -> bytes:
            raise Unavailable(f"shard {self.shard!r} can't be asked: {reason_of(failure)}")

        def bounded(answer: dict[str, object]) -> bytes:
            stat = cast("bytes", answer["stat"])
            if len(stat) > LONGEST_STATISTICS:
                raise BadRequest(f"it tells {len(stat):,} bytes, expected at most {LONGEST_STATISTICS:,}")
            return stat

        self._expect(connection)
        asked = connection.call(commands.Stat, settings.TIMEOUT)
        return asked.addCallback(bounded).addErrback(not_told)

    def read_item(self, run: ReadItem) -> Deferred[bytes | PyshardError | None]:
        """The item of one key, as the shard answers it; None: there is none; or why it isn't given.

        There is one question at a time, until it is answered, since an answer has up to 16 MiB.

        :param run: has one key.
        :raises Unavailable: (in the Deferred) it can't be asked now, or doesn't answer in time.
        :raises BadRequest: (in the Deferred) its answer can't be read.
        """
        connection = self.connection
        if connection is None:
            return fail(Unavailable(f"shard {self.shard!r} can't be reached now"))
        if self._reading:
            return fail(Unavailable(f"shard {self.shard!r} is asked for another key just now; try again"))
        self._reading = True
        result: Deferred[bytes | PyshardError | None] = Deferred()

        def late(_: object, seconds: float) -> Failure:
            return Failure(TimeoutError(f"no answer within {seconds:g} s"))

        result.addTimeout(settings.LOOK_UP, self._clock, onTimeoutCancel=late)

        def answered(outcome: bytes | PyshardError | Failure | None) -> None:
            self._reading = False
            result.callback(outcome)  # a Failure fails it

        def not_read(failure: Failure) -> Failure:
            if failure.check(BadRequest):
                return failure
            return Failure(Unavailable(f"shard {self.shard!r} can't be asked: {reason_of(failure)}"))

        epoch = self._bootstrap.state.epoch
        self._expect(connection, is_large=True)
        asked = connection.callRemote(commands.Apply, epoch=epoch, batch=encode_runs([run]))
        asked.addCallback(lambda answer: decode_answers(answer["answers"], [run])[0].outcomes()[0])
        asked.addBoth(answered)
        return result.addErrback(not_read)

    @staticmethod
    def _expect(connection: DialedConnection, is_large: bool = False) -> None:
        """Take a large box, or, if nothing else is owed, none any more: something is asked now."""
        if is_large:
            connection.expect_large()
        elif not connection.owed:
            connection.expect_small()

    def _not_told(self, failure: Failure, of: str) -> None:
        """It is asked again soon. Silence, and what is wrong with the connection, shows elsewhere."""
        if not failure.check(PyshardError) or (more := self._reports_pace.ending(self._clock.seconds())) is None:
            return
        why = shortened(plain(reason_of(failure)), _LOGGED)
        tell = self._log.warn if failure.check(BadRequest) else self._log.debug
        tell("shard {shard} at {at}: {of}: {why}{more}", shard=self.shard, at=self.address, of=of, why=why, more=more)
