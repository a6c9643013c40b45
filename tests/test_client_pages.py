"""Scans: every key once, in slot order, over all shards; and an error where a part of them can't be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
import pytest
from deferreds import watch
from handover import hand_over
from twisted.internet.defer import Deferred, gatherResults, succeed

from pyshard import Client
from pyshard.client.pages import KeyPages
from pyshard.errors import BadRequest, ClientClosed, IndexNotFound, NotConfigured, Unavailable
from pyshard.hashing import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.shard import shard as shard_module
from pyshard.shardmap import ShardMap
from pyshard.storage import Page
from pyshard.testing import MemoryCluster


def fill(cluster: MemoryCluster, client: Client, keys: Sequence[str], index: str | None = None) -> list[str]:
    """Write these keys; they come back in the order of a scan."""
    cluster.run(gatherResults([client.write(key, 1, index) for key in keys]))
    return in_order(keys, index or "")


def in_order(keys: Sequence[str], index: str = "") -> list[str]:
    """Keys in (slot, text) order."""
    return sorted(keys, key=lambda key: (slot_of(key.encode(), index.encode()), key.encode()))


def scan(cluster: MemoryCluster, pages: KeyPages) -> list[list[str]]:
    """All pages but the empty one at the end."""
    found = []
    while page := cluster.run(pages.next_page()):
        found.append(page)
    return found


def page_keys(monkeypatch: pytest.MonkeyPatch, number: int, size: int = settings.PAGE_BYTES) -> None:
    """Have shards give pages of this many keys, and about this many bytes."""
    changed = attrs.evolve(settings, PAGE_KEYS=number, PAGE_BYTES=size)
    monkeypatch.setattr(shard_module, "settings", changed)


# ---------------------------------------------------------------------- all keys, once, in order


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
    first, second = cluster.state.map.ranges
    ranges = [attrs.evolve(first, end=boundary), attrs.evolve(second, start=boundary)]
    assert cluster.bootstrap is not None
    cluster.bootstrap.bootstrap.change(attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(ranges)))
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
    _with_latency(cluster, latency, lambda: not outcome, 2)
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


# ---------------------------------------------------------------------- while things change


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
            first, second = cluster.state.map.ranges
            state = attrs.evolve(
                cluster.state,
                epoch=cluster.state.epoch + 1,
                map=ShardMap([attrs.evolve(first, end=moved_to), attrs.evolve(second, start=moved_to)]),
            )
            hand_over(cluster, state)
            assert cluster.bootstrap is not None
            cluster.bootstrap.bootstrap.change(state)
    assert found == keys


# ---------------------------------------------------------------------- what can't be had is an error


@pytest.mark.parametrize("away", ["shard0", "shard1"])
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_an_unreachable_shard_is_an_error_not_an_end(
    cluster: MemoryCluster, client: Client, away: str, how: str
) -> None:
    """A scan that comes to a shard out of reach fails with `Unavailable` at the page's deadline; it never just ends.

    When the shard is back, the same scan goes on where it was.
    """
    keys = fill(cluster, client, [f"key{number}" for number in range(100)])
    pages = client.keys(deadline=2)
    found: list[str] = []
    if away == "shard1":
        page = cluster.run(pages.next_page())
        found += page
    own = cluster.state.map.named(away)
    assert own is not None
    listener = cluster.network.listeners[own.host, own.port]
    if how == "killed":
        del cluster.network.listeners[own.host, own.port]
        cluster.network.cut(own.host, own.port)
    else:
        cluster.network.silence(own.host, own.port)
    outcome = watch(pages.next_page())
    cluster.advance(1.999)
    assert outcome == []
    cluster.advance(0.001)
    assert [type(one) for one in outcome] == [Unavailable]
    assert f"shard '{away}'" in str(outcome[0])
    cluster.network.listeners[own.host, own.port] = listener
    cluster.network.cut(own.host, own.port)
    cluster.network.unsilence(own.host, own.port)
    cluster.advance(1)
    while page := cluster.run(pages.next_page()):
        found += page
    assert found == keys


def test_a_page_whose_answer_is_lost_is_asked_for_again(cluster: MemoryCluster, client: Client) -> None:
    """A page only reads: it is repeated on the next connection."""
    keys = fill(cluster, client, ["test"])
    cluster.network.silence("127.0.0.1", 5050)
    outcome = watch(client.keys().next_page())
    cluster.advance(1)
    cluster.network.cut("127.0.0.1", 5050)
    cluster.network.unsilence("127.0.0.1", 5050)
    cluster.advance(1)
    assert outcome == [keys]


def test_a_connection_that_gives_no_page_is_given_up(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent shard costs a page its deadline, and the connection its life: the next page comes over a new one."""
    keys = fill(cluster, client, ["test"])
    shard = cluster.services["shard0"].shard
    connections = [one["id"] for one in _connections(cluster, client)]
    monkeypatch.setattr(shard, "keys", lambda *_: Deferred())
    pages = client.keys()
    outcome = watch(pages.next_page())
    cluster.advance(10)
    assert [type(one) for one in outcome] == [Unavailable]
    monkeypatch.undo()
    assert cluster.run(pages.next_page()) == keys
    assert [one["id"] for one in _connections(cluster, client)] != connections


