"""`stat`: the table, the JSON, and how it tells of a shard that is down."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from in_process_command import Commands
from rich.console import Console

from pyshard.cli.people_numbers import size, span
from pyshard.cli.stat import table


def test_table(pyshard: Commands) -> None:
    """A line about the cluster, and a row for each shard."""
    pyshard("index", "create", "pages")
    pyshard("write", "test", "hello world")
    ended = pyshard("stat")
    assert (ended.code, ended.error) == (0, "")
    about, head, *rows = (line.split() for line in ended.out.splitlines())
    assert about[-4:] == ["1", "documents.", "Indexes:", "pages."]
    assert head == ["shard", "address", "ranges", "documents", "used", "limit", "state"]
    assert [row[:5] for row in rows] == [
        ["shard0", "127.0.0.1:5050", "[0.0,", "0.5)", "1"],
        ["shard1", "127.0.0.1:5051", "[0.5,", "1.0)", "0"],
    ]


def test_table_of_shards_with_several_ranges() -> None:
    """A range stands on a line of its own; of many the first five. The table fits 80 columns all the same."""
    known = {"documents": 7, "bytes": 0, "limit": 1024, "uptime": 1, "address": "127.0.0.1:5050"}
    shards = [
        {**known, "name": "shard0", "ranges": [[0.0, 0.1234567], [0.2345678, 0.3456789]]},
        {**known, "name": "shard1", "ranges": [[one / 100, (one + 1) / 100] for one in range(50, 64, 2)]},
        {**known, "name": "shard2", "ranges": []},
    ]
    console = Console(width=80, file=StringIO())
    console.print(table(shards))
    assert isinstance(console.file, StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert [line.split()[2:4] if line[0] != " " else line.split() for line in lines[1:]] == [
        ["[0.0,", "0.1234567)"],
        ["[0.2345678,", "0.3456789)"],
        ["[0.5,", "0.51)"],
        *(["[0.52,", "0.53)"], ["[0.54,", "0.55)"], ["[0.56,", "0.57)"], ["[0.58,", "0.59)"], ["and", "2", "more"]),
        ["none", "7"],
    ]


def test_table_with_a_shard_down(pyshard: Commands) -> None:
    """A shard that can't be reached has its row and its reason, and the exit code is 1."""
    pyshard.cluster.kill_shard("shard1")
    ended = pyshard("stat")
    assert (ended.code, ended.error) == (1, "")
    lines = ended.out.splitlines()
    assert lines[2].endswith("up 1 s")
    assert lines[3].split() == ["shard1", "127.0.0.1:5051", "[0.5,", "1.0)", "1.0", "GiB", "down"]
    assert lines[4].startswith("shard1: ")
    assert "gave no answer within 5 s" in lines[4]


def test_json(pyshard: Commands) -> None:
    """--json has everything that `Client.stat` gives, on one line; the exit code is the same."""
    pyshard("write", "test", "hello world")
    ended = pyshard("stat", "--json")
    assert ended.code == 0
    assert ended.out.count("\n") == 1
    found = json.loads(ended.out)
    assert [(shard["name"], shard["documents"]) for shard in found["shards"]] == [("shard0", 1), ("shard1", 0)]
    pyshard.cluster.kill_shard("shard1")
    ended = pyshard("stat", "--json", "--deadline", "1")
    assert ended.code == 1
    up, down = json.loads(ended.out)["shards"]
    assert "error" not in up
    assert "gave no answer within 1 s" in down["error"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**6, "5120.0 PiB"),
    ],
)
def test_size(count: int, expected: str) -> None:
    """Bytes in the unit that suits them."""
    assert size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (4000, "1 h"), (200_000, "2 d")]
)
def test_span(seconds: float, expected: str) -> None:
    """Times in the unit that suits them."""
    assert span(seconds) == expected
