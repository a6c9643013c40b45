"""A bootstrap without a state: it listens, says what it waits for, and does nothing until it has one."""

from __future__ import annotations

import json
from random import Random

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred, fail

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.group_driver import HeardReport
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.status_page.cluster_watch import ClusterWatch
from pyshard.client import connect
from pyshard.errors import Unavailable
from pyshard.testing import MemoryCluster


def asked(name: str) -> Deferred[bytes]:
    """A shard that tells nothing of itself."""
    return fail(Unavailable(f"{name} isn't asked here"))


def unheard(_: str) -> dict[str, HeardReport]:
    """What replicas said, where there are none."""
    return {}


def test_it_waits_for_its_state() -> None:
    """Clients hear why; stat, status and readiness tell it. Then all is as ever, also for who connected before."""
    with MemoryCluster() as cluster:
        state = cluster.state
        cluster.stop_bootstrap()
        store = MemoryStateStore()
        store.away = Unavailable("nobody answers")
        service = BootstrapService(
            Bootstrap(store, cluster.clock, "b1"),
            cluster.clock,
            cluster.network.listen("localhost", 9192),
            cluster.network.dial,
            Random(1),
            first=lambda: state,
        )
        service.startService()
        cluster.advance(5)
        connecting = watch(
            connect(cluster.clock, ["localhost", 9192], deadline=3, token_file="", dial=cluster.network.dial)
        )
        cluster.advance(4)
        assert isinstance(connecting[0], Unavailable)
        assert "no cluster state yet, since it waits for it: nobody answers" in str(connecting[0])
        assert service.status() == "waits for its state store"
        assert service.unready() == "no cluster state yet"
        assert service.unhealthy() == ""
        told = service.stat()
        assert (told["cluster"], told["epoch"], told["indexes"], told["ready"]) == ("", 0, 0, False)
        assert told["state_store"] == {"name": "memory", "away": pytest.approx(9), "error": "nobody answers"}
        assert service.bootstrap.readiness() == []
        shown: list[bytes] = []
        page = ClusterWatch(service.bootstrap, cluster.clock, asked, list, unheard, shown.append, lambda: True)
        first = json.loads(page.begin())
        assert first["waits"]
        assert first["store"]["error"] == "nobody answers"
        cluster.advance(2)
        assert {json.loads(text)["problems"][0]["what"] for text in shown} == {"state store: away"}
        store.away = None
        cluster.advance(3)
        assert service.unready() == ""
        assert json.loads(shown[-1])["ready_shards"] == 2
        client = cluster.connect()
        cluster.run(client.write("key", 1))
        cluster.run(client.create_index("pages"))
        watch(service.stopService())
        cluster.advance(1)
