"""The link to one shard when things go wrong: lost answers, deadlines, restarts, strangers at the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
from clusters import connected, keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.batch import Answer, Run
from pyshard.bootstrap.bootstrap import first_state
from pyshard.errors import BadRequest, InternalError, OutcomeUnknown, PyshardError, Unavailable
from pyshard.hashing import slot_of
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Assignment, Shard
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards of `cluster`."""
    return connected(cluster)


def lose_answers(cluster: MemoryCluster) -> None:
    """Lose what shard0 has answered meanwhile, with its connections; new ones work."""
    cluster.network.cut(*ADDRESS)
    cluster.network.unsilence(*ADDRESS)


CHANGES: dict[str, Callable[[Client], Deferred[Any]]] = {
    "write": lambda client: client.write("test", "new"),
    "write if absent": lambda client: client.write("test", "new", if_absent=True),
    "pop": lambda client: client.pop("test"),
    "remove": lambda client: client.remove("test"),
}


# ---------------------------------------------------------------------- lost answers


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


# ---------------------------------------------------------------------- deadlines


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
    )


def applied(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets how many operations each box has that shard0 applies."""
    shard = cluster.services["shard0"].shard
    apply, seen = shard.apply, list[int]()

    def watched(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
        seen.append(sum(len(run.keys) for run in runs))
        return apply(epoch, runs)

    monkeypatch.setattr(shard, "apply", watched)
    return seen


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


# ---------------------------------------------------------------------- one shard does not hold up another


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


# ---------------------------------------------------------------------- refused for the moment


def test_a_shard_that_is_not_configured_is_waited_for(cluster: MemoryCluster, client: Client) -> None:
    """`NotConfigured` is ridden out: operations wait, in order, and happen once when the shard is configured."""
    shard = cluster.services["shard0"].shard
    assignment, before = shard.assignment, shard.operations
    cluster.stop_bootstrap()
    shard.assignment = None
    work = [watch(client.write("test", number)) for number in range(3)] + [watch(client.remove("test"))]
    cluster.advance(5)
    assert (work, shard.operations) == ([[]] * 4, before)
    shard.assignment = assignment
    cluster.advance(1.1)
    assert work == [[24], [28], [28], [28]]
    assert shard.operations == before + 4


def test_a_shard_that_is_behind_is_waited_for(cluster: MemoryCluster, client: Client) -> None:
    """`ShardBehind` is ridden out: a shard that knows only an older epoch is asked until it has caught up."""
    shard = cluster.services["shard0"].shard
    assert shard.assignment is not None
    newest, before = shard.assignment, shard.operations
    cluster.stop_bootstrap()
    shard.assignment = attrs.evolve(newest, state=attrs.evolve(newest.state, epoch=newest.state.epoch - 1))
    outcome = watch(client.write("test", 1))
    cluster.advance(5)
    assert (outcome, shard.operations) == ([], before)
    shard.assignment = newest
    cluster.advance(1.1)
    assert outcome == [28]


@pytest.mark.parametrize("seconds", [1, 8])
def test_the_deadline_counts_while_a_shard_refuses(cluster: MemoryCluster, client: Client, seconds: int) -> None:
    """What is refused until its deadline is `Unavailable`, even a change: the shard has applied nothing."""
    cluster.stop_bootstrap()
    cluster.services["shard0"].shard.assignment = None
    outcome = watch(client.write("test", 1, deadline=seconds))
    cluster.advance(seconds - 0.001)
    assert outcome == []
    cluster.advance(0.001)
    assert kinds([outcome]) == [[Unavailable]]
    assert "not configured" in str(outcome[0])


def test_a_refusing_shard_is_asked_ever_less_often(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client holds off after each refusal, up to a second: an unconfigured shard gets no storm of boxes."""
    cluster.stop_bootstrap()
    shard = cluster.services["shard0"].shard
    shard.assignment = None
    asked: list[float] = []
    apply = shard.apply

    def counted(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
        asked.append(cluster.clock.seconds())
        return apply(epoch, runs)

    monkeypatch.setattr(shard, "apply", counted)
    outcomes: list[list[Any]] = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 500)]
    cluster.advance(10)
    assert kinds(outcomes) == [[Unavailable]] * 500
    assert 10 <= len(asked) <= 25
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 1


