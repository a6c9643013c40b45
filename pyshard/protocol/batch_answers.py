"""What a shard answers to a batch: for each run its results and refusals, as MessagePack. Pure.

Rules:

- there is one answer for each run, in the order of the runs, and one result for each key, in the order of the keys;
- an operation that was refused has nil for a result, changed nothing, and has an entry in `errors`;
- what a peer answers is checked: a result that the verb can't have would be a wrong answer to somebody;
- it is bounded by what was asked (`pyshard.protocol.answer_size_check`), and so are the texts of errors
  (`pyshard.protocol.error_texts`);
- what doesn't fit is refused with a `BadRequest` in one printable line.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from types import NoneType
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec

from pyshard.errors import BadRequest, PyshardError, from_code, plain
from pyshard.protocol import error_texts
from pyshard.protocol.answer_size_check import FEW, check_announced, check_records, check_texts
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write, verb_of
from pyshard.settings import settings

_T = TypeVar("_T")

Result: TypeAlias = bytes | bool | None

#: What stands before a record in the results of `Read` and `Pop`: its version (unsigned, 8 bytes, big-endian).
VERSION = struct.Struct(">Q")

#: What stands before a record in the results of `ReadItem`: version, expiry (milliseconds since 1970) and milliseconds
#: until then; the latter two are 0 for a record that doesn't expire.
ITEM = struct.Struct(">QQQ")

# The results of each verb: their type, and the least bytes that they have.
_RESULTS: dict[type[Run], tuple[type, int]] = {
    Read: (bytes, VERSION.size),
    Has: (bool, 0),
    ReadItem: (bytes, ITEM.size),
    Write: (bool, 0),
    Pop: (bytes, VERSION.size),
    Remove: (bytes, 0),
    Touch: (bool, 0),
    Increment: (bytes, 0),
}

#: Bytes of memory that a bytes object in a list takes beside its bytes, rounded up as allocators do on the average.
PER_BYTES = 8 + 41

# Verbs whose result may be nil without an error.
_MAY_FIND_NOTHING = (Read, ReadItem, Pop, Remove)


#: The place of an operation in a batch. By its bounds a peer can't choose numbers of one hash, of which a dict would
#: compare each with all others.
_Position = Annotated[int, msgspec.Meta(ge=0, lt=settings.MAX_BATCH)]


class Answer(msgspec.Struct, array_like=True):
    """The outcome of one run.

    :param results: one for each key, in the order of the keys; nil where `errors` has an entry.
    :param errors: position → [error code, message] of each operation that was refused (and changed nothing).
    """

    results: list[Result]
    errors: dict[_Position, tuple[str, str]] = {}

    def refuse(self, position: int, error: PyshardError) -> None:
        """Put down that the operation at `position` was refused."""
        self.errors[position] = (error.code, str(error))

    @classmethod
    def refusing(cls, operations: int, error: PyshardError) -> Answer:
        """The outcome of a run of so many operations that was refused as a whole."""
        refusal = (error.code, str(error))
        return cls([None] * operations, dict.fromkeys(range(operations), refusal))

    def among(self, operations: int, positions: Sequence[int], error: PyshardError) -> Answer:
        """The outcome of a run of so many operations, of which this one has those at some positions.

        :param error: refuses all others.
        """
        whole = Answer.refusing(operations, error)
        for place, position in enumerate(positions):
            whole.results[position] = self.results[place]
            del whole.errors[position]
        whole.errors |= {positions[place]: refusal for place, refusal in self.errors.items()}
        return whole

    def refusals(self) -> dict[int, PyshardError]:
        """Position → error of each operation that was refused."""
        return {position: from_code(code, message) for position, (code, message) in self.errors.items()}

    def outcomes(self) -> list[Result | PyshardError]:
        """Results and errors in one list, in the order of the keys."""
        outcomes: list[Result | PyshardError] = list(self.results)
        for position, error in self.refusals().items():
            outcomes[position] = error
        return outcomes


def answers_size(answers: Sequence[Answer]) -> int:
    """About how many bytes of memory answers take."""
    return sum([PER_BYTES + len(each) for answer in answers for each in answer.results if isinstance(each, bytes)])


class _Uniform(msgspec.Struct, Generic[_T], array_like=True, frozen=True):
    """An answer whose results are all of one type, which the decoder checks in C."""

    results: list[_T]
    errors: dict[_Position, tuple[str, str]] = {}


def _result_type(verb: type[Run]) -> Any:
    """The type that msgspec checks the results of a verb by, where there is no error."""
    kind, shortest = _RESULTS[verb]
    found = Annotated[bytes, msgspec.Meta(min_length=shortest)] if kind is bytes else kind
    return found | None if verb in _MAY_FIND_NOTHING else found


_answers = msgspec.msgpack.Decoder(list[Answer])
_uniform = {
    verb: msgspec.msgpack.Decoder(list[_Uniform[_result_type(verb)]])  # type: ignore[misc]  # a type made at run time
    for verb in _RESULTS
}

_encode: Callable[[list[Answer]], bytes] = msgspec.msgpack.Encoder().encode


def encode_answers(answers: list[Answer]) -> bytes:
    """Answers as MessagePack. The texts of their errors are bounded (`pyshard.protocol.error_texts`)."""
    if len(answers) != 1 or answers[0].errors:  # most have one run, and no errors
        errors = error_texts.bounded(answer.errors for answer in answers)
        answers = [Answer(answer.results, bounded) for answer, bounded in zip(answers, errors, strict=True)]
    return _encode(answers)


def decode_answers(data: bytes, runs: list[Run]) -> list[Answer]:
    """The answers to a batch.

    :param data: MessagePack.
    :param runs: the batch's.
    :return: one answer for each of `runs`.
    :raises BadRequest: when they aren't answers, or don't fit the runs.
    """
    few = len(data) <= FEW
    if not few:
        try:
            check_announced(data, runs)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _unreadable(error) from None
    answer = _uniform_answer(data, runs[0]) if len(runs) == 1 else None
    answers = decode_answers_plainly(data, runs) if answer is None else [answer]
    if not few:
        check_records(data, chain.from_iterable([answer.results for answer in answers]))
        check_texts(data, [text for answer in answers for _, text in answer.errors.values()])
    return answers


def decode_answers_plainly(data: bytes, runs: list[Run]) -> list[Answer]:
    """What `decode_answers` gives, for any runs and any answers, where they aren't too many."""
    try:
        answers: list[Answer] = _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from None
    sizes = [len(answer.results) for answer in answers]
    if sizes != [len(run.keys) for run in runs]:
        shown = f"{sizes[:20]}{' …' if len(sizes) > 20 else ''}"
        raise BadRequest(f"the answers' sizes are {shown}, not those of the runs that were sent")
    for run, answer in zip(runs, answers, strict=True):
        if answer.errors and not 0 <= min(answer.errors) <= max(answer.errors) < len(answer.results):
            raise BadRequest("the answers name a position that doesn't exist")
        _check_results(run, answer)
    return answers


