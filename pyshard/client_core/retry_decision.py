"""What becomes of an operation after an error: is it sent again, and what must come first; or does it fail, and how?

Every error that can end an attempt is decided here, by values alone. Pure: the link to the shard carries it out.

Rules:

- What a shard refused for the moment is sent again; nothing of it was applied.
- A change whose answer was lost is never sent again: it may have happened (`OutcomeUnknown`).
- A read is sent again when its connection broke.
- "No such index" is believed only when a map that is new enough agrees; the shard may be behind.
- A shard that puts off a whole batch is asked again after a pause, and pauses grow until it brings one on: a hostile
  one can't have a client ask it on and on.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from enum import Enum
from struct import error as StructError  # noqa: N812  # a class, whatever its name

from pyshard.errors import (
    AnswerFull,
    BadRequest,
    IndexNotFound,
    NotConfigured,
    OutcomeUnknown,
    Overloaded,
    PyshardError,
    ShardBehind,
    ShuttingDown,
    StorageFailed,
    WrongShard,
)
from pyshard.protocol.batch_answers import Answer

#: Seconds for which a map counts as new enough when a shard doesn't know an index.
NEW_ENOUGH = 0.5

#: By which a shard refuses a whole batch until it is configured, has caught up, or has been started again.
_UNTIL_READY = (NotConfigured, ShardBehind, ShuttingDown)

#: By which a shard puts an operation off: it applied nothing of it, and it is mostly sent again.
_PUT_OFF = {error.code for error in (AnswerFull, WrongShard, IndexNotFound)}

#: By which a shard says that it applied nothing of a batch, for good.
_APPLIED_NOTHING = (BadRequest, StorageFailed)

#: What code that reads an answer may raise, beside pyshard's errors, when the answer makes no sense. Other exceptions
#: come from elsewhere: a signal's handler, or somebody's time limit.
SENSELESS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, StructError)


class Attempt(Enum):
    """How an attempt ended."""

    REFUSED = "the shard answered the batch, and refused this operation"
    PUT_OFF = "the shard answered the batch, and put off all of its operations"
    FAILED = "the batch as a whole came to nothing"
    GARBLED = "the shard's answer makes no sense"
    NOT_SENT = "no connection could be had, so nothing was sent"


class Verdict(Enum):
    """What becomes of an operation."""

    RETRY = "send it again, at once"
    WAIT = "send it again after a backoff"
    REFRESH = "fetch a newer map, and send it again after a backoff"
    FAIL = "it fails with the error; nothing was changed"
    IN_DOUBT = "it fails with OutcomeUnknown: it may have happened"

    @property
    def again(self) -> bool:
        """Whether it is sent again."""
        return self in (Verdict.RETRY, Verdict.WAIT, Verdict.REFRESH)


def decide(attempt: Attempt, error: BaseException | None, changes: bool, index_missing: bool = False) -> Verdict:
    """Decide what becomes of an operation after an error. The first case that fits counts.

    The shard refused this operation alone:

    1. The answer had no room left (`AnswerFull`): it goes out again in a batch of its own. RETRY; but WAIT if the shard
       put off the whole batch, which no shard does that works.
    2. The shard doesn't own the key (`WrongShard`): REFRESH.
    3. The shard doesn't know the index, and it isn't known to be missing (`index_is_missing`): REFRESH.
    4. Anything else is the operation's own answer: FAIL.

    The whole batch failed:

    5. The shard isn't ready (`NotConfigured`, `ShardBehind`, `ShuttingDown`): REFRESH.
    6. The shard has too much to do (`Overloaded`): WAIT.
    7. The shard applied nothing of it, and won't (`BadRequest`, `StorageFailed`): FAIL.
    8. A change: IN_DOUBT.
    9. A read, and the shard can't say what came of its batch (`OutcomeUnknown`): REFRESH.
    10. A read, and the shard answered with another error: FAIL.
    11. A read, and the connection broke: RETRY.

    The answer made no sense:

    12. A read, and the error says what is wrong with the answer: FAIL.
    13. Any other read: the answer was lost. FAIL.
    14. Anything else: IN_DOUBT.

    Nothing was sent:

    15. One side refuses the other, or the client is closed: FAIL.
    16. Anything else: REFRESH.

    :param attempt: how the attempt ended.
    :param error: by which.
    :param changes: whether the operation may change something.
    :param index_missing: whether its index is known to be missing.
    """
    if attempt in (Attempt.REFUSED, Attempt.PUT_OFF):
        if isinstance(error, AnswerFull):
            return Verdict.RETRY if attempt is Attempt.REFUSED else Verdict.WAIT
        if isinstance(error, WrongShard) or (isinstance(error, IndexNotFound) and not index_missing):
            return Verdict.REFRESH
        return Verdict.FAIL
    if attempt is Attempt.GARBLED:
        return Verdict.IN_DOUBT if changes else Verdict.FAIL
    if attempt is Attempt.NOT_SENT:
        return Verdict.FAIL if isinstance(error, PyshardError) else Verdict.REFRESH
    if isinstance(error, _UNTIL_READY):
        return Verdict.REFRESH
    if isinstance(error, Overloaded):
        return Verdict.WAIT
    if isinstance(error, _APPLIED_NOTHING):
        return Verdict.FAIL
    if changes:
        return Verdict.IN_DOUBT
    if isinstance(error, OutcomeUnknown):
        return Verdict.REFRESH
    return Verdict.FAIL if isinstance(error, PyshardError) else Verdict.RETRY


def refusal_of(answers: Iterable[Answer]) -> Attempt:
    """How the attempt ended for those operations of a batch that were refused: `PUT_OFF` if all of it was put off.

    Then the batch wasn't brought on at all, and the pause before the next one grows. In other cases it begins anew.

    :param answers: the shard's answers to the batch. One without errors brought something on, whatever results it has:
        a bulk operation leaves out those that it has taken.
    """
    for answer in answers:
        if len(answer.errors) < max(1, len(answer.results)) or any(
            code not in _PUT_OFF for code, _ in answer.errors.values()
        ):
            return Attempt.REFUSED
    return Attempt.PUT_OFF


def index_is_missing(index: str, known: Container[str], fetched: float, first_refused: float) -> bool:
    """Whether a map that is new enough agrees with a shard that there is no such index.

    :param index: its name.
    :param known: the names of the indexes in the map.
    :param fetched: when the map was asked for, in the clock's seconds.
    :param first_refused: when a shard first refused the index, in the same clock's seconds.
    """
    return fetched > first_refused - NEW_ENOUGH and index not in known
