"""A member that answers `Ping` at once, and reads late: clients that read at the nearest replica go elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard.client_core.nearest_replica import PATIENCE
from pyshard.protocol.batch_answers import Answer
from pyshard.shard.shard import Shard
from pyshard.testing import MemoryCluster


@pytest.mark.parametrize("blocking", [False, True])
def test_a_member_that_reads_late(monkeypatch: pytest.MonkeyPatch, blocking: bool) -> None:
    """One read of a client waits for it, and no further one for a long time. What each one gives is what is there."""
    with MemoryCluster(1, replicas=3) as cluster:
        cluster.advance(10)
        app, client = cluster.blocking(read_from="nearest"), cluster.connect(read_from="nearest")
        app.write("k", 1)
        cluster.advance(1)

        def read() -> object:
            return app.get("k") if blocking else cluster.run(client.get("k"))

        served: list[Shard] = []
        late: list[Shard] = []
        for service in cluster.services.values():
            delay(cluster, monkeypatch, service.shard, served, late)
        for _ in range(5):
            assert read() == 1
            cluster.advance(0.2)
        chosen = served[-1]
        late.append(chosen)
        before, took = served.count(chosen), []
        for _ in range(100):
            began = cluster.clock.seconds()
            assert read() == 1
            took.append(cluster.clock.seconds() - began)
            cluster.advance(0.2)
        assert [seconds for seconds in took if seconds > 0.3] == [pytest.approx(0.9 * PATIENCE)]
        assert served.count(chosen) == before + 1


def delay(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, shard: Shard, served: list[Shard], late: list[Shard]
) -> None:
    """Have a replica note each stale read, and answer it late if it is one of those."""
    apply_stale: Any = shard.apply_stale

    def later(*given: Any) -> Deferred[list[Answer]]:
        served.append(shard)
        return deferLater(cluster.clock, 0.9 * PATIENCE if shard in late else 0.0, apply_stale, *given)

    monkeypatch.setattr(shard, "apply_stale", later)
