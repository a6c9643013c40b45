"""A cluster whose shards have several ranges, or none: to callers it is one keyspace, as ever."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from clusters import with_ranges
from deferreds import change_state
from handover import hand_over
from scans import in_order, page_keys, scan
from twisted.internet.defer import gatherResults

from pyshard import Client, Pyshard
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges
from pyshard.testing import MemoryCluster

#: Two shards that lie between each other, and one that owns nothing.
LAYOUT = [
    [(0, 1_000_000), (4_000_000, 6_000_000), (9_999_999, SLOTS)],
    [(1_000_000, 4_000_000), (6_000_000, 9_999_999)],
    [],
]
DOCUMENTS = {f"key{number}": number for number in range(500)}


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of this layout."""
    with MemoryCluster(LAYOUT) as made:
        yield made


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A Deferred client of it."""
    return cluster.connect()


@pytest.fixture
def app(cluster: MemoryCluster) -> Iterator[Pyshard]:
    """A blocking client of it."""
    with cluster.blocking() as made:
        yield made


def documents_in(ranges: SlotRanges) -> int:
    """How many of the documents lie in some ranges."""
    return sum(start <= slot_of(key.encode()) < end for key in DOCUMENTS for start, end in ranges)


def per_shard(cluster: MemoryCluster) -> list[int]:
    """How many documents each shard has."""
    return [cluster.services[f"shard{number}"].shard.store.documents for number in range(len(LAYOUT))]


EXPECTED = [documents_in(tuple(ranges)) for ranges in LAYOUT]


def test_the_layout() -> None:
    """Each shard with ranges has documents, so that the tests below say something."""
    assert min(EXPECTED[:2]) > 100
    assert EXPECTED[2] == 0


def test_operations(cluster: MemoryCluster, client: Client) -> None:
    """Each key's operations go to its shard, over one link a shard; the shard that owns nothing isn't asked."""
    cluster.run(gatherResults([client.write(key, document) for key, document in DOCUMENTS.items()]))
    assert per_shard(cluster) == EXPECTED
    found = cluster.run(gatherResults([client.read(key) for key in DOCUMENTS]))
    assert [one and one["record"] for one in found] == list(DOCUMENTS.values())
    assert sorted(client._router._links) == ["shard0", "shard1"]
    for key in ("key1", "key2", "key3"):
        where = client.locate(key)
        index = [any(start <= where["slot"] < end for start, end in ranges) for ranges in LAYOUT].index(True)
        assert where["shard"] == f"shard{index}"


def test_bulk_verbs(cluster: MemoryCluster, client: Client) -> None:
    """So do those of bulk verbs; results come in the order of the keys."""
    assert cluster.run(client.write_many(DOCUMENTS.items())) == [24] + [28] * 499
    assert per_shard(cluster) == EXPECTED
    assert cluster.run(client.get_many(DOCUMENTS)) == list(DOCUMENTS.values())
    assert cluster.run(client.get_many(list(DOCUMENTS)[:3])) == [0, 1, 2]
    assert cluster.run(client.remove_many(DOCUMENTS)) == [24] + [28] * 499
    assert per_shard(cluster) == [0, 0, 0]


@pytest.mark.parametrize("number", [1, 7, 1000])
def test_keys(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """All keys come once, in slot order, from one shard, the other, and back."""
    page_keys(monkeypatch, number)
    cluster.run(client.write_many(DOCUMENTS.items()))
    pages = scan(cluster, client.keys())
    assert [key for page in pages for key in page] == in_order(list(DOCUMENTS))
    assert max(map(len, pages)) <= number


def test_count_and_items(cluster: MemoryCluster, client: Client) -> None:
    """Each shard is asked once for its count, and each document comes once."""
    cluster.run(client.write_many(DOCUMENTS.items()))
    before = cluster.services["shard0"].shard.operations
    assert cluster.run(client.count()) == len(DOCUMENTS)
    assert cluster.services["shard0"].shard.operations == before + 1
    assert cluster.services["shard2"].shard.operations == 0
    found: list[tuple[str, object]] = []
    pages = client.items()
    while page := cluster.run(pages.next_page()):
        found += page
    assert found == [(key, DOCUMENTS[key]) for key in in_order(list(DOCUMENTS))]


def test_blocking_client(app: Pyshard, cluster: MemoryCluster) -> None:
    """The blocking client finds the same."""
    app.write_many(DOCUMENTS.items())
    assert per_shard(cluster) == EXPECTED
    assert app.get_many(DOCUMENTS) == list(DOCUMENTS.values())
    assert [app.get(key) for key in list(DOCUMENTS)[:20]] == list(range(20))
    assert list(app.keys()) == in_order(list(DOCUMENTS))
    assert app.count() == len(DOCUMENTS)
    assert [key for key, _ in app.items()] == in_order(list(DOCUMENTS))
    assert [shard["state"] for shard in app.readiness()] == ["ready"] * 3


@pytest.mark.parametrize("face", ["deferred", "blocking"])
def test_stat(cluster: MemoryCluster, client: Client, app: Pyshard, face: str) -> None:
    """Each shard stands there once, with its ranges and a histogram of each; the empty one, too."""
    cluster.run(client.write_many(DOCUMENTS.items()))
    found = app.stat() if face == "blocking" else cluster.run(client.stat())
    shards = found["shards"]
    assert isinstance(shards, list)
    assert [(one["name"], one["documents"]) for one in shards] == [
        (f"shard{number}", documents) for number, documents in enumerate(EXPECTED)
    ]
    assert [one["ranges"] for one in shards] == [
        [[start / SLOTS, end / SLOTS] for start, end in ranges] for ranges in LAYOUT
    ]
    assert [[len(bars) for bars in one["histogram"]] for one in shards] == [[10, 10, 10], [10, 10], []]
    assert sum(shards[1]["histogram"][0]) == pytest.approx(documents_in(((1_000_000, 4_000_000),)), abs=2)


def test_an_empty_shard_gets_a_range(cluster: MemoryCluster, client: Client) -> None:
    """A shard without ranges is one of the cluster, so a range can go there, and all of a shard's ranges away."""
    cluster.run(client.write_many(DOCUMENTS.items()))
    state = with_ranges(cluster.state, [], [(0, 3_000_000), (8_000_000, SLOTS)], [(3_000_000, 8_000_000)])
    hand_over(cluster, state)
    assert cluster.bootstrap is not None
    change_state(cluster.bootstrap.bootstrap, state)
    assert cluster.run(client.get_many(DOCUMENTS)) == list(DOCUMENTS.values())
    assert cluster.run(client.count()) == len(DOCUMENTS)
    assert per_shard(cluster)[0] == 0
    assert [key for page in scan(cluster, client.keys()) for key in page] == in_order(list(DOCUMENTS))


@pytest.mark.parametrize("seed", range(20))
def test_ranges_that_move_under_walks(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever moves between shards, a scan has each key once, in order, and a count each document."""
    page_keys(monkeypatch, 20)
    cluster.run(client.write_many(DOCUMENTS.items()))
    random = Random(seed)

    def move() -> None:
        owned: list[list[tuple[int, int]]] = [[], [], []]
        for part in range(10):
            random.choice(owned).append((SLOTS * part // 10, SLOTS * (part + 1) // 10))
        state = with_ranges(cluster.state, *owned)
        hand_over(cluster, state)
        assert cluster.bootstrap is not None
        change_state(cluster.bootstrap.bootstrap, state)

    pages, found = client.keys(), list[str]()
    while page := cluster.run(pages.next_page()):
        found += page
        if random.random() < 0.3:
            move()
    assert found == in_order(list(DOCUMENTS))
    for _ in range(5):
        counting = client.count()
        move()
        assert cluster.run(counting) == len(DOCUMENTS)
