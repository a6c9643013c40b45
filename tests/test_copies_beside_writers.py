"""A replica that is restarted becomes a member beside a writer that never rests, in a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import attrs
import pytest
from deferreds import result, watch
from moving_replicas import group_of, others, primary, wait_whole
from twisted.internet.protocol import Factory

from pyshard.model import document_encoding
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.boxes import Box
from pyshard.protocol.chunked_arguments import put_chunks
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.shard.slowed_writers import Allowed
from pyshard.storage import IStore, MemoryStore
from pyshard.storage.follower_places import FollowedBound
from pyshard.testing import MemoryCluster

_DOCS = {f"d{number}": "x" * 1000 for number in range(1000)}
_BOUND = FollowedBound(1_000_000, 3600.0)
_RECORD = document_encoding.encode("y" * 10_000)[0]
_STEP = 0.05  # seconds


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """A shard with two replicas and 1 MB, of which it keeps 1 MB of changes. A page of a copy has 1 %."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=10_000))

    def store(identity: str, seconds: object) -> IStore:
        assert callable(seconds)
        return MemoryStore(identity, seconds, steady=seconds, bound=_BOUND)

    with MemoryCluster(1, store=store, replicas=2, lease=1.0) as made:
        wait_whole(made)
        made.run(made.connect().write_many(_DOCS))
        wait_whole(made)
        yield made


def restarted(cluster: MemoryCluster, seconds: float) -> tuple[bool, int]:
    """Restart the other replica beside a writer of 2 MB/s that doesn't look at answers.

    :return: whether it is a member in time, and how many batches were answered.
    """
    (other,) = others(cluster, "shard0")
    place = cluster.processes[primary(cluster, "shard0")]
    peer = BoundedAMP(cluster.clock)
    connecting = cluster.network.dial(*place).connect(Factory.forProtocol(lambda: peer))
    cluster.kill_shard(other)
    cluster.advance(5)
    result(connecting)
    assert group_of(cluster, "shard0").learners
    cluster.network.delay(*cluster.processes[primary(cluster, "shard0")], 0.02)
    cluster.start_shard(other)
    answers = []
    for _ in range(round(seconds / _STEP)):
        box: Box = {b"epoch": b"%d" % cluster.state.epoch}
        put_chunks(box, b"batch", encode_runs([Write("", [b"%d" % key for key in range(10)], [_RECORD] * 10)]))
        answers.append(watch(peer.call_directly(commands.Apply.commandName, box)))
        cluster.advance(_STEP)
        if not group_of(cluster, "shard0").learners:
            return True, sum(bool(answer) and not isinstance(answer[0], Exception) for answer in answers)
    return False, 0


def test_a_replica_becomes_a_member(cluster: MemoryCluster) -> None:
    """Though in the time of its copy several times as much would be written as is kept."""
    member, written = restarted(cluster, 60)
    assert member
    assert written >= 5


def test_it_does_not_beside_writers_who_are_not_slowed(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what they are slowed for."""
    writers = cluster.services[primary(cluster, "shard0")].followers.writers
    monkeypatch.setattr(writers, "_find", lambda _: Allowed(inf))
    assert restarted(cluster, 60) == (False, 0)
