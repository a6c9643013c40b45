"""Operations on a shard that doesn't answer: each ends at its deadline, and other shards' go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from client.shard_link.shard0 import ADDRESS, CHANGES, lose_answers
from clusters import keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.storage import ITSELF, Sender
from pyshard.testing import MemoryCluster


def applied(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets how many operations each box has that shard0 applies."""
    shard = cluster.services["shard0"].shard
    apply, seen = shard.apply, list[int]()

    def watched(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        seen.append(sum(len(run.keys) for run in runs))
        return apply(epoch, runs, sender)

    monkeypatch.setattr(shard, "apply", watched)
    return seen


@pytest.mark.parametrize("deadline", [0.5, 3, 10, 25])
def test_the_deadline_of_a_silent_shard_is_exact(cluster: MemoryCluster, deadline: float) -> None:
    """At its deadline, not before, a read is `Unavailable`, a change in flight unknown, a waiting change `Unavailable`.

    With a deadline past 10 s the change is unknown after 10 s, when the connection is given up.
    """
    client = cluster.connect(deadline=deadline)
    key = keys_on(cluster, "shard0", 1)[0]
    cluster.run(client.write(key, "old"))
    cluster.network.silence(*ADDRESS)
    read, change = watch(client.read("test")), watch(client.write(key, "new"))
    cluster.advance(0)
    waiting = watch(client.write(key, "never"))
    given_up = min(deadline, settings.DEADLINE)
    cluster.advance(given_up - 0.001)
    assert kinds([read, change, waiting]) == [[], [], []]
    cluster.advance(0.001)
    assert kinds([change]) == [[OutcomeUnknown]]
    if deadline > given_up:
        cluster.advance(deadline - given_up - 0.001)
        assert kinds([read, waiting]) == [[], []]
        cluster.advance(0.001)
    assert kinds([read, waiting]) == [[Unavailable], [Unavailable]]
    lose_answers(cluster)
    cluster.advance(30)
    found = cluster.run(client.read(key))
    assert found is not None
    assert found["record"] == "new"


def test_a_change_that_ended_as_unavailable_never_happens(cluster: MemoryCluster, client: Client) -> None:
    """`Unavailable` is a promise: when the shard is back, the change doesn't come after all."""
    listener = cluster.network.listeners.pop(ADDRESS)
    cluster.network.cut(*ADDRESS)
    cluster.advance(0)
    before = cluster.services["shard0"].shard.operations
    outcomes = [watch(change(client)) for change in CHANGES.values()]
    cluster.advance(9.999)
    assert kinds(outcomes) == [[]] * 4
    cluster.advance(0.001)
    assert kinds(outcomes) == [[Unavailable]] * 4
    cluster.network.listeners[ADDRESS] = listener
    cluster.advance(30)
    assert cluster.run(client.has("test")) is False
    assert cluster.services["shard0"].shard.operations == before + 1


def test_each_operation_ends_at_its_own_deadline(cluster: MemoryCluster, client: Client) -> None:
    """Many operations with deadlines in any order end each at its own time, while the shard is away."""
    cluster.kill_shard("shard0")
    began = cluster.clock.seconds()
    ended: dict[float, float] = {}

    def note(deadline: float) -> Callable[[object], None]:
        return lambda _: ended.__setitem__(deadline, round(cluster.clock.seconds() - began, 3))

    deadlines = [number * 37 % 101 / 10 for number in range(1, 101)]
    for deadline in deadlines:
        client.write("test", 1, deadline=deadline).addErrback(note(deadline))
    cluster.advance(11)
    assert ended == {deadline: deadline for deadline in deadlines}


def test_the_reason_is_told(cluster: MemoryCluster, client: Client) -> None:
    """`Unavailable` names the operation, the shard, its address and why it could not be reached."""
    cluster.kill_shard("shard0")
    with pytest.raises(Unavailable) as raised:
        cluster.run(client.read("test", deadline=1))
    assert str(raised.value) == (
        "read of key 'test': shard 'shard0' at 127.0.0.1:5050 could not answer before the deadline: connection refused"
        "; is it running, at this address? "
        "Start it as before: 'twistd pyshard-shard', with its --data-dir if it had one"
    )


def test_a_connection_that_gives_no_answer_is_given_up(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box without an answer for 10 s costs its connection: reads with time left succeed on the next one."""
    boxes = applied(cluster, monkeypatch)
    cluster.network.strand(*ADDRESS)
    read = watch(client.read("test", deadline=30))
    cluster.advance(0)
    key = keys_on(cluster, "shard0", 1)[0]
    change = watch(client.write(key, 1, deadline=30))
    cluster.advance(9.999)
    assert kinds([read, change]) == [[], []]
    cluster.advance(0.5)
    assert read == [None]
    assert kinds([change]) == [[OutcomeUnknown]]
    assert boxes == [1]


def test_boxes_that_nobody_waits_for_any_more_do_not_block_the_link(cluster: MemoryCluster, client: Client) -> None:
    """When all boxes in flight are stuck and past their deadline, the link recovers by itself."""
    cluster.network.strand(*ADDRESS)
    stuck = []
    for key in keys_on(cluster, "shard0", settings.BOXES_IN_FLIGHT):
        stuck.append(watch(client.write(key, 1, deadline=1)))
        cluster.advance(0)
    cluster.advance(20)
    assert kinds(stuck) == [[OutcomeUnknown]] * settings.BOXES_IN_FLIGHT
    began = cluster.clock.seconds()
    assert cluster.run(client.write("test", 1, deadline=1)) == 28
    assert cluster.clock.seconds() - began < 0.1


def test_a_slow_answer_within_the_deadline_counts(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard may take nearly all the time that an operation has."""
    shard = cluster.services["shard0"].shard
    apply = shard.apply
    monkeypatch.setattr(shard, "apply", lambda *asked: deferLater(cluster.clock, 9.9, apply, *asked))
    outcome = watch(client.write("test", 1))
    cluster.advance(9.89)
    assert outcome == []
    cluster.advance(0.01)
    assert outcome == [28]


@pytest.mark.parametrize("how", ["killed", "silent", "not configured"])
def test_a_dead_shard_costs_the_others_nothing(cluster: MemoryCluster, client: Client, how: str) -> None:
    """While one shard is away, operations on the other take no time, however many wait for the first."""
    if how == "killed":
        cluster.kill_shard("shard0")
    elif how == "silent":
        cluster.network.silence(*ADDRESS)
    else:
        cluster.stop_bootstrap()
        cluster.services["shard0"].shard.assignment = None
    waiting = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 3000)]
    for key in keys_on(cluster, "shard1", 200):
        began = cluster.clock.seconds()
        assert cluster.run(client.write(key, key)) > 0
        found = cluster.run(client.read(key))
        assert found is not None
        assert found["record"] == key
        assert cluster.clock.seconds() == began
        cluster.advance(0.01)
    assert kinds(waiting) == [[]] * 3000
    cluster.network.unsilence(*ADDRESS)
    cluster.advance(10)
    assert {type(one) for outcome in waiting for one in outcome} <= {int, Unavailable, OutcomeUnknown}
    assert all(len(outcome) == 1 for outcome in waiting)
