"""The page's watch of a cluster in memory that has replicas: a failover, from event to event."""

from __future__ import annotations

from typing import Any

import msgspec
from bootstrap.opened_page import Browser, site_of
from bootstrap.states import Log
from twisted.internet.defer import succeed

from pyshard.bootstrap.bootstrap import Condition
from pyshard.bootstrap.status_page.cluster_watch import EVERY, ClusterWatch
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import Unavailable
from pyshard.testing import MemoryCluster

SECONDS = 30  # in which a replica in memory has a copy again


def test_a_failover() -> None:
    """The primary is killed: the page shows the failover, then the next primary, and then all members."""
    with MemoryCluster(1, replicas=3, lease=1.0) as cluster:
        cluster.advance(5)
        browser = Browser(site_of(cluster), "/events")
        cluster.advance(2)
        before = browser.events[-1]
        (group,) = before["groups"]
        assert (before["health"], before["shards"][0]["state"], group["members"]) == ("good", "ready", 3)
        assert [one["role"] for one in group["replicas"]] == ["primary", "member", "member"]
        assert {one["state"] for one in group["replicas"]} == {"up"}
        cluster.kill_shard("shard0")
        seen = states_until(browser, cluster, "member missing")
        assert seen == ["failing over", "member missing"]
        shown = browser.events[-1]
        (group,) = shown["groups"]
        assert (group["members"], group["level"]) == (2, "warn")
        first, *others = group["replicas"]
        assert (first["role"], first["state"], first["address"]) == ("learner", "down", before["shards"][0]["address"])
        assert first["silent"] > 0.5
        assert sorted(one["role"] for one in others) == ["member", "primary"]
        assert shown["shards"][0]["address"] == next(one["address"] for one in others if one["role"] == "primary")
        cluster.start_shard("shard0")
        assert states_until(browser, cluster, "ready") == ["ready"]
        assert browser.events[-1]["health"] == "good"
        browser.leave()


def states_until(browser: Browser, cluster: MemoryCluster, last: str) -> list[str]:
    """The states that the page shows of the shard, without what it showed first, until one."""
    begin, before = len(browser.events), browser.events[-1]["shards"][0]["state"]
    states: list[str] = []
    for _ in range(SECONDS):
        cluster.advance(1)
        states = [event["shards"][0]["state"] for event in browser.events[begin:]]
        if last in states:
            found: list[str] = []
            for state in states:
                if state != (found[-1] if found else before):
                    found.append(state)
            return found
    raise AssertionError(f"never {last}: {states}")


def test_too_few_members() -> None:
    """Where two of three are gone, the shard takes no changes, and the page says so."""
    with MemoryCluster(1, replicas=3, lease=1.0) as cluster:
        cluster.advance(5)
        browser = Browser(site_of(cluster), "/events")
        cluster.kill_shard("shard0.2")
        cluster.kill_shard("shard0.3")
        assert states_until(browser, cluster, "too few members")[-1] == "too few members"
        (problem,) = browser.events[-1]["problems"]
        assert problem["what"] == "shard0: too few members"
        assert problem["why"].startswith("it takes no changes: 1 of 3 replicas have all documents")
        browser.leave()


def test_rates_of_another_primary() -> None:
    """Operations are counted by each process: what the last primary has told isn't compared with the next one's."""
    with MemoryCluster(1, replicas=2, lease=1.0) as cluster:
        cluster.advance(5)
        client = cluster.connect()
        cluster.run(client.write_many((f"key{number}", number) for number in range(500)))
        browser = Browser(site_of(cluster), "/events")
        cluster.advance(5)
        address = addresses(browser)[-1]
        (other,) = [one["address"] for one in browser.events[-1]["groups"][0]["replicas"] if one["address"] != address]
        for target in (other, address):  # the process that has counted more comes second
            cluster.run(LayoutClient(client).change_replicas("shard0", target, "switch"))
            cluster.advance(6)
        assert {address, other} <= set(addresses(browser))
        assert all(rate < 100 for _, rate in browser.events[-1]["rates"][-10:])
        browser.leave()


def addresses(browser: Browser) -> list[str]:
    """Where the shard was, from event to event."""
    return [event["shards"][0]["address"] for event in browser.events]


def test_a_state_store_that_goes_away() -> None:
    """The page says that it is away, why, and when it is there again."""
    with MemoryCluster(1) as cluster:
        browser = Browser(site_of(cluster), "/events")
        cluster.advance(1)
        assert shown_store(browser) == {"kind": "memory", "name": "memory", "away": None, "error": ""}
        cluster.state_store.away = Unavailable("nobody answers")
        service = cluster.bootstrap
        assert service is not None
        service.bootstrap.changes.look()
        cluster.advance(3)
        assert shown_store(browser)["away"] in (2, 3)
        assert browser.events[-1]["problems"][0]["what"] == "state store: away"
        assert browser.events[-1]["health"] == "bad"
        cluster.state_store.away = None
        service.bootstrap.changes.look()
        cluster.advance(1)
        assert shown_store(browser)["away"] is None
        assert browser.events[-1]["problems"] == []
        browser.leave()


def shown_store(browser: Browser) -> dict[str, Any]:
    """What the last event has of the state store."""
    found: dict[str, Any] = browser.events[-1]["store"]
    return found


def test_what_is_kept_of_older_answers() -> None:
    """Their numbers alone: names may be many and long, and a cluster has hundreds of shards."""
    log = Log()
    log.bootstrap.set_readiness("low", Condition.READY, "")
    stat = {"uptime": 1.0, "operations": 2, "documents": 3, "bytes": 4, "ready": True, "index_documents": {"pages": 3}}
    answer = msgspec.json.encode(stat)
    watch = ClusterWatch(
        log.bootstrap, log.clock, lambda _: succeed(answer), tuple, lambda _: {}, lambda _: None, lambda: True
    )
    watch.begin()
    for _ in range(6):
        log.clock.advance(EVERY)
    kept = watch._shards["low"].answers
    assert [dict(each.indexes) for each in kept] == [{}, {}, {}, {"pages": 3}]
    assert {each.operations for each in kept} == {2}
