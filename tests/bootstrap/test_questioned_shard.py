"""What a bootstrap is answered by a shard is bounded before it is decoded."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from bootstrap.states import Log
from bootstrap.watching import about
from deferreds import result
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from pyshard.bootstrap.questioned_shard import LONGEST_STATISTICS, QuestionedShard
from pyshard.errors import BadRequest, PermissionDenied, Unavailable
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import move_reports
from pyshard.protocol.move_reports import MoveReports
from pyshard.replication.wishes import ReplicaReport


class AnsweringShard(QuestionedShard):
    """A shard that answers everything in the same way.

    :ivar answer: the value of each argument, or an error.
    """

    answer: bytes | Exception = b""
    clock: Clock

    @property
    def connection(self) -> DialedConnection:
        return cast("DialedConnection", self)

    def call(self, *_: object, **__: object) -> Deferred[dict[str, object]]:
        """Answer."""
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return succeed(dict.fromkeys(("stat", "report", "reports"), self.answer))


@pytest.fixture
def shard() -> AnsweringShard:
    """Called high."""
    log = Log()
    made = AnsweringShard(log.bootstrap, "high", "10.0.0.2:5051", log.clock)
    made.clock = log.clock
    return made


def test_statistics(shard: AnsweringShard) -> None:
    """Those that are too long are refused by who asked; it hears why."""
    shard.answer = b" " * LONGEST_STATISTICS
    assert result(shard.ask_statistics()) == shard.answer
    shard.answer = b" " * (LONGEST_STATISTICS + 1)
    with pytest.raises(Unavailable, match="it tells 1,048,577 bytes, expected at most 1,048,576"):
        result(shard.ask_statistics())


def test_reports(shard: AnsweringShard, log_lines: list[str]) -> None:
    """Those that are too long are as good as none, and the log says why."""
    report = ReplicaReport("2e", "b", True)
    shard.answer = msgspec.json.encode(report)
    assert result(shard.ask_replica()) == report
    shard.answer = msgspec.json.encode(report) + b" " * 64 * 1024
    assert result(shard.ask_replica()) is None
    shard.answer = move_reports.encode_reports(MoveReports())
    assert result(shard.ask_moves()) == MoveReports()
    shard.answer = b" " * move_reports.LONGEST + move_reports.encode_reports(MoveReports())
    assert result(shard.ask_moves()) is None
    assert [line.split(", expected at most ")[1] for line in about(log_lines, "high")] == ["65,536", "4,194,304"]


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        (b"nonsense", 55),
        (BadRequest("x" * 60_000), 55),
        (PermissionDenied("x" * 60_000), 55),
        (TimeoutError("x" * 60_000), 0),
    ],
)
def test_lines_of_the_log(shard: AnsweringShard, log_lines: list[str], answer: bytes | Exception, most: int) -> None:
    """A shard that is asked many times a second, and gives no answer that could be read, has few and short lines."""
    shard.answer = answer
    for _ in range(1000):
        assert result(shard.ask_replica()) is None
        assert result(shard.ask_moves()) is None
        shard.clock.advance(0.1)
    assert most / 2 <= len(log_lines) <= most
    assert all(len(line) < 700 for line in log_lines)
