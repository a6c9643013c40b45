"""What a Deferred has come to, for tests in which nothing happens by itself."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.model.cluster_state import ClusterState

_T = TypeVar("_T")


def result(deferred: Deferred[_T]) -> _T:
    """What a Deferred has come to; raises what it failed with."""
    found: list[_T | Failure] = []
    deferred.addBoth(found.append)
    assert found, "it hasn't fired"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def watch(work: Deferred[_T]) -> list[_T | BaseException]:
    """A list that gets the outcome when it is there."""
    found: list[_T | BaseException] = []
    work.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def error_in(outcome: list[object]) -> BaseException:
    """What a Deferred failed with whose only outcome is in a list."""
    (found,) = outcome
    assert isinstance(found, Failure)
    assert found.value is not None
    return found.value


def change_state(bootstrap: Bootstrap, state: ClusterState) -> None:
    """Make a state the cluster's, where the state store answers at once; raises why that can't be."""
    result(bootstrap.change(lambda _: state))
