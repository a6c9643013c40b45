"""What becomes of an operation after an error, by value: the whole table."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from pyshard import errors
from pyshard.client_core.retry_decision import NEW_ENOUGH, Attempt, Verdict, decide, index_is_missing, refusal_of
from pyshard.errors import PyshardError
from pyshard.protocol.batch_answers import Answer, Result

RETRY, WAIT, REFRESH, FAIL, IN_DOUBT = Verdict
REFUSED, PUT_OFF, FAILED, GARBLED, NOT_SENT = Attempt

#: Errors that a shard refuses a whole batch with, having applied nothing: the same for reads and changes.
NOTHING_APPLIED = {
    errors.NotConfigured: REFRESH,
    errors.ShardBehind: REFRESH,
    errors.ShuttingDown: REFRESH,
    errors.Overloaded: WAIT,
    errors.BadRequest: FAIL,
    errors.StorageFailed: FAIL,
}

#: Errors that a shard refuses a single operation with, to be sent again.
REFUSED_FOR_NOW = {errors.AnswerFull: RETRY, errors.WrongShard: REFRESH, errors.IndexNotFound: REFRESH}

ALL = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PyshardError)),
    key=lambda kind: kind.__name__,
)


def error_of(kind: type[PyshardError]) -> PyshardError:
    """An error of a class."""
    return kind("why", []) if kind is errors.PartialFailure else kind("why")


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_refused_operation(kind: type[PyshardError], changes: bool) -> None:
    """An operation that the shard refused alone was not applied: it goes out again, or fails with that error."""
    assert decide(REFUSED, error_of(kind), changes) is REFUSED_FOR_NOW.get(kind, FAIL)


@pytest.mark.parametrize("changes", [False, True])
def test_missing_index(changes: bool) -> None:
    """An index that is known to be missing is the operation's own answer."""
    assert decide(REFUSED, errors.IndexNotFound("why"), changes, index_missing=True) is FAIL


@pytest.mark.parametrize("kind", ALL)
def test_failed_batch(kind: type[PyshardError]) -> None:
    """A change is in doubt unless the error says that nothing was applied; a read fails with the error."""
    assert decide(FAILED, error_of(kind), changes=True) is NOTHING_APPLIED.get(kind, IN_DOUBT)
    expected = NOTHING_APPLIED | {errors.OutcomeUnknown: REFRESH}  # of changes in its batch; it changed nothing itself
    assert decide(FAILED, error_of(kind), changes=False) is expected.get(kind, FAIL)


def test_broken_connection() -> None:
    """When the connection broke a read is sent again, and a change never is."""
    assert decide(FAILED, ConnectionLost(), changes=False) is RETRY
    assert decide(FAILED, ConnectionLost(), changes=True) is IN_DOUBT


def test_garbled_answer() -> None:
    """After an answer that makes no sense nothing is sent again, and a change is in doubt."""
    unreadable = errors.BadRequest("the answers can't be read")
    assert decide(GARBLED, unreadable, changes=True) is IN_DOUBT
    assert decide(GARBLED, unreadable, changes=False) is FAIL
    assert decide(GARBLED, KeyError("x"), changes=True) is IN_DOUBT
    assert decide(GARBLED, KeyError("x"), changes=False) is FAIL


def test_nothing_was_sent() -> None:
    """What was never sent is never in doubt: it waits for a newer map, or one side has refused the other."""
    for changes in (True, False):
        assert decide(NOT_SENT, OSError("refused"), changes=changes) is REFRESH
        assert decide(NOT_SENT, errors.NotAuthenticated("no token"), changes=changes) is FAIL


def test_a_change_in_doubt_is_never_sent_again() -> None:
    """Of all errors only those after which nothing was applied have a change sent again."""
    again = {kind for kind in ALL if decide(FAILED, error_of(kind), changes=True).again}
    assert again == {errors.NotConfigured, errors.ShardBehind, errors.ShuttingDown, errors.Overloaded}


def test_verdicts_that_send_again() -> None:
    """Three of the verdicts send the operation again."""
    assert [verdict.again for verdict in Verdict] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("index", "fetched", "expected"),
    [
        ("here", 10.0, False),
        ("gone", 10.0, True),
        ("gone", 10.0 - NEW_ENOUGH, False),
        ("gone", 10.0 - NEW_ENOUGH + 0.01, True),
        ("gone", 0.0, False),
    ],
)
def test_index_is_missing(index: str, fetched: float, expected: bool) -> None:
    """A map counts that was fetched at most so long before the shard's first refusal, and doesn't have the index."""
    assert index_is_missing(index, {"here"}, fetched, first_refused=10.0) is expected


@pytest.mark.parametrize("changes", [False, True])
def test_a_batch_that_was_put_off(changes: bool) -> None:
    """A shard that brought nothing of a batch on isn't asked again at once, whatever it says; else all is as it was."""
    expected = {**REFUSED_FOR_NOW, errors.AnswerFull: WAIT}
    for kind in ALL:
        assert decide(PUT_OFF, error_of(kind), changes) is expected.get(kind, FAIL)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([([None], ["ANSWER_FULL"])], PUT_OFF),
        ([([None, None], ["WRONG_SHARD", "INDEX_NOT_FOUND"]), ([None], ["ANSWER_FULL"])], PUT_OFF),
        ([([None, b"x"], ["ANSWER_FULL"])], REFUSED),
        ([([None], ["ANSWER_FULL"]), ([True], [])], REFUSED),
        ([([None, None], ["ANSWER_FULL", "SHARD_FULL"])], REFUSED),
        ([([None], [])], REFUSED),
        ([([], [])], REFUSED),
    ],
)
def test_whether_a_batch_was_put_off(answers: list[tuple[list[Result], list[str]]], expected: Attempt) -> None:
    """It was when every operation of it was: one result, or a refusal for good, brings it on."""
    read = [Answer(results, {at: (code, "") for at, code in enumerate(codes)}) for results, codes in answers]
    assert refusal_of(read) is expected