def _unreadable(error: Exception) -> BadRequest:
    return BadRequest(f"the answers can't be read: {plain(str(error))}")


def _uniform_answer(data: bytes, run: Run) -> Answer | None:
    """The answer to a single run, checked by the decoder, if it has no errors, as most answers; None for any other."""
    try:
        answers = _uniform[type(run)].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(answers) != 1 or answers[0].errors or len(answers[0].results) != len(run.keys):
        return None
    return Answer(answers[0].results, {})


def _check_results(run: Run, answer: Answer) -> None:
    """Refuse results that the verb can't have."""
    kind, shortest = _RESULTS[type(run)]
    results = answer.results
    kinds = set(map(type, results))
    if not kinds <= {kind, NoneType}:
        found = ", ".join(sorted(other.__name__ for other in kinds - {kind, NoneType}))
        raise BadRequest(f"the answers have results of other types to {verb_of(run)}: {found}")
    if NoneType in kinds and not isinstance(run, _MAY_FIND_NOTHING):
        refused = sum(results[position] is None for position in answer.errors)
        if results.count(None) != refused:
            raise BadRequest(f"the answers have neither result nor error to {verb_of(run)}")
    if shortest and kind in kinds:
        found_records = [result for result in results if isinstance(result, bytes)] if NoneType in kinds else results
        if min(map(len, found_records)) < shortest:  # type: ignore[arg-type]  # bytes all of them
            raise BadRequest(f"the answers have a result of less than {shortest} bytes to {verb_of(run)}")
