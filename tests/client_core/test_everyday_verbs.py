"""What the everyday verbs of all clients have in common, by value."""

from __future__ import annotations

from typing import Any

import pytest

from pyshard.client_core.everyday_verbs import (
    MISSING,
    DocumentUpdate,
    document_giver,
    location,
    replace_options,
    whether_removed,
)
from pyshard.client_core.operation import VerbOptions
from pyshard.client_core.result_decoding import Item
from pyshard.errors import InvalidArgument, InvalidDocument
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.batch_operations import ABSENT, KEEP, PRESENT, Remove


def item(record: Any, version: int = 7, ttl: float | None = None) -> Item:
    """What `item` gives."""
    return {"key": "k", "hash_": 0.5, "record": record, "version": version, "expiry": None, "ttl": ttl, "size": 28}


def test_documents_that_are_given() -> None:
    """The default stands for a missing key alone; a document that is None is given."""
    assert document_giver("default", None)("k", None) == "default"
    assert document_giver("default", None)("k", {"hash_": 0.5, "record": None}) is None
    assert document_giver(None, list[int])("k", {"hash_": 0.5, "record": [1]}) == [1]
    with pytest.raises(InvalidDocument, match="'k'"):
        document_giver(None, list[int])("k", {"hash_": 0.5, "record": ["x"]})


def test_replace_options() -> None:
    """The key must exist, in that version if one is given."""
    assert replace_options(None, None) == VerbOptions(PRESENT)
    assert replace_options(7, 2) == VerbOptions(7, 2000)


def test_update_of_a_key_that_is_there() -> None:
    """The new document is written on condition that the version is still that one; the time to live stays."""
    write = DocumentUpdate(lambda document: [*document, 2]).write_after(item([1], ttl=1.5))
    assert write is not None
    assert (write.document, write.options) == ([1, 2], VerbOptions(7, KEEP))
    write = DocumentUpdate(lambda _: 1, ttl=None).write_after(item([1], ttl=1.5))
    assert write is not None
    assert write.options == VerbOptions(7, 0)


def test_update_of_a_missing_key() -> None:
    """Without a default nothing happens; with one the new document is written if the key is still missing."""

    def never(_: object) -> int:
        raise AssertionError("it was called")

    assert DocumentUpdate(never).write_after(None) is None
    write = DocumentUpdate(lambda number: number + 1, default=41, ttl=2).write_after(None)
    assert write is not None
    assert (write.document, write.options) == (42, VerbOptions(ABSENT, 2000))


def test_a_function_without_a_return() -> None:
    """A function that gives None has most likely forgotten its return: nothing is written."""
    with pytest.raises(InvalidArgument, match="the function gave None"):
        DocumentUpdate(lambda document: document.append(1)).write_after(item([1]))


def test_each_round_has_a_document_of_its_own() -> None:
    """A function may change what it is given, also the default, and is given the same again in the next round."""
    default: list[int] = []
    update = DocumentUpdate(lambda document: document.append(1) or document, default)
    for _ in range(2):
        write = update.write_after(None)
        assert write is not None
        assert write.document == [1]
    assert default == []


async def _wait(document: object) -> object:
    return document


@pytest.mark.parametrize(
    ("function", "default", "ttl", "error", "message"),
    [
        (5, MISSING, MISSING, InvalidArgument, "function: found 5, expected a function"),
        (len, MISSING, 0, InvalidArgument, "ttl: found 0"),
        (len, {1, 2}, MISSING, InvalidDocument, "a set"),
    ],
)
def test_arguments_of_an_update(function: Any, default: object, ttl: Any, error: type[Exception], message: str) -> None:
    """What can't be used is refused before anything is read."""
    with pytest.raises(error, match=message):
        DocumentUpdate(function, default, ttl)


def test_a_function_that_has_to_be_awaited() -> None:
    """A coroutine function is refused when its first coroutine comes, which is never left unawaited."""
    with pytest.raises(InvalidArgument, match="something to be awaited"):
        DocumentUpdate(_wait).write_after(item(1))  # type: ignore[arg-type]


def test_whether_removed() -> None:
    """What was removed counts, also an empty document, whose size is 0."""
    assert whether_removed(Remove("", [b"a", b"b"]), [1, 2], (), [b"\x01\0\0\0\0", None]) == [True, False]


def test_location() -> None:
    """A key's hash, its slot, and the shard that owns it."""
    half = SLOTS // 2
    shards = ShardMap(
        [MapShard("low", ((0, half),), 1, "10.0.0.1", 5050), MapShard("high", ((half, SLOTS),), 1, "10.0.0.2", 5050)]
    )
    found = location(ClusterState("c1", 1, shards), b"test", "")
    slot = slot_of(b"test")
    assert found == {"hash_": slot / SLOTS, "slot": slot, "shard": "low", "address": "10.0.0.1:5050"}
    assert location(ClusterState("c1", 1, shards), b"test", "pages")["slot"] == slot_of(b"test", b"pages")
