"""What a bootstrap is answered by a shard is bounded before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from bootstrap.states import Log
from bootstrap.watching import about
from deferreds import change_state, result
from model.cluster_state.states import STATE
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.questioned_shard import LONGEST_STATISTICS, QuestionedShard
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.errors import BadRequest, PermissionDenied, Unavailable
from pyshard.model.range_plan import Transfer
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import move_reports
from pyshard.protocol.move_reports import MoveReports
from pyshard.replication.wishes import ReplicaReport


class AnsweringShard(QuestionedShard):
    """A shard that answers everything in the same way.

    :ivar answer: the value of each argument, or an error.
    :ivar asked: how often it was asked.
    :ivar owed: answers that it owes.
    :ivar large: whether a large box was taken when it was asked last.
    """

    answer: bytes | Exception = b""
    asked = owed = 0
    large = False
    clock: Clock

    @property
    def connection(self) -> DialedConnection:
        return cast("DialedConnection", self)

    def call(self, *_: object, **__: object) -> Deferred[dict[str, object]]:
        """Answer."""
        self.asked += 1
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return succeed(dict.fromkeys(("stat", "report", "reports"), self.answer))

    def expect_small(self) -> None:
        """Take no large box."""
        self.large = False

    def expect_large(self) -> None:
        """Take one."""
        self.large = True


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
    shard.clock.advance(1)
    shard.answer = move_reports.encode_reports(MoveReports())
    assert result(shard.ask_moves()) == MoveReports()
    shard.answer = b" " * move_reports.LONGEST + move_reports.encode_reports(MoveReports())
    assert result(shard.ask_moves()) is None
    assert [line.split(", expected at most ")[1] for line in about(log_lines, "high")] == ["65,536", "4,194,304"]


def test_long_reports(shard: AnsweringShard) -> None:
    """Who gives them is asked seldom, of its moves and of its replica, each by itself; also if they can't be read."""
    questions: list[Callable[[], Deferred[Any]]] = [shard.ask_replica, shard.ask_moves]
    for ask in questions:
        shard.asked, shard.answer = 0, b" " * 512 * 1024
        for _ in range(600):
            assert result(ask()) is None
            shard.clock.advance(0.05)
        assert 50 <= shard.asked <= 70
    shard.asked, shard.answer = 0, move_reports.encode_reports(MoveReports())
    for _ in range(600):
        result(shard.ask_moves())
        shard.clock.advance(0.05)
    assert shard.asked > 580


def test_large_boxes() -> None:
    """None is taken, but for the reports of very many moves, and while one may be owed yet."""
    store, clock = MemoryStateStore(STATE), Clock()
    shard = AnsweringShard(Bootstrap(store, clock, "b1", store.stored), "high", "10.0.0.2:5051", clock)
    shard.answer = move_reports.encode_reports(MoveReports())
    asked = list[bool]()
    for slots in (range(200), range(200, 201), range(0)):
        transfers = [Transfer("low", "high", ((slot, slot + 1),)) for slot in slots]
        change_state(shard._bootstrap, shard._bootstrap.state.with_moves(transfers))
        result(shard.ask_moves())
        asked.append(shard.large)
    assert asked == [False, True, True]
    shard.owed = 1
    result(shard.ask_replica())
    assert shard.large
    shard.owed = 0
    for ask in (shard.ask_replica, shard.ask_statistics):
        shard.expect_large()
        ask().addErrback(lambda _: None)
        assert not shard.large


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
