"""Updates that were submitted to the writer's thread, and how whoever submitted them hears what became of them.

Rule: this is the reactor's thread's: it alone fires Deferreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, ShuttingDown
from pyshard.storage.durable.fair_update_queue import WaitingUpdate

_U = TypeVar("_U")


class SubmittedUpdate(NamedTuple, Generic[_U]):
    """An update, and the Deferred of its outcome."""

    update: _U
    answered: Deferred[Any]


def shutting_down() -> PyshardError:
    """Why nothing is begun any more."""
    return ShuttingDown("this shard is shutting down, and the change was not begun; ask again when it is back")


def refuse(updates: Sequence[WaitingUpdate[SubmittedUpdate[Any]]], error: PyshardError) -> None:
    """Tell whoever waits for updates that none of them was begun."""
    for waiting in updates:
        waiting.update.answered.errback(error)


def fire(answered: Deferred[Any], outcome: object) -> None:
    """Give a Deferred its outcome."""
    if isinstance(outcome, Failure):
        answered.errback(outcome)
    else:
        answered.callback(outcome)
