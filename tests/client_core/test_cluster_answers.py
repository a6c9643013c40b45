"""What daemons answer about the cluster: what is taken of a hostile one's statistics."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from pyshard.client_core.cluster_answers import daemon_stat_of, stat_of
from pyshard.errors import BadRequest
from pyshard.message_texts import MAX_MESSAGE
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard

OWN = MapShard("a", ((0, SLOTS),), 1024, "10.0.0.1", 5050)
STAT: dict[str, Any] = {"documents": 1, "bytes": 2, "uptime": 3.5}


def told(**more: object) -> dict[str, object]:
    """What `stat` tells of a shard that answered so."""
    return stat_of(OWN, json.dumps(STAT | more).encode())


def test_texts() -> None:
    """Each text is cut and printable, wherever it stands; everything else is as it was told."""
    odd = "\x1b[2J\u202e" + "x" * 3000
    cut = r"\x1b[2J\u202e" + "x" * (MAX_MESSAGE - 16) + "..."
    nested = {"deep": [1, None, True, 0.5, "fine", odd, {odd: [odd]}]}
    found = told(version=odd, more=nested)
    assert (found["version"], found["documents"]) == (cut, 1)
    assert found["more"] == {"deep": [1, None, True, 0.5, "fine", cut, {cut: [cut]}]}
    assert daemon_stat_of(json.dumps({odd: odd}).encode()) == {cut: cut}


@pytest.mark.parametrize(
    "more",
    [
        {"documents": 10**4000},
        {"documents": -1},
        {"bytes": 2**63},
        {"uptime": 1e300},
        {"uptime": "3"},
        {"replica": 7},
        {"replica": {"waits": 7}},
        {"replica": {"most_stale": 1e300}},
        {"replica": {"others": [7]}},
        {"replica": {"others": [{"address": "b", "silent": "long"}]}},
        {"replica": {"others": [{"address": "b", "groups_behind": 10**4000}]}},
        {"replica": {"others": [{"address": "b", "stale": "new"}]}},
    ],
)
def test_what_nobody_could_show(more: dict[str, object]) -> None:
    """A shard that tells it is one that gave no statistics; the reason is one line."""
    error = told(**more)["error"]
    assert isinstance(error, str)
    assert error.startswith("the statistics that the daemon answered can't be read: ")
    assert error.isprintable()


def test_lists_that_nest_without_end() -> None:
    """They are refused, by the decoder or behind it, and never end the caller."""
    for depth in range(100, 1100, 100):
        text = json.dumps(STAT)[:-1].encode() + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        with suppress(BadRequest):
            daemon_stat_of(text)
    with pytest.raises(BadRequest, match=r"nest too deep|recursion"):
        daemon_stat_of(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
