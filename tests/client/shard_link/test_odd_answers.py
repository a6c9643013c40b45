"""Answers that make no sense, or that this version doesn't know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from clusters import keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, fail

from pyshard import Client
from pyshard.errors import BadRequest, InternalError, OutcomeUnknown, PyshardError
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.storage import ITSELF, Sender
from pyshard.testing import MemoryCluster


def answer_with(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, answers: Callable[[], Any]) -> None:
    """Have shard0 give this to the next box, then work as before."""
    shard = cluster.services["shard0"].shard
    apply = shard.apply

    def once(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Any:
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
    counts = cluster.services["shard0"].shard.counts
    # The shard itself knows that no batch has such an answer.
    monkeypatch.setattr(counts, "add_outcome", lambda *_: None)
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
