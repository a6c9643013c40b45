"""All members of a shard are lost while ranges move, and an operator has a replica lead that lacks something.

What it lacks is lost, and nothing else: no range has two owners, or none, and nothing is stuck.
"""

from __future__ import annotations

import pytest
from conftest import TakeErrors
from moving import DOCS, MOVING, owner, plan, slow_down, until
from moving_replicas import (
    HungDisk,
    check_members,
    check_whole,
    copies_of_last,
    has_staged,
    others,
    primary,
    store_of,
    until_so,
)
from twisted.internet.defer import succeed

from pyshard.client.layout_client import LayoutClient
from pyshard.model.range_moves import Phase
from pyshard.testing import MemoryCluster

ALL = ("shard0", "shard0.2", "shard1", "shard1.2")


class LeftBehind:
    """A replica that takes no more from its primary's log, and isn't a member soon."""

    def __init__(self, cluster: MemoryCluster, shard: str, patched: pytest.MonkeyPatch) -> None:
        self._cluster = cluster
        self._shard = shard
        self._patched = patched
        (self.name,) = others(cluster, shard)
        self._hung = HungDisk(cluster, self.name, patched)

    def lead(self) -> None:
        """Have it lead after all others were lost."""
        cluster, address = self._cluster, ":".join(map(str, self._cluster.processes[self.name]))
        until_so(cluster, lambda: not others(cluster, self._shard))
        lost = primary(cluster, self._shard)
        cluster.kill_shard(lost)
        self._hung.let_go(self._patched)
        client = cluster.connect(deadline=20)
        cluster.run(LayoutClient(client).change_replicas(self._shard, address, "promote", force=True))
        cluster.advance(1)
        cluster.start_shard(lost)


@pytest.mark.parametrize("shard", ["shard0", "shard1"], ids=["source", "target"])
def test_undecided(cluster: MemoryCluster, shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move is cancelled with the reason, and can be made anew."""
    client = cluster.connect(deadline=20)
    slow_down(cluster, monkeypatch, page=200)
    plan(cluster)
    until_so(cluster, lambda: has_staged(cluster, others(cluster, "shard1")[0]))
    behind = LeftBehind(cluster, shard, monkeypatch)
    behind.lead()
    until(cluster)
    assert cluster.bootstrap is not None
    (ended,) = cluster.bootstrap.driver.listed()
    assert ended.phase is Phase.CANCELLED
    assert f"the store of shard {shard!r}" in ended.why
    check_whole(cluster, client)
    plan(cluster)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)


def test_a_source_that_never_heard_of_the_seal(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the range has moved it gives it up all the same: nobody is answered by it."""
    client, late = cluster.connect(deadline=20), cluster.connect(deadline=20)
    cluster.run(late.get_many(list(DOCS)))
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: has_staged(cluster, primary(cluster, "shard1")))
    behind = LeftBehind(cluster, "shard0", monkeypatch)
    for name in [name for name in ALL if name.startswith("shard0") and name != behind.name]:
        monkeypatch.setattr(store_of(cluster, name), "sweep", lambda _: succeed(False))  # so that it isn't over
    until(cluster, Phase.COMMITTED)
    cluster.run(client.write_many(dict.fromkeys(MOVING, "moved")))
    behind.lead()
    assert cluster.run(late.get_many(MOVING)) == ["moved"] * len(MOVING)
    until(cluster)
    assert cluster.run(late.count()) == len(DOCS)
    wanted = ["moved" if key in MOVING else number for key, number in DOCS.items()]
    assert cluster.run(client.get_many(list(DOCS))) == wanted
    check_members(cluster)


def test_a_target_that_never_had_the_copy(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """When the range has moved it is lost, as far as it wasn't copied; all else goes on, and the range can be used."""
    client = cluster.connect(deadline=20)
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: has_staged(cluster, others(cluster, "shard1")[0]))
    behind = LeftBehind(cluster, "shard1", monkeypatch)
    until(cluster, Phase.COMMITTED)
    behind.lead()
    until(cluster)
    assert owner(cluster) == "shard1"
    values = cluster.run(client.get_many(list(DOCS)))
    found = dict(zip(DOCS, values, strict=True))
    assert {key for key, value in found.items() if value is None} <= set(MOVING)
    assert all(value in (DOCS[key], None) for key, value in found.items())
    assert "are lost" in str(logged_errors())
    cluster.run(client.write_many(DOCS))
    check_whole(cluster, client)
