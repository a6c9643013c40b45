"""Shards that answer the bootstrap as none of ours would: the rest of the cluster goes on."""

from __future__ import annotations

import msgspec
import pytest
from bootstrap.watching import Bench, about
from deferreds import change_state, result
from twisted.internet.defer import fail, succeed

from pyshard.bootstrap.bootstrap import Condition
from pyshard.bootstrap.questioned_shard import QuestionedShard
from pyshard.errors import BadRequest, WrongIdentity
from pyshard.model.cluster_state_json import from_json, to_json
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.protocol import commands
from pyshard.protocol.batch_operations import ReadItem
from pyshard.protocol.boxes import ANSWER, serialize
from pyshard.settings import settings
from pyshard.shard import protocol
from pyshard.shard.protocol import ShardProtocol
from pyshard.storage import MemoryStore


def restart(bench: Bench, identity: str) -> None:
    """Have shard high come back with a new store, and be dialed."""
    if "high" in bench.shards:
        bench.kill_shard("high")
    bench.start_shard("high", MemoryStore(identity, bench.clock.seconds))
    bench.network.advance(settings.RETRY_LONGEST)


def test_an_identity_past_all_bounds(bench: Bench, log_lines: list[str]) -> None:
    """It comes into no state, which nobody could read then, and that shard alone isn't ready."""
    bench.start(["low", "bootstrap"], 1)
    for long in ("x" * (settings.MAX_NAME + 1), "x" * 60_000):
        restart(bench, long)
        assert bench.conditions() == [Condition.READY, Condition.UNREACHABLE]
        assert f"identity: found {len(long):,} characters, expected at most 100" in bench.detail("high")
    assert [from_json(to_json(state)) for state in bench.saved] == bench.saved
    assert len(bench.saved) == 1  # that of the other shard
    assert all(len(line) < 700 for line in about(log_lines, "high"))
    restart(bench, "x" * settings.MAX_NAME)
    assert bench.everybody_knows()


def test_a_state_that_nobody_could_read(running: Bench) -> None:
    """It isn't saved, whoever made it."""
    before = running.state
    with pytest.raises(BadRequest, match="identity"):
        change_state(running.bootstrap, before.with_identity("low", "x" * 101, durable=False))
    assert running.saved[-1] == running.state == before


def test_many_reasons(running: Bench, log_lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that words its refusal anew each time, at length, has few lines; in the end the last one is right."""
    refusals = iter(range(1000))

    def refuse(*_: object) -> object:
        return fail(WrongIdentity(f"reason {next(refusals)} " + "x" * 50_000))

    monkeypatch.setattr(running.shards["high"].shard, "configure", refuse)
    change_state(running.bootstrap, running.state.with_index("pages"))
    seconds = 60
    for _ in range(seconds):
        running.network.advance(1)
    assert next(refusals) > 0.7 * seconds
    lines = about(log_lines, "high")[1:]
    assert 5 < len(lines) <= 5 + settings.SHARD_LINES * seconds
    assert all(len(line) < 700 for line in lines)
    assert sum(int(line.split("; ")[1].split()[0]) for line in lines if "left out" in line) > 20
    assert len(running.detail("high")) <= 2000
    monkeypatch.undo()
    running.network.advance(2)
    assert about(log_lines, "high")[-1] == "info: shard high at 127.0.0.1:5051: ready"
    running.kill_shard("high")
    running.network.advance(10)
    assert about(log_lines, "high")[-1].startswith(
        "warn: shard high at 127.0.0.1:5051: unreachable: connection refused"
    )


def test_a_new_store_each_time(running: Bench) -> None:
    """A shard in memory that is never the same makes ten epochs a minute, and is taken up again when it stays."""
    running.network.advance(60)
    before = running.state.epoch
    for number in range(50):
        restart(running, f"another{number}")
    assert running.state.epoch - before == settings.NEW_STORES
    assert running.conditions() == [Condition.READY, Condition.REFUSED]
    assert "came with 10 new stores within a minute" in running.detail("high")
    running.network.advance(60)
    assert running.everybody_knows()
    assert running.state.epoch - before == settings.NEW_STORES + 1


def test_reports_that_nobody_can_read(running: Bench, log_lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The move waits, and the log says why, in few lines; all else goes on. So does the move when they can be read."""
    store = {"identity": "x" * 60_000, "incarnation": ""}
    text = msgspec.json.encode({"given": {}, "taken": {"1": {"store": store}}})
    monkeypatch.setattr(protocol, "encode_reports", lambda _: text)
    change_state(running.bootstrap, running.state.with_moves([Transfer("low", "high", ((0, 100),))]))
    running.network.advance(30)
    assert [move.phase for move in running.state.moves] == [Phase.PLANNED]
    assert running.conditions() == [Condition.READY] * 2
    lines = [line for line in about(log_lines, "high") if "reports of moves: found what can't be read" in line]
    assert 5 < len(lines) <= 5 + settings.SHARD_LINES * 40
    assert all(len(line) < 700 for line in lines)
    monkeypatch.undo()
    running.network.advance(5)
    assert not running.state.moves
    assert running.everybody_knows()


def takes_large(shard: QuestionedShard) -> bool:
    """Whether a bootstrap takes a large box of a shard now."""
    assert shard.connection is not None
    return not shard.connection.small


def test_large_signs_of_life(running: Bench, log_lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard whose answers to them are large is cut off, also behind an item, which may be large."""
    assert running.service is not None
    shard = running.service.reconcilers.named("high")
    assert shard is not None
    assert not takes_large(shard)
    read = shard.read_item(ReadItem("", [b"1"]))
    assert takes_large(shard)
    running.network.advance(1.1)
    assert result(read) is None
    assert not takes_large(shard)
    large = {b"%d" % place: bytes(60_000) for place in range(9)}
    answer = (lambda *_: succeed(None)), (lambda _, __, tag: serialize({ANSWER: tag} | large))
    monkeypatch.setitem(ShardProtocol._direct, commands.Ping.commandName, answer)
    running.network.advance(1.1)
    assert any("past 320 keys or 524,288 bytes" in line for line in about(log_lines, "high"))
    assert not takes_large(shard)  # it was dialed again