def test_a_shard_that_shuts_down_takes_nothing_and_loses_nothing(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stopping shard was asked before is answered; what comes later waits for the next start."""
    service = cluster.services.pop("shard0")
    apply, answers = service.shard.apply, list[Callable[[], object]]()

    def slow(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        answers.append(lambda: apply(epoch, runs).chainDeferred(answer))
        return answer

    monkeypatch.setattr(service.shard, "apply", slow)
    first, second = keys_on(cluster, "shard0", 2)
    before = watch(client.write(first, 1))
    cluster.advance(0)
    stopping = service.stopService()
    after = watch(client.write(second, 1))
    cluster.advance(1)
    assert (len(answers), before, after) == (1, [], [])
    answers[0]()
    cluster.run(stopping)
    assert (len(answers), before, after) == (1, [28], [])
    cluster.start_shard("shard0")
    cluster.advance(2)
    assert after == [28]
    assert cluster.run(client.has(first)) is False


def test_a_shard_that_restarts_empty(cluster: MemoryCluster, client: Client) -> None:
    """After a restart that lost the data, what waited happens on the new store, and old keys are missing, soon."""
    cluster.run(client.write("test", "old"))
    cluster.kill_shard("shard0")
    key = keys_on(cluster, "shard0", 1)[0]
    write = watch(client.write(key, "new"))
    cluster.advance(3)
    assert write == []
    cluster.start_shard("shard0")
    cluster.advance(2.5)
    assert write == [52]
    assert cluster.run(client.read("test")) is None
    assert cluster.run(client.read(key)) == {"hash_": slot_of(key.encode()) / 1e7, "record": "new"}


# ---------------------------------------------------------------------- strangers at the address


def stranger(cluster: MemoryCluster, identity: str, assigned_cluster: str, name: str = "shard0") -> Shard:
    """Put another shard at shard0's address, configured by somebody, with a document under "test"."""
    shard = Shard(MemoryStore(identity, cluster.clock.seconds), cluster.clock.seconds)
    ranges = first_state(assigned_cluster, cluster.state.map)
    epoch = attrs.evolve(ranges, epoch=cluster.state.epoch)
    state = epoch.with_identity("shard0", identity, durable=False)
    shard.assignment = Assignment(name, attrs.evolve(state, epoch=cluster.state.epoch))
    ShardService(lambda: shard, cluster.clock, cluster.network.listen(*ADDRESS)).startService()
    return shard


@pytest.mark.parametrize(
    ("own_store", "own_cluster", "why"),
    [(False, True, "another store answers"), (True, False, "belongs to another cluster"), (False, False, "cluster")],
)
def test_a_stranger_at_the_address_is_not_used(
    cluster: MemoryCluster, client: Client, own_store: bool, own_cluster: bool, why: str
) -> None:
    """Who answers as another store, or for another cluster, gets no operation: better no data than wrong data."""
    cluster.stop_bootstrap()
    identity = cluster.services["shard0"].shard.store.identity
    cluster.kill_shard("shard0")
    other = stranger(
        cluster, identity if own_store else "f" * 32, cluster.state.cluster if own_cluster else "another cluster"
    )
    outcomes: list[list[Any]] = [
        watch(client.read("test")),
        watch(client.write("test", 1)),
        watch(client.keys().next_page()),
    ]
    cluster.advance(10)
    assert kinds(outcomes) == [[Unavailable]] * 3
    assert all(why in str(outcome[0]) for outcome in outcomes)
    assert other.operations == 0


def test_a_bootstrap_at_a_shards_address_is_not_used(cluster: MemoryCluster, client: Client) -> None:
    """A daemon of the other kind gets no operation."""
    cluster.kill_shard("shard0")
    bootstrap = cluster.network.listeners["localhost", 9192]
    cluster.network.listeners[ADDRESS] = bootstrap
    outcome = watch(client.read("test"))
    cluster.advance(10)
    assert kinds([outcome]) == [[Unavailable]]
    assert "a bootstrap answers at 127.0.0.1:5050" in str(outcome[0])
    del cluster.network.listeners[ADDRESS]


# ---------------------------------------------------------------------- answers that make no sense


def answer_with(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, answers: Callable[[], Any]) -> None:
    """Have shard0 give this to the next box, then work as before."""
    shard = cluster.services["shard0"].shard
    apply = shard.apply

    def once(epoch: int, runs: Sequence[Run]) -> Any:
        monkeypatch.setattr(shard, "apply", apply)
        return answers()

    monkeypatch.setattr(shard, "apply", once)


@pytest.mark.parametrize(
    "answers", [[], [Answer([True])], [Answer([None, None], {7: ("UNAVAILABLE", "")})]], ids=["none", "few", "position"]
)
def test_an_answer_that_does_not_fit_is_no_answer(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, answers: list[Answer]
) -> None:
    """With an answer that makes no sense reads fail with `BadRequest`, changes are unknown, and nobody else suffers."""
    given: Deferred[list[Answer]] = Deferred()
    answer_with(cluster, monkeypatch, lambda: given)
    first, second = keys_on(cluster, "shard0", 2)
    outcomes: list[list[Any]] = [watch(client.read(first)), watch(client.write(second, 1))]
    cluster.advance(0)
    given.callback(answers)
    cluster.advance(0)
    assert kinds(outcomes) == [[BadRequest], [OutcomeUnknown]]
    assert cluster.run(client.write("test", 1)) == 28


def test_a_shard_that_fails_unexpectedly(
    cluster: MemoryCluster,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: Callable[..., list[BaseException]],
) -> None:
    """When a shard fails in a way nobody foresaw, a read gives `InternalError`, and a change is unknown."""
    answer_with(cluster, monkeypatch, lambda: fail(RuntimeError("a bug")))
    first, second = keys_on(cluster, "shard0", 2)
    outcomes: list[list[Any]] = [watch(client.read(first)), watch(client.write(second, 1))]
    cluster.advance(0)
    assert kinds(outcomes) == [[InternalError], [OutcomeUnknown]]
    assert [str(error) for error in logged_errors(RuntimeError)] == ["a bug"]
    assert cluster.run(client.write("test", 1)) == 28


def test_a_box_that_is_refused_as_malformed_changed_nothing(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BadRequest` for a box comes before anything is applied, so it is told as it is, for changes too."""
    answer_with(cluster, monkeypatch, lambda: fail(BadRequest("too many operations")))
    first, second = keys_on(cluster, "shard0", 2)
    outcomes: list[list[Any]] = [watch(client.read(first)), watch(client.write(second, 1))]
    cluster.advance(0)
    assert kinds(outcomes) == [[BadRequest], [BadRequest]]


def test_an_error_that_this_version_does_not_know(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer shard's refusal of one operation comes as `PyshardError` with its code; the others' answers come."""
    answer = Answer([None, True], {0: ("FROZEN_OVER", "come back in spring")})
    given: Deferred[list[Answer]] = Deferred()
    answer_with(cluster, monkeypatch, lambda: given)
    first, second = keys_on(cluster, "shard0", 2)
    outcomes: list[list[Any]] = [watch(client.write(first, 1)), watch(client.write(second, 1))]
    cluster.advance(0)
    given.callback([answer])
    cluster.advance(0)
    assert kinds(outcomes) == [[PyshardError], [int]]
    assert "FROZEN_OVER: come back in spring" in str(outcomes[0][0])


def test_a_slow_answer_within_the_deadline_counts(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard may take nearly all the time that an operation has."""
    shard = cluster.services["shard0"].shard
    apply = shard.apply
    monkeypatch.setattr(shard, "apply", lambda epoch, runs: deferLater(cluster.clock, 9.9, apply, epoch, runs))
    outcome = watch(client.write("test", 1))
    cluster.advance(9.89)
    assert outcome == []
    cluster.advance(0.01)
    assert outcome == [28]
