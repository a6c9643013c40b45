"""What `plan` shows, by value."""

from __future__ import annotations

import attrs
import pytest

from pyshard.cli.config_sending import Sent, sent_lines
from pyshard.cli.layout_plan import (
    LayoutPlan,
    PlannedTransfer,
    copy_seconds,
    duration,
    layout_plan,
    loads_in,
    plan_lines,
    plan_table,
)
from pyshard.model.key_slots import SLOTS
from pyshard.model.layout_change import LayoutChange
from pyshard.model.range_plan import Transfer
from pyshard.model.shard_map import MapShard

MIB = 1024 * 1024
EMPTY = LayoutPlan([], [], [], [], [], 0.0, 0.0, 0.0)
STAT = {
    "shards": [
        {
            "name": "a",
            "documents": 100,
            "bytes": 64 * MIB,
            "limit": 1 << 30,
            "ephemeral": False,
            "ranges": [[0.0, 0.5]],
            "histogram": [[10, 90]],
            "more": "that nobody looks at",
        },
        {"name": "b", "ranges": [[0.5, 1.0]], "limit": 1 << 30, "error": "connection refused"},
        {"name": "c", "ranges": [], "limit": 1, "documents": "many"},
    ]
}


def transfer(source: str, target: str, size: int | None = None) -> PlannedTransfer:
    """Some of it."""
    return PlannedTransfer(source, target, [(0.25, 0.5)], 0.25, None if size is None else 1, size)


def test_plan() -> None:
    """Documents and bytes are those of the source's histogram; of a source that is down they aren't known."""
    loads = loads_in(STAT)
    assert list(loads) == ["a"]
    new = MapShard("new", (), 1, "127.0.0.1", 1)
    moves = [Transfer("a", "new", ((SLOTS // 4, SLOTS // 2),))]
    change = LayoutChange([new], [], ["old"], ["older"], moves, SLOTS // 4, SLOTS // 5)
    plan = layout_plan(change, loads)
    size = round(0.9 * 64 * MIB)
    moved = PlannedTransfer("a", "new", [(0.25, 0.5)], 0.25, 90, size)
    assert plan == LayoutPlan(["new"], [], ["old"], ["older"], [moved], 0.25, 0.2, size / (32 * MIB))
    assert plan_lines(plan) == [
        "New shards: new.",
        "Shards that leave the cluster now: old.",
        "All together: 25.0 % of the keyspace, about 90 documents, 57.6 MiB. The least possible: 20.0 %.",
        "Expected time: at least 2 s, at 32.0 MiB/s. Beside clients a move takes about 30 times as long.",
        "Shards that leave the cluster when this is applied again, once nothing moves: older.",
    ]
    unknown = layout_plan(attrs.evolve(change, transfers=[*moves, Transfer("b", "new", ((SLOTS // 2, SLOTS),))]), loads)
    assert [one.documents for one in unknown.transfers] == [90, None]
    assert unknown.seconds is None
    assert plan_lines(unknown)[2] == "All together: 25.0 % of the keyspace. The least possible: 20.0 %."
    table = plan_table(unknown)
    assert [str(cell) for cell in table.columns[4].cells] == ["90", "?"]


def test_time() -> None:
    """A shard has one move at a time; those of other shards go on beside it."""
    beside = [transfer("a", "c", 10), transfer("b", "d", 30)]
    assert copy_seconds(beside, pace=10) == 3
    assert copy_seconds([*beside, transfer("a", "d", 10)], pace=10) == 4
    assert copy_seconds([transfer("a", "c", 10), transfer("b", "c", 30)], pace=10) == 4
    assert copy_seconds([transfer("a", "c", 10), transfer("b", "c")]) is None
    assert copy_seconds([]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (0.2, "1 s"), (119, "119 s"), (121, "3 min"), (4000, "67 min"), (7300, "2 h 2 min")],
)
def test_duration(seconds: float, text: str) -> None:
    """Rounded up, in the unit that suits it."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("sent", "waited", "lines"),
    [
        (Sent(EMPTY, [3]), False, ["Planned move 3; watch with 'pyshard jobs --follow'."]),
        (Sent(EMPTY, [3, 4]), True, ["Planned moves 3, 4.", "Done."]),
        (Sent(EMPTY, [3, 4], [4]), True, ["Planned moves 3, 4."]),
        (Sent(EMPTY, []), False, ["Done; nothing has to move."]),
        (
            Sent(attrs.evolve(EMPTY, emptied=["c"]), [3]),
            True,
            ["Planned move 3.", "Done.", "Apply this again when nothing moves any more, so that c can leave."],
        ),
        (
            Sent(attrs.evolve(EMPTY, emptied=["c"]), None),
            False,
            [
                "Nothing to do: the cluster is like that already, or will be when its moves are done. Still to leave "
                "when this is applied again: c."
            ],
        ),
    ],
)
def test_what_is_said_at_the_end(sent: Sent, waited: bool, lines: list[str]) -> None:
    """The numbers of the moves, and what is left to do."""
    assert sent_lines(sent, waited) == lines
