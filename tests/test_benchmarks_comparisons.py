"""What benchmarks/ compares: the comparisons, their targets, and how peers encode."""

from __future__ import annotations

import ast
from pathlib import Path
from unittest.mock import Mock

import attrs
import msgspec
import pytest
import variants
import workload
from amounts import QUICK
from comparisons import comparisons
from peers import messagepack
from peers.interface import Timed


def test_comparisons() -> None:
    """No name is the beginning of another one, so `--only` can choose each; a shape's target is 0.6 of the mix's."""
    found = comparisons(QUICK, Mock(), Mock())
    names = [comparison.name for comparison in found]
    for name in names:
        assert [other for other in names if name in other] == [name]
    shaped = [comparison for comparison in found if comparison.shape not in (None, "mix")]
    mixes = {comparison.name: comparison for comparison in found if comparison.shape == "mix"}
    assert {comparison.workload.name for comparison in shaped} == {"write-many", "read-many", "read-each"}
    for comparison in shaped:
        mix = mixes[comparison.name.rpartition("/")[0] + "/mix"]
        assert comparison.target == (None if mix.target is None else pytest.approx(0.6 * mix.target))


#: What the project aims at, of all shapes together: workload, peer and store, and the least ratio.
_TARGETS = {
    "write-many/redis/memory/mix": 1.0,
    "read-many/redis/memory/mix": 1.0,
    "write-many/redis-cluster/memory/mix": 6,
    "read-many/redis-cluster/memory/mix": 7,
    "write-many/redis/durable/mix": 0.6,
    "read-many/redis/durable/mix": 0.8,
    "write-in-flight/redis/memory/mix": 5,
    "read-in-flight/redis/memory/mix": 5,
    "write-awaited/redis/memory/mix": 5,
    "read-awaited/redis/memory/mix": 5,
    "read-each/redis/memory/mix": 0.7,
    "read-each/original/memory/mix": 1.6,
    "read-threads/redis/memory/mix": 1.3,
    "write-threads/redis/durable/mix": 0.7,
    "large/redis/memory": 0.8,
}


def test_targets() -> None:
    """The targets are these, and no others."""
    found = {one.name: one.target for one in comparisons(QUICK, Mock(), Mock()) if one.shape in (None, "mix")}
    assert {name: target for name, target in found.items() if target is not None} == _TARGETS


def test_varied_comparisons() -> None:
    """What is measured in other ways, too, are the comparisons with a target, of all shapes together."""
    found = comparisons(QUICK, Mock(), Mock())
    assert {"write-many/redis/memory/mix", "large/redis/memory"} <= set(variants.chosen(found))
    for comparison in found:
        alone = comparison.shape not in (None, "mix")
        assert (comparison.name in variants.chosen(found)) == (comparison.target is not None and not alone)


def test_a_least_time() -> None:
    """Calls are done again until they have taken their least time; without one they are done once."""
    for least, times, seconds in ((0.0, 1, 0.75), (0.75, 1, 0.75), (2.0, 3, 2.25)):
        found = iter([Timed(0.75, [number]) for number in range(1, 9)])
        assert workload.repeated(lambda: next(found), least) == (times, Timed(seconds, [times]))  # noqa: B023  # at once


def test_durable_rounds_have_a_least_time() -> None:
    """What asks a durable store goes on for that long, whatever it asks; all else is done once."""
    for comparison in comparisons(attrs.evolve(QUICK, durable_seconds=1.5), Mock(), Mock()):
        assert comparison.workload.least == 1.5 * comparison.durable, comparison.name


_PEERS = Path(workload.__file__).parent / "peers"


def test_records_of_peers() -> None:
    """A peer stores plain MessagePack as msgspec makes it, without a head, a check or a measure of pyshard's."""
    assert messagepack.encode({"a": [1, "b", None]}) == b"\x81\xa1a\x93\x01\xa1b\xc0"
    assert messagepack.decode(b"\x81\xa1a\x93\x01\xa1b\xc0") == {"a": [1, "b", None]}
    assert messagepack.encode("\x00" * 10) == msgspec.msgpack.encode("\x00" * 10)


@pytest.mark.parametrize("path", sorted(set(_PEERS.glob("*.py")) - {_PEERS / "pyshard.py"}), ids=lambda path: path.stem)
def test_peers_are_used_without_pyshard(path: Path) -> None:
    """No module of a peer imports from pyshard's modules; the type `Document` is all that they take from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not str(node.module).startswith("pyshard."), node.module
            if node.module == "pyshard":
                assert [name.name for name in node.names] == ["Document"]
