"""Connections that break before an answer is there: reads go out again, changes are unknown, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client.shard_link.shard0 import ADDRESS, CHANGES, lose_answers
from clusters import keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.errors import OutcomeUnknown
from pyshard.testing import MemoryCluster


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_whose_answer_is_lost_is_unknown_and_not_repeated(
    cluster: MemoryCluster, client: Client, change: Callable[[Client], Deferred[Any]]
) -> None:
    """A change that was sent fails with `OutcomeUnknown` as soon as its connection breaks; the shard sees it once."""
    cluster.run(client.write("test", "old"))
    cluster.network.silence(*ADDRESS)
    before = cluster.services["shard0"].shard.operations
    outcome = watch(change(client))
    cluster.advance(0.1)
    assert outcome == []
    lose_answers(cluster)
    cluster.advance(0)
    assert kinds([outcome]) == [[OutcomeUnknown]]
    assert "'test'" in str(outcome[0])
    assert "shard 'shard0' at 127.0.0.1:5050" in str(outcome[0])
    cluster.advance(20)
    assert cluster.services["shard0"].shard.operations == before + 1


def test_a_read_whose_answer_is_lost_is_repeated(cluster: MemoryCluster, client: Client) -> None:
    """Reads go out again on the next connection, and succeed within the deadline."""
    cluster.run(client.write("test", "here"))
    cluster.network.silence(*ADDRESS)
    reads, has = watch(client.read("test")), watch(client.has("test"))
    cluster.advance(1)
    lose_answers(cluster)
    cluster.advance(1)
    assert reads == [{"hash_": 0.1671936, "record": "here"}]
    assert has == [True]


def test_many_boxes_of_reads_are_repeated(cluster: MemoryCluster, client: Client) -> None:
    """All that was in flight on a lost connection, in several boxes, is answered by the next one."""
    keys = keys_on(cluster, "shard0", 30)
    cluster.run(gatherResults([client.write(key, key) for key in keys]))
    cluster.network.silence(*ADDRESS)
    reads = []
    for key in keys:
        reads.append(client.read(key))
        cluster.advance(0.01)
    for _ in range(3):
        cluster.network.cut(*ADDRESS)
        cluster.advance(0.3)
    lose_answers(cluster)
    found = cluster.run(gatherResults(reads))
    assert [one and one["record"] for one in found] == keys


def test_a_read_and_the_write_behind_it_keep_their_order_over_a_lost_connection(
    cluster: MemoryCluster, client: Client
) -> None:
    """A write that waits behind a read in flight is not sent on the dead connection: both happen, in order."""
    cluster.run(client.write("test", "old"))
    cluster.network.silence(*ADDRESS)
    read = watch(client.read("test"))
    cluster.advance(0.1)
    write, after = watch(client.write("test", "new")), watch(client.read("test"))
    lose_answers(cluster)
    cluster.advance(1)
    assert read == [{"hash_": 0.1671936, "record": "old"}]
    assert write == [52]
    assert after == [{"hash_": 0.1671936, "record": "new"}]


def test_what_was_never_sent_outlives_every_lost_connection(cluster: MemoryCluster, client: Client) -> None:
    """A change that waits while connections come and go is sent once, when one stays."""
    before = cluster.services["shard0"].shard.operations
    cluster.network.silence(*ADDRESS)
    cluster.network.cut(*ADDRESS)
    cluster.advance(0)
    write = watch(client.write("test", 1))
    for _ in range(20):
        cluster.advance(0.1)
        cluster.network.cut(*ADDRESS)
    assert write == []
    lose_answers(cluster)
    cluster.advance(2)
    assert write == [28]
    assert cluster.services["shard0"].shard.operations == before + 1


def test_a_change_issued_as_the_connection_breaks_is_not_lost(cluster: MemoryCluster, client: Client) -> None:
    """What a caller issues when it learns of the loss goes over the next connection, not over the dead one."""
    cluster.network.silence(*ADDRESS)
    outcome = watch(client.write("test", 1).addErrback(lambda _: client.write("test", 2)))
    cluster.advance(0.1)
    lose_answers(cluster)
    cluster.advance(1)
    assert outcome == [28]
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": 2}
