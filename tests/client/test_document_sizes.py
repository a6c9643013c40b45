"""Large documents and full shards, by the Deferred client against a whole cluster in memory."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from clusters import boxes_of, keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.errors import (
    DocumentTooLarge,
    ShardFull,
)
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


@pytest.mark.parametrize("size", [65_530, 65_535, 65_536, 131_070, 131_071, 1_000_000])
def test_documents_past_what_an_amp_value_holds(cluster: MemoryCluster, client: Client, size: int) -> None:
    """Documents around and past 65,535 bytes come back as they were written."""
    document = Random(size).randbytes(size)
    assert cluster.run(client.write("k", document)) == 33 + size
    found = cluster.run(client.read("k"))
    assert found is not None
    assert found["record"] == document
    assert cluster.run(client.remove("k")) == 33 + size


def test_the_largest_document_and_one_byte_more(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document of exactly MAX_DOCUMENT_BYTES, under the longest key, is kept; one byte more is never sent."""
    key, most = "k" * settings.MAX_KEY_BYTES, settings.MAX_DOCUMENT_BYTES - 5  # MessagePack's head of long binaries
    document = b"x" * most
    assert cluster.run(client.write(key, document)) == 33 + most
    found = cluster.run(client.read(key))
    assert found is not None
    assert found["record"] == document
    boxes = boxes_of(monkeypatch, cluster)
    outcome = watch(client.write(key, document + b"x"))
    cluster.advance(1)
    assert kinds([outcome]) == [[DocumentTooLarge]]
    assert boxes == []
    assert cluster.run(client.remove(key)) == 33 + most


def test_many_large_reads_of_one_turn_all_come(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads whose answers together pass ANSWER_BYTES many times over are all answered, each with its own document."""
    documents = {key: key.encode() * 40_000 for key in keys_on(cluster, "shard0", 30)}
    for key, document in documents.items():
        cluster.run(client.write(key, document))
    boxes = boxes_of(monkeypatch, cluster)
    order: list[str] = []

    def read(key: str) -> Deferred[Any]:
        def came(record: Any) -> Any:
            order.append(key)
            return record

        return client.read(key).addCallback(came)

    found = cluster.run(gatherResults([read(key) for key in documents]))
    assert [one["record"] for one in found] == list(documents.values())
    assert order == list(documents)
    assert boxes[0] == ("shard0", 30)
    assert 5 <= len(boxes) < 30


def test_many_large_pops_of_one_turn_each_happen_once(cluster: MemoryCluster, client: Client) -> None:
    """Pops that found no room in an answer go out again and give the document, once; changes behind them wait."""
    documents = {key: key.encode() * 40_000 for key in keys_on(cluster, "shard0", 20)}
    for key, document in documents.items():
        cluster.run(client.write(key, document))
    popped = [client.pop(key) for key in documents]
    written = [client.write(key, "new") for key in documents]
    again = [client.pop(key) for key in documents]
    assert [one and one["record"] for one in cluster.run(gatherResults(popped))] == list(documents.values())
    assert cluster.run(gatherResults(written)) == [52] * len(documents)
    assert [one and one["record"] for one in cluster.run(gatherResults(again))] == ["new"] * len(documents)


def test_a_full_shard_refuses_and_keeps_what_it_has() -> None:
    """A write past the limit fails with `ShardFull` alone; what is there stays, and removing makes room."""
    with MemoryCluster(1, size=1000) as cluster:
        client = cluster.connect()
        outcomes = [watch(client.write(key, b"x" * 300)) for key in "abcd"]
        cluster.advance(1)
        assert kinds(outcomes) == [[int], [int], [ShardFull], [ShardFull]]
        assert cluster.run(client.has("a")) is True
        assert cluster.run(client.write("a", b"y" * 300)) == 333
        assert cluster.run(client.remove("b")) == 333
        assert cluster.run(client.write("c", b"x" * 300)) == 333
        assert cluster.run(client.keys().next_page()) == sorted(["a", "c"], key=lambda key: slot_of(key.encode()))
