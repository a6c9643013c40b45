"""What pages repeat of other pages and of the code: docs/sizing.md, upgrading.md, troubleshooting.md, tutorial.md.

Where one of these fails since docs/benchmarks.md was written anew, or a message was changed, the page is to be changed.
"""

from __future__ import annotations

import re

import pytest
from blocks import CHECKOUT, tagged
from message_literals import is_said

from pyshard.backup import manifest
from pyshard.model import cluster_state_json, config_file
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.commands import PROTOCOL
from pyshard.settings import settings
from pyshard.storage.durable import data_directory


def _text(page: str) -> str:
    return (CHECKOUT / page).read_text(encoding="utf-8")


SIZING = [
    (figures, source)
    for figures, source in re.findall(r"^\| .+ \| (.+) \| (docs/[\w-]+\.md) \|$", _text("docs/sizing.md"), re.MULTILINE)
]
SCALING = re.findall(r"^\| ([\w, ]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", _text("docs/sizing.md"), re.MULTILINE)
MESSAGES = [
    message
    for message, _, _ in re.findall(r"^\| (.+?) \| (.+) \| (.+) \|$", _text("docs/troubleshooting.md"), re.MULTILINE)
    if message.startswith("`")
]


@pytest.mark.parametrize(("figures", "source"), SIZING)
def test_sizes_are_those_of_their_sources(figures: str, source: str) -> None:
    """Each number that docs/sizing.md gives stands on the page from which it is."""
    numbers = re.findall(r"\d[\d,]*(?:\.\d+)?", figures)
    text = _text(source)
    assert numbers or "a fifth" in text
    assert [number for number in numbers if not re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d])", text)] == []


@pytest.mark.parametrize("row", SCALING, ids=lambda row: row[0])
def test_shards_a_processor(row: tuple[str, ...]) -> None:
    """The rates with one, two and four shards are those of docs/benchmarks.md."""
    what, *rates = row
    (line,) = [
        line
        for line in _text("docs/benchmarks.md").partition("| 1 shard |")[2].splitlines()
        if line.startswith(f"| {what} |")
    ]
    assert re.findall(r"\| ([\d,]+) \(", line) == rates


MEASURED = re.findall(
    r"^\| ([\d,]+) \| ([\d,]+) \| (yes|no) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+) % \|$",
    _text("docs/sizing.md"),
    re.MULTILINE,
)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row[0]} + {row[1]}")
def test_measured_memory(row: tuple[str, ...]) -> None:
    """The figures of docs/sizing.md follow from what was measured; a document counts what the code counts for it."""
    expires = row[2] == "yes"
    key, record, counts, before, after, takes, percent = (int(one.replace(",", "")) for one in row[:2] + row[3:])
    assert counts == counted(key, record, expires)
    assert takes == round((after - before) / 200_000)
    assert abs(takes / counts - 1 - percent / 100) < 0.01  # of whole bytes
    assert takes <= 1.2 * counts  # as the page says: within a fifth


def test_example_of_memory() -> None:
    """The steps of the example in docs/sizing.md are right."""
    steps = _text("docs/sizing.md").partition("Five million sessions")[2].partition("## ")[0]
    (*_, last) = MEASURED
    key, record, counts, takes = (int(last[place]) for place in (0, 1, 3, 6))
    assert f"{key} + {record} + 128 + 112 = {counts} bytes" in steps
    assert counts == counted(key, record, expires=True)
    documents, empty, size = 2_500_000, 58.8e6, 2.5 * 2**30
    figures = [documents * counts, documents * takes, documents * takes + empty, size, 1.2 * size]
    assert re.findall(r"\d+\.\d\d(?= GB)", steps) == [f"{figure / 1e9:.2f}" for figure in figures]
    assert f"{(1.2 * size + empty + 5e8) / 1e9:.1f} GB. That is" in steps
    assert size / (documents * counts) > 1.5


def counted(key: int, record: int, expires: bool) -> int:
    """What a document of a key and a record of so many bytes counts."""
    return key + record + settings.ITEM_OVERHEAD + (settings.EXPIRY_OVERHEAD if expires else 0)


def test_numbers_of_formats() -> None:
    """docs/upgrading.md gives the numbers of protocol and formats that the code has."""
    told = dict(re.findall(r"^\| ([\w' ]+) \| (\d+) \|", _text("docs/upgrading.md"), re.MULTILINE))
    assert told == {
        "the protocol": str(PROTOCOL),
        "format of data directories": str(data_directory.FORMAT),
        "format of the cluster's state": str(cluster_state_json.FORMAT),
        "format of backups": str(manifest.FORMAT),
    }


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_said(message: str) -> None:
    """Each message that docs/troubleshooting.md explains is one that the code says."""
    for quoted in re.findall(r"`([^`]+)`", message):
        assert is_said(quoted), quoted


def test_sayings_are_looked_for_whole() -> None:
    """A message is found by all of its parts, in one text, in their order."""
    assert is_said("the peer speaks version … of the protocol, this side …")
    assert not is_said("of the protocol, this side … the peer speaks version")
    assert not is_said("the peer speaks version … of the protocol, that side …")


def test_tutorial_has_the_recipe() -> None:
    """The certificates of the tutorial are made as docs/tls.md makes them, and it installs as README does."""
    assert tagged("docs/tls.md", "run: tls")[0] in tagged("docs/tutorial.md", "run: tutorial")
    (install,) = tagged("docs/tutorial.md", "run: tutorial install")
    for command in ("python3 -m venv .venv", "pip install"):
        assert command in install
        assert command in tagged("README.md", "run: up")[0]


def test_cluster_of_the_tutorial() -> None:
    """Its config has three shards with a third each, at the ports that its commands give."""
    (text,) = tagged("docs/tutorial.md", "run: tutorial config")
    config = config_file.parse(text.encode())
    shards = config.map.shards
    commands = "".join(tagged("docs/tutorial.md", "run: tutorial"))
    assert len(shards) == 3
    for shard in shards:
        ((start, end),) = shard.ranges
        assert abs(end - start - SLOTS / 3) < 1
        assert f"--port {shard.port}" in commands
    assert shards[0].port == settings.SHARD_PORT
