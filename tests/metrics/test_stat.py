"""What `stat` tells: every field is described, and the figures are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blocks import CHECKOUT
from stores import folder

from pyshard.bootstrap.bootstrap import Condition
from pyshard.bootstrap.service import BootstrapService
from pyshard.errors import NotANumber, PermissionDenied
from pyshard.metrics.shard_families import SHARD_FAMILIES
from pyshard.security.tokens_and_roles import parse
from pyshard.settings import settings
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.testing import MemoryCluster


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of one shard in memory."""
    with MemoryCluster(1) as made:
        yield made


def stat(cluster: MemoryCluster) -> dict[str, Any]:
    """What its shard tells."""
    return cluster.services["shard0"].stat()


def service_of(cluster: MemoryCluster) -> BootstrapService:
    """Its bootstrap."""
    assert cluster.bootstrap is not None
    return cluster.bootstrap


def durable(path: Path) -> MemoryCluster:
    """A cluster of one durable shard."""
    return MemoryCluster(1, store=lambda _, seconds: LmdbStore(DataDirectory(path), seconds))


def test_every_field_is_described() -> None:
    """docs/protocol.md has each field of a durable shard and of a bootstrap."""
    text = (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8")
    section = text.partition("\n### Stat\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    with (
        folder() as path,
        MemoryCluster(1, store=lambda _, seconds: LmdbStore(DataDirectory(path), seconds)) as cluster,
    ):
        shard, bootstrap = stat(cluster), service_of(cluster).stat()
    with MemoryCluster(1, replicas=2, lease=1.0) as cluster:
        assert stat(cluster).keys() - shard.keys() == {"replica"}
    assert told == {*shard, *bootstrap, "certificate_expiry", "replica"}


def test_staleness() -> None:
    """A member tells how old what it shows is, and from when on it refuses; a primary and a lone shard don't."""
    with MemoryCluster(1) as lone:
        assert values(stat(lone)) == {}
    with MemoryCluster(1, replicas=2, lease=1.0) as cluster:
        cluster.advance(2)
        told: list[dict[str, Any]] = [service.stat() for service in cluster.services.values()]
    by_role = {one["replica"]["role"]: values(one) for one in told}
    assert by_role["primary"] == {}
    assert by_role["member"].keys() == {"pyshard_staleness_seconds", "pyshard_staleness_limit_seconds"}
    assert 0 <= by_role["member"]["pyshard_staleness_seconds"] < by_role["member"]["pyshard_staleness_limit_seconds"]
    assert by_role["member"]["pyshard_staleness_limit_seconds"] == 2.0


def test_a_member_that_does_not_know() -> None:
    """It has no sample then, rather than a figure that would be wrong; the limit stays."""
    unknown = {"replica": {"role": "learner", "stale": None, "most_stale": 6.0}}
    assert values(unknown) == {"pyshard_staleness_limit_seconds": 6.0}


def values(told: dict[str, Any]) -> dict[str, float]:
    """The metrics of staleness in what a shard tells."""
    families = [family for family in SHARD_FAMILIES if family.name.startswith("pyshard_staleness_")]
    assert len(families) == 2
    return {family.name: value for family in families for _, value in family.samples(told)}


def test_documents_by_index(cluster: MemoryCluster) -> None:
    """The first indexes by name have counts of their own, so many with the default one; all others count together."""
    client = cluster.connect()
    names = [f"index{number:03}" for number in range(settings.STAT_INDEXES)]
    for name in names:
        cluster.run(client.create_index(name))
    cluster.run(client.write("a", 1))
    cluster.run(client.index(names[0]).write("a", 1))
    cluster.run(client.index(names[-1]).write("a", 1))
    told = stat(cluster)
    assert list(told["index_documents"]) == ["", *names[:-1]]
    assert {name: count for name, count in told["index_documents"].items() if count} == {"": 1, names[0]: 1}
    assert told["other_index_documents"] == 1


def test_expired(cluster: MemoryCluster) -> None:
    """Documents count when they are removed."""
    client = cluster.connect()
    cluster.run(client.write("a", 1, ttl=1))
    cluster.run(client.write("b", 1, ttl=100))
    assert stat(cluster)["expired"] == 0
    cluster.advance(3)
    assert stat(cluster)["expired"] == 1


def test_durable() -> None:
    """A durable shard tells of its disk, and counts what has expired once it is removed."""
    with (
        folder() as made,
        MemoryCluster(1, store=lambda _, seconds: LmdbStore(DataDirectory(made), seconds)) as cluster,
    ):
        client = cluster.connect()
        cluster.run(client.write("a", 1, ttl=1))
        before = stat(cluster)
        assert (before["waiting_bytes"], before["failing"], before["expired"]) == (0, False, 0)
        assert sum(before["commits"]["bytes"]["counts"]) > 0
        assert before["log_bytes"] > before["commits"]["bytes"]["sum"] > 0
        cluster.advance(3)
        assert stat(cluster)["expired"] == 1


def test_connections_and_refusals(cluster: MemoryCluster) -> None:
    """Connections count by role, and what is refused by its error's code."""
    client = cluster.connect()
    cluster.run(client.write("a", "text"))
    with pytest.raises(NotANumber):
        cluster.run(client.increment("a"))
    told = stat(cluster)
    assert told["connections_by_role"]["admin"] == told["connected"] == told["connections_opened"] == 2
    assert told["refusals"] == {"NOT_A_NUMBER": 1}
    assert told["verbs"]["increment"] == {"done": 0, "refused": 1}


def test_writes_of_a_reader() -> None:
    """What a role doesn't allow counts by the error's code alone; neither verbs nor times have it."""
    with MemoryCluster(1, tokens=parse("admin admins-secret-16x\nread readers-secret-16\n")) as cluster:
        reader = cluster.connect(secret=b"readers-secret-16")
        before = stat(cluster)
        with pytest.raises(PermissionDenied):
            cluster.run(reader.write("a", 1))
        told = stat(cluster)
    assert told["refusals"] == {"PERMISSION_DENIED": 1}
    assert told["verbs"] == before["verbs"]
    assert told["latencies"]["change"] == before["latencies"]["change"]


def test_a_shard_that_is_not_ready() -> None:
    """It says why; a bootstrap counts its shards by how it sees them."""
    with MemoryCluster(2) as cluster:
        service = service_of(cluster)
        assert (service.unready(), service.stat()["ready"]) == ("", True)
        service.bootstrap.set_readiness("shard0", Condition.UNREACHABLE, "away")
        assert service.unready() == "1 of 2 shards are ready"
        assert service.stat()["shards"] == {"unreachable": 1, "refused": 0, "ready": 1}
        service.factory.draining = True
        assert service.unready() == "shutting down"
        service.factory.draining = False
        shard = cluster.services["shard0"]
        assert (shard.unready(), shard.unhealthy()) == ("", "")
        shard.shard.assignment = None
        assert shard.unready() == "not configured yet"
