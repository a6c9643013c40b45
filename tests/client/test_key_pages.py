"""Scans: every key once, in slot order, over all shards."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from clusters import with_bounds
from deferreds import change_state, watch
from handover import hand_over
from scans import fill, in_order, page_keys, scan, with_latency
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

# -- all keys, once, in order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("index", [None, "pages"])
def test_every_key_comes_once_in_slot_order(shards: int, index: str | None) -> None:
    """A scan gives each key of its index exactly once, over all shards, in slot order."""
    with MemoryCluster(shards) as cluster:
        client = cluster.connect()
        cluster.run(client.create_index("pages"))
        fill(cluster, client, ["other", "another"], None if index else "pages")
        keys = fill(cluster, client, [f"key{number}" for number in range(3000)], index)
        pages = scan(cluster, client.keys(index))
        assert [key for page in pages for key in page] == keys
        assert all(len(page) <= settings.PAGE_KEYS for page in pages)
        assert cluster.run(client.keys(index).next_page()) == pages[0]


def test_a_scan_of_nothing_ends_at_once(cluster: MemoryCluster, client: Client) -> None:
    """Without keys the first page is the empty one that ends a scan; it stays so."""
    pages = client.keys()
    assert cluster.run(pages.next_page()) == []
    fill(cluster, client, ["late"])
    assert cluster.run(pages.next_page()) == []


def test_only_a_scans_end_is_an_empty_page(cluster: MemoryCluster, client: Client) -> None:
    """A shard without keys gives no empty page: the next shard's keys come."""
    fill(cluster, client, ["test1"])
    assert scan(cluster, client.keys()) == [["test1"]]


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_keys_that_share_a_slot_come_once(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A page may end between two keys of one slot: neither is left out, neither comes twice."""
    page_keys(monkeypatch, number)
    by_slot: dict[int, list[str]] = {}
    for value in range(3000):
        by_slot.setdefault(slot_of(f"{value}".encode()), []).append(f"{value}")
    shared = [key for keys in by_slot.values() if len(keys) > 1 for key in keys]
    assert len(shared) > 40
    keys = fill(cluster, client, shared)
    pages = scan(cluster, client.keys())
    assert [key for page in pages for key in page] == keys
    assert max(len(page) for page in pages) == number


@pytest.mark.parametrize("number", [1, 1000])
def test_a_key_in_the_first_slot_of_a_shard(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Ranges are half-open, for scans too: what lies on the boundary comes once."""
    page_keys(monkeypatch, number)
    boundary = slot_of(b"key7")
    assert cluster.bootstrap is not None
    change_state(cluster.bootstrap.bootstrap, with_bounds(cluster.state, boundary))
    cluster.advance(1)
    keys = fill(cluster, client, [f"key{value}" for value in range(50)])
    assert [key for page in scan(cluster, client.keys()) for key in page] == keys


@pytest.mark.parametrize("latency", [0, 0.02])
def test_an_index_that_a_shard_has_not_heard_of_yet(cluster: MemoryCluster, client: Client, latency: float) -> None:
    """A shard that missed an index's creation doesn't make it missing: the scan of a client with an old map waits."""
    shard = cluster.services["shard0"].shard
    behind = shard.assignment
    cluster.run(cluster.connect().create_index("pages"))
    newest, shard.assignment = shard.assignment, behind
    outcome = watch(client.keys("pages").next_page())
    with_latency(cluster, latency, lambda: not outcome, 2)
    assert outcome == []
    shard.assignment = newest
    cluster.advance(1.1)
    assert outcome == [[]]


def test_a_page_has_only_so_many_bytes(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long keys make pages of few keys; a key longer than a page's bytes comes on a page of its own."""
    page_keys(monkeypatch, 1000, 10_000)
    keys = fill(cluster, client, [f"{number:03}" * 1000 for number in range(50)] + ["long" * 10_000])
    pages = scan(cluster, client.keys())
    assert [key for page in pages for key in page] == keys
    assert max(sum(map(len, page)) for page in pages[:-1] if not any("long" in key for key in page)) <= 12_000


def test_keys_come_as_their_text(cluster: MemoryCluster, client: Client) -> None:
    """Keys are given as str, whatever they were written as, and lead back to their documents."""
    cluster.run(gatherResults([client.write(key, "x") for key in (1, 2.5, "ü", "😀", "")]))
    found = scan(cluster, client.keys())
    assert sorted(key for page in found for key in page) == sorted(["1", "2.5", "ü", "😀", ""])
    assert all(cluster.run(client.has(key)) for page in found for key in page)


def test_async_for(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """`async for` gives the keys one by one, over pages and shards."""
    page_keys(monkeypatch, 7)
    keys = fill(cluster, client, [f"key{number}" for number in range(100)])

    async def work() -> list[str]:
        pages = client.keys()
        return [key async for key in pages]

    assert cluster.run(work()) == keys


# -- while things change --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_a_scan_while_keys_come_and_go(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that exist from the start to the end come exactly once; those that come or go, once or not at all."""
    random = Random(seed)
    page_keys(monkeypatch, random.choice([2, 5, 20]))
    with MemoryCluster(random.choice([1, 2, 3]), seed=seed) as cluster:
        client = cluster.connect()
        lasting = [f"lasting{number}" for number in range(60)]
        fleeting = [f"fleeting{number}" for number in range(200)]
        fill(cluster, client, lasting + random.sample(fleeting, 100))
        pages, found = client.keys(), list[str]()
        while page := cluster.run(pages.next_page()):
            found += page
            changes: list[Deferred[Any]] = [client.write(key, random.random()) for key in random.sample(lasting, 3)]
            for key in random.sample(fleeting, 20):
                changes.append(client.pop(key) if random.random() < 0.5 else client.has(key))
                changes.append(client.write(key, 1, if_absent=random.random() < 0.5))
                if random.random() < 0.5:
                    changes.append(client.remove(key))
            cluster.run(gatherResults(changes))
        assert len(found) == len(set(found))
        assert [key for key in found if key in set(lasting)] == in_order(lasting)
        assert found == in_order(found)
        assert set(found) <= set(lasting + fleeting)


@pytest.mark.parametrize("moved_to", [1, 2_500_000, 7_500_000, SLOTS - 1])
def test_a_scan_goes_on_when_ranges_move(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, moved_to: int
) -> None:
    """The cursor is a place in the keyspace: ranges that move under a scan make it neither skip nor repeat."""
    page_keys(monkeypatch, 10)
    keys = fill(cluster, client, [f"key{number}" for number in range(200)])
    pages, found = client.keys(), list[str]()
    while page := cluster.run(pages.next_page()):
        found += page
        if len(found) == 50:
            state = with_bounds(cluster.state, moved_to)
            hand_over(cluster, state)
            assert cluster.bootstrap is not None
            change_state(cluster.bootstrap.bootstrap, state)
    assert found == keys
