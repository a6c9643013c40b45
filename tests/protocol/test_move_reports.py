"""What a shard says of its moves: it is the same behind the wire, and has bounds, whoever wrote it."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.model.range_moves import RangeMove, SourceReport, StoreId, TargetReport, next_step
from pyshard.protocol.move_reports import MAX_REASON, MoveReports, decode_reports, encode_reports
from pyshard.settings import settings

STORE = StoreId("one", "1")
TAKEN = TargetReport(
    STORE,
    complete=True,
    bytes_behind=1,
    seconds_behind=2.5,
    sealed=3,
    copies=4,
    documents=5,
    size=6,
    expected=7,
    rate=8.5,
    differed=1,
    error="why",
    full=True,
    chasing=9.5,
    stalled=10.5,
)


def of_hostile_shard(**fields: object) -> bytes:
    """The text of a shard that writes what it likes."""
    report: dict[str, Any] = msgspec.to_builtins(attrs.asdict(TAKEN)) | fields
    return msgspec.json.encode({"given": {}, "taken": {"7": report}})


def test_the_same_behind_the_wire() -> None:
    """What is reported is read."""
    reports = MoveReports({1: SourceReport(STORE, True)}, {7: TAKEN})
    assert decode_reports(encode_reports(reports)) == reports
    assert decode_reports(of_hostile_shard()) == MoveReports({}, {7: TAKEN})


@pytest.mark.parametrize("length", [MAX_REASON + 1, 1_000_000])
def test_a_long_reason(length: int) -> None:
    """It is cut where it is reported, and again where it is read: a shard may be another program."""
    cut = "x" * (MAX_REASON - 3) + "..."
    encoded = encode_reports(MoveReports({}, {7: attrs.evolve(TAKEN, error="x" * length)}))
    assert len(encoded) < MAX_REASON + 500
    assert decode_reports(encoded).taken[7].error == cut
    assert decode_reports(of_hostile_shard(error="x" * length)).taken[7].error == cut
    assert decode_reports(of_hostile_shard(error="x" * MAX_REASON)).taken[7].error == "x" * MAX_REASON


def test_a_reason_is_one_line() -> None:
    """It goes into logs, and to terminals."""
    read = decode_reports(of_hostile_shard(error="\n\x1b[2J" * 1000)).taken[7].error
    assert read.isprintable()
    assert len(read) == MAX_REASON


def test_a_move_that_is_cancelled_for_a_long_reason() -> None:
    """There is room for the reason in the cluster's state: without it nothing of the state could be saved."""
    move = RangeMove(7, "a", "b", ((1, 2),)).begun(STORE, STORE)
    reports = decode_reports(of_hostile_shard(error="x" * 10_000, full=True))
    cancelled = next_step(move, None, attrs.evolve(reports.taken[7], differed=0), 0.0)
    assert cancelled is not None
    assert cancelled.why == f"the target has no room: {'x' * (MAX_REASON - 3)}..."
    assert len(move.cancelled("x" * 10_000).why) == 2000


@pytest.mark.parametrize(
    "fields",
    [
        {"store": {"identity": "x" * (settings.MAX_NAME + 1), "incarnation": ""}},
        {"store": {"identity": "", "incarnation": "x" * (settings.MAX_NAME + 1)}},
        {"documents": 2**63},
        {"copies": -1},
        {"rate": "fast"},
    ],
)
def test_what_a_state_has_no_room_for(fields: dict[str, object]) -> None:
    """Ids and numbers beyond their bounds are refused, in a short line."""
    with pytest.raises(BadRequest, match=r"^reports of moves: found what can't be read: Expected") as refused:
        decode_reports(of_hostile_shard(**fields))
    assert len(str(refused.value)) < 200


def test_too_many_reports() -> None:
    """There are no more than a cluster has moves."""
    report = msgspec.to_builtins(attrs.asdict(SourceReport(STORE)))
    for number in (settings.MAX_MOVES, settings.MAX_MOVES + 1):
        text = msgspec.json.encode({"given": {str(move): report for move in range(number)}, "taken": {}})
        if number > settings.MAX_MOVES:
            with pytest.raises(BadRequest, match=r"^reports of moves: found what can't be read"):
                decode_reports(text)
        else:
            assert len(decode_reports(text).given) == number
