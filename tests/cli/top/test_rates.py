"""`top`: rates and times out of two samples, and how they are shown, by value."""

from __future__ import annotations

from io import StringIO

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pyshard.blocking.daemon_reports import DaemonReport
from pyshard.cli.top.rates import ShardRates, percentile, rows, total
from pyshard.cli.top.samples import Figures, Sample, ShardSample, TimeHistogram, Verb, sample
from pyshard.cli.top.table import screen, top_json
from pyshard.model.shard_map import MapShard

BOUNDS = [0.001, 0.01, 0.1]


def figures(operations: int, *, uptime: float = 10, reads: int = 0, slow: int = 0) -> Figures:
    """What a shard tells: so many operations, of which some are reads, and batches, of which some are slow."""
    return Figures(
        uptime=uptime,
        operations=operations,
        documents=operations,
        bytes=operations,
        connected=2,
        waiting_bytes=7,
        verbs={"read": Verb(reads), "write": Verb(operations - reads, 4)},
        latencies={"read": TimeHistogram(BOUNDS, [reads, 0, 0, 0]), "change": TimeHistogram(BOUNDS, [0, 0, slow, 0])},
    )


def at(seconds: float, *told: Figures | None) -> Sample:
    """A sample of shards that told this."""
    names = "abcdef"
    shards = [ShardSample(names[n], f"h:{n}", 1000, one, "" if one else "away") for n, one in enumerate(told)]
    return Sample(seconds, 3, tuple(shards))


def test_rates() -> None:
    """What came between two samples, divided by the time between them."""
    [row] = rows(at(10, figures(100, reads=50)), at(12, figures(300, uptime=12, reads=150)))
    assert (row.operations, row.reads, row.changes, row.refused) == (100, 50, 50, 0)
    assert (row.documents, row.used, row.connected, row.waiting) == (300, 0.3, 2, 7)
    assert row.p50 == 0.0005
    assert row.p99 is not None
    assert row.p99 <= 0.001


def test_the_first_sample() -> None:
    """One sample has figures, and no rates."""
    [row] = rows(None, at(10, figures(100)))
    assert (row.documents, row.operations, row.p50) == (100, None, None)


def test_started_anew() -> None:
    """A shard that was started in between has no rates, and never negative ones."""
    before = at(10, figures(1000, uptime=500))
    for now in (figures(10, uptime=1), figures(10, uptime=501), figures(2000, uptime=1)):
        [row] = rows(before, at(12, now))
        assert row.operations is None


def test_started_anew_soon_after_its_start() -> None:
    """A shard that had just been started, and was again, may have a longer uptime, and more operations."""
    before = at(10, figures(100, uptime=1))
    now = at(20, figures(5000, uptime=5))
    [row] = rows(before, now)
    assert (row.operations, row.p50) == (None, None)
    assert total([row], before, now).p50 is None
    [row] = rows(before, at(14, figures(5000, uptime=5)))
    assert row.operations == 1225


def test_a_shard_that_is_away() -> None:
    """It has its reason, and is no part of the sums but for its limit."""
    before, now = at(10, figures(100), figures(100)), at(11, figures(200, uptime=11), None)
    found = rows(before, now)
    assert (found[1].error, found[1].operations) == ("away", None)
    everything = total(found, before, now)
    assert (everything.operations, everything.documents, everything.limit) == (100, 200, 2000)


def test_all_together() -> None:
    """Percentiles of all come from all batches, not from the shards' percentiles."""
    before = at(10, figures(0), figures(0))
    now = at(11, figures(98, uptime=11, reads=98), figures(2, uptime=11, slow=2))
    everything = total(rows(before, now), before, now)
    assert everything.operations == 100
    assert everything.p50 is not None
    assert everything.p50 < 0.001
    assert everything.p99 is not None
    assert 0.01 < everything.p99 <= 0.1


@pytest.mark.parametrize(
    ("counts", "part", "expected"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([1, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 0.0005),
        ([0, 10, 0, 0], 1.0, 0.01),
        ([0, 0, 0, 1], 0.99, 0.1),
        ([5, 5, 0, 0], 0.5, 0.001),
    ],
)
def test_percentile(counts: list[int], part: float, expected: float | None) -> None:
    """A percentile lies within its bucket; beyond the last bound it is that bound."""
    found = percentile(BOUNDS, counts, part)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1))
def test_percentile_has_the_part_below(counts: list[int], part: float) -> None:
    """The bucket of a percentile is the first one up to which the part lies."""
    found = percentile(BOUNDS, counts, part)
    if found is None:
        assert sum(counts) == 0
        return
    place = next(n for n in range(4) if sum(counts[: n + 1]) >= part * sum(counts))
    low, high = [0.0, *BOUNDS][place], [*BOUNDS, BOUNDS[-1]][place]
    assert min(low, high) <= found <= high + 1e-12


def test_what_shards_tell_may_be_anything() -> None:
    """What can't be read has a reason, and the other shards go on."""
    own = MapShard("a", ((0, 10),), 1000, "h", 1)
    reports = [
        DaemonReport("the bootstrap", None, "h", 0, {"uptime": 1}, 0, 0),
        DaemonReport("shard a", own, "h", 1, {"documents": "x"}, 0, 0),
        DaemonReport("shard b", own, "h", 1, {"error": "shard b gave no answer"}, 0, 0),
        DaemonReport("shard c", own, "h", 1, {"documents": 3}, 0, 0),
    ]
    found = sample(1, 3, reports).shards
    assert len(found) == 3
    assert found[0].error.startswith("what it tells can't be read: ")
    assert found[1].error == "gave no answer"
    assert found[2].figures == Figures(documents=3)


def text_of(width: int, given_rows: list[ShardRates]) -> list[str]:
    """What a terminal so wide shows."""
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(screen(given_rows, ShardRates("", operations=5.0), "about", width))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_table_fits() -> None:
    """80 columns have what matters, also with long names and large numbers; 110 and more have more."""
    row = ShardRates(
        "a-shard-with-a-long-name", "h:1", "", 123_456.0, 1.0, 2.0, 3.0, 0.000123, 1.5, 987_654_321, 10**12, 10**12
    )
    row = attrs.evolve(row, connected=2, waiting=2**30, uptime=5)
    down = ShardRates("b", "h:2", "connection refused")
    narrow = text_of(80, [row, down])
    assert max(map(len, narrow)) <= 80
    assert narrow[1].split() == ["shard", "ops/s", "p50", "p99", "documents", "full", "queue"]
    assert "987,654,321" in narrow[2]
    assert "…" not in narrow[2].replace("a-shard-with-…", "")
    assert narrow[3].split() == ["b", "down"]
    assert narrow[4].split()[0] == "all"
    assert narrow[5].strip() == "b: connection refused"
    wide = text_of(200, [row, down])
    assert wide[1].split()[1:5] == ["ops/s", "reads/s", "changes/s", "refused/s"]
    assert wide[1].split()[-3:] == ["used", "connected", "up"]


def test_json() -> None:
    """A shard has its figures or its error; all of them have sums."""
    found = top_json(
        [ShardRates("a", "h:1", operations=1.5), ShardRates("b", "h:2", "away")],
        ShardRates("", operations=1.5),
        3,
        None,
    )
    shards = found["shards"]
    assert isinstance(shards, list)
    assert shards[0]["operations"] == 1.5
    assert "error" not in shards[0]
    assert shards[1] == {"name": "b", "address": "h:2", "uptime": 0.0, "error": "away"}
    assert isinstance(found["all"], dict)
    assert "name" not in found["all"]