def _connections(cluster: MemoryCluster, client: Client) -> list[dict[str, Any]]:
    shards = cluster.run(client.stat())["shards"]
    assert isinstance(shards, list)
    connections: list[dict[str, Any]] = shards[0]["connections"]
    return connections


def refuse(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have shard0 not be configured for so long."""
    shard = cluster.services["shard0"].shard
    keys, until = shard.keys, cluster.clock.seconds() + seconds

    def refusing(*arguments: Any) -> Deferred[Page]:
        if cluster.clock.seconds() < until:
            raise NotConfigured("this shard is not configured yet")
        return keys(*arguments)

    monkeypatch.setattr(shard, "keys", refusing)


def test_a_shard_that_refuses_for_the_moment_is_waited_for(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NotConfigured` and its like are ridden out within the page's deadline."""
    keys = fill(cluster, client, ["test"])
    refuse(cluster, monkeypatch, 5)
    outcome = watch(client.keys().next_page())
    cluster.advance(4.9)
    assert outcome == []
    cluster.advance(0.4)
    assert outcome == [keys]


def test_a_shard_that_goes_on_refusing_is_unavailable(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the deadline of the page, what a shard refuses is `Unavailable`, with the shard's reason."""
    refuse(cluster, monkeypatch, 60)
    outcome = watch(client.keys(deadline=2).next_page())
    cluster.advance(2)
    assert [type(one) for one in outcome] == [Unavailable]
    assert "not configured" in str(outcome[0])


def test_the_deadline_of_a_page_is_one_for_all_attempts(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that first refuses and then is silent has the page's deadline for both together."""
    refuse(cluster, monkeypatch, 1.5)
    outcome = watch(client.keys(deadline=2).next_page())
    cluster.advance(1.45)
    cluster.network.silence("127.0.0.1", 5050)
    cluster.advance(0.549)
    assert outcome == []
    cluster.advance(0.001)
    assert [type(one) for one in outcome] == [Unavailable]


def test_a_page_that_leads_nowhere_is_no_page(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faulty shard that has always more, and never a key, doesn't keep a scan going for ever."""
    monkeypatch.setattr(cluster.services["shard0"].shard, "keys", lambda *_: succeed(Page([], True)))
    with pytest.raises(BadRequest):
        cluster.run(client.keys().next_page())


# ---------------------------------------------------------------------- indexes


@pytest.mark.parametrize("latency", [0, 0.02])
def test_a_scan_of_a_missing_index(cluster: MemoryCluster, client: Client, latency: float) -> None:
    """An index that doesn't exist is `IndexNotFound`, soon, also when answers take their time."""
    cluster.advance(60)
    outcome = watch(client.keys("pages").next_page())
    _with_latency(cluster, latency, lambda: not outcome, 1)
    assert [type(one) for one in outcome] == [IndexNotFound]


def _with_latency(cluster: MemoryCluster, seconds: float, goes_on: Callable[[], bool], most: float) -> None:
    """Let time pass, while every answer takes so many seconds."""
    addresses = [(one.host, one.port) for one in cluster.state.map.ranges] + [("localhost", 9192)]
    end = cluster.clock.seconds() + most
    while goes_on() and cluster.clock.seconds() < end:
        for address in addresses:
            cluster.network.silence(*address)
        cluster.advance(max(seconds, 0.001))
        for address in addresses:
            cluster.network.unsilence(*address)
        cluster.advance(0)


def test_a_scan_of_an_index_that_another_client_just_created(cluster: MemoryCluster, client: Client) -> None:
    """A client whose map is older scans a new index without an error."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    keys = fill(cluster, client, ["a", "b", "c"], "pages")
    assert [key for page in scan(cluster, other.keys("pages")) for key in page] == keys


def test_a_scan_whose_index_is_dropped(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan under which the index is dropped fails with `IndexNotFound`; it doesn't end as if it were through."""
    page_keys(monkeypatch, 5)
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    fill(cluster, client, [f"key{number}" for number in range(20)], "pages")
    pages = other.keys("pages")
    assert len(cluster.run(pages.next_page())) == 5
    cluster.run(client.drop_index("pages"))
    with pytest.raises(IndexNotFound):
        cluster.run(pages.next_page())


def test_a_scan_of_a_closed_client(cluster: MemoryCluster, client: Client) -> None:
    """After close a scan fails, before its first page and in the middle."""
    fill(cluster, client, ["test", "test1"])
    pages = client.keys()
    cluster.run(pages.next_page())
    cluster.run(client.close())
    for one in (pages, client.keys()):
        with pytest.raises(ClientClosed):
            cluster.run(one.next_page())
