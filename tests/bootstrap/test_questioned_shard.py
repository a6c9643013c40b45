"""What a bootstrap is answered by a shard is bounded before it is decoded."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from bootstrap.states import Log
from bootstrap.watching import about
from deferreds import result
from twisted.internet.defer import Deferred, succeed

from pyshard.bootstrap.questioned_shard import LONGEST_STATISTICS, QuestionedShard
from pyshard.errors import Unavailable
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import move_reports
from pyshard.protocol.move_reports import MoveReports
from pyshard.replication.wishes import ReplicaReport


class AnsweringShard(QuestionedShard):
    """A shard that answers everything in the same way.

    :ivar answer: the value of each argument.
    """

    answer = b""

    @property
    def connection(self) -> DialedConnection:
        return cast("DialedConnection", self)

    def call(self, *_: object, **__: object) -> Deferred[dict[str, object]]:
        """Answer."""
        return succeed(dict.fromkeys(("stat", "report", "reports"), self.answer))


@pytest.fixture
def shard() -> AnsweringShard:
    """Called high."""
    log = Log()
    return AnsweringShard(log.bootstrap, "high", "10.0.0.2:5051", log.clock)


def test_statistics(shard: AnsweringShard) -> None:
    """Those that are too long are refused by who asked; it hears why."""
    shard.answer = b" " * LONGEST_STATISTICS
    assert result(shard.ask_statistics()) == shard.answer
    shard.answer += b" "
    with pytest.raises(Unavailable, match="it tells 1,048,577 bytes, expected at most 1,048,576"):
        result(shard.ask_statistics())


def test_reports(shard: AnsweringShard, log_lines: list[str]) -> None:
    """Those that are too long are as good as none, and the log says why."""
    report = ReplicaReport("2e", "b", True)
    shard.answer = msgspec.json.encode(report)
    assert result(shard.ask_replica()) == report
    shard.answer += b" " * 64 * 1024
    assert result(shard.ask_replica()) is None
    shard.answer = move_reports.encode_reports(MoveReports())
    assert result(shard.ask_moves()) == MoveReports()
    shard.answer += b" " * move_reports.LONGEST
    assert result(shard.ask_moves()) is None
    assert [line.split(", expected at most ")[1] for line in about(log_lines, "high")] == ["65,536", "4,194,304"]
