"""Scans: an error, and never just an end, where a part of the keys can't be had."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from deferreds import watch
from scans import fill, page_keys, scan, with_latency
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.errors import BadRequest, ClientClosed, IndexNotFound, NotConfigured, Overloaded, Unavailable
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.storage import Page
from pyshard.testing import MemoryCluster

# -- shards ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("what", ["keys", "count"])
def test_a_shard_that_has_too_much_to_do_is_asked_again(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, what: str, blocking: bool
) -> None:
    """`Overloaded` is ridden out, with pauses, and without asking the bootstrap for a map each time."""
    keys = fill(cluster, client, ["test"])
    shard, asked = cluster.services["shard0"].shard, list[float]()
    original = getattr(shard, what)

    def full_at_first(*arguments: Any) -> Any:
        asked.append(cluster.clock.seconds())
        return fail(Overloaded("too much to do")) if len(asked) < 5 else original(*arguments)

    monkeypatch.setattr(shard, what, full_at_first)
    with cluster.blocking() as app:
        monkeypatch.setattr(client._router, "refresh", None)
        monkeypatch.setattr(app._cluster(), "refresh", None)
        if what == "count":
            assert (app.count() if blocking else cluster.run(client.count())) == 1
        else:
            assert (list(app.keys()) if blocking else cluster.run(client.keys().next_page())) == keys
    assert [round(later - earlier, 1) for earlier, later in pairwise(asked)] == [0.1, 0.2, 0.4, 0.8]


def test_too_many_calls_of_this_side_fail_at_once(cluster: MemoryCluster, client: Client) -> None:
    """They wait already for what the shard is to answer."""
    cluster.network.silence("127.0.0.1", 5050)
    outcomes = [watch(client.count()) for _ in range(settings.MAX_QUESTIONS + 1)]
    cluster.advance(0)
    assert [type(outcome) for waiting in outcomes for outcome in waiting] == [Overloaded]


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


@pytest.mark.parametrize(
    "call", [lambda client: client.keys(deadline=2).next_page(), lambda client: client.count(deadline=2)]
)
def test_a_map_that_is_not_to_be_had(
    cluster: MemoryCluster, client: Client, call: Callable[[Client], Deferred[object]]
) -> None:
    """The wait for a newer map, after a shard has refused, ends by the deadline; the error has the shard's reason."""
    fill(cluster, client, ["test"])
    cluster.stop_bootstrap()
    cluster.services["shard0"].shard.assignment = None
    cluster.network.silence("127.0.0.1", 5051)
    outcome = watch(call(client))
    cluster.advance(2)
    assert [type(one) for one in outcome] == [Unavailable]
    assert "not configured" in str(outcome[0])


def test_a_page_that_leads_nowhere_is_no_page(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faulty shard that has always more, and never a key, doesn't keep a scan going for ever."""
    monkeypatch.setattr(cluster.services["shard0"].shard, "keys", lambda *_: succeed(Page([], True, SLOTS // 2)))
    with pytest.raises(BadRequest):
        cluster.run(client.keys().next_page())


@pytest.mark.parametrize("blocking", [False, True])
def test_a_shard_that_drips(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, blocking: bool
) -> None:
    """A shard that takes long for each page, and gives one key with it, ends a scan after an hour."""
    keys = sorted((b"%d" % number for number in range(2000)), key=slot_of)

    def drip(_: object, __: object, slot: int, *___: object) -> Deferred[Page]:
        key = next(key for key in keys if slot_of(key) >= slot)
        return deferLater(cluster.clock, 9, lambda: Page([key], False, slot_of(key) + 1))

    monkeypatch.setattr(cluster.services["shard0"].shard, "keys", drip)
    began = cluster.clock.seconds()
    walk: Callable[[], object] = partial(scan, cluster, client.keys())
    if blocking:
        walk = partial(list, cluster.blocking().keys())
    with pytest.raises(Unavailable, match=r"^shard 'shard0' gives its keys too slowly: 40\d of the range"):
        walk()
    assert 3600 < cluster.clock.seconds() - began < 3700


# -- indexes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [0, 0.02])
def test_a_scan_of_a_missing_index(cluster: MemoryCluster, client: Client, latency: float) -> None:
    """An index that doesn't exist is `IndexNotFound`, soon, also when answers take their time."""
    cluster.advance(60)
    outcome = watch(client.keys("pages").next_page())
    with_latency(cluster, latency, lambda: not outcome, 1)
    assert [type(one) for one in outcome] == [IndexNotFound]


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
