"""The unit of work: a batch of operations, and its answers, as they cross the wire in MessagePack. Pure.

A batch is a list of *runs*; a run is one verb on one index over many keys, as columns, so that decoding and
applying it costs one call in C for many operations. A batch takes effect in its order. Each class below is one
MessagePack array: the verb, then the fields in the order they stand here (docs/protocol.md, "Batches").
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pyshard.errors import BadRequest, PyshardError, from_code


class _Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Shared by all runs: the index's name (empty: the default index) and the keys' text in UTF-8."""

    index: str
    keys: list[bytes]


class Read(_Run, tag="read", frozen=True):
    """Result for each key: its record, or nil."""


class Has(_Run, tag="has", frozen=True):
    """Result for each key: true or false."""


class Write(_Run, tag="write", frozen=True):
    """Store each record, in place of one that is there. Result: true."""

    records: list[bytes]


class Add(_Run, tag="add", frozen=True):
    """Store each record whose key doesn't exist. Result: true when it was stored, else false."""

    records: list[bytes]


class Pop(_Run, tag="pop", frozen=True):
    """Remove each key. Result: the record it had, or nil."""


class Remove(_Run, tag="remove", frozen=True):
    """Remove each key. Result: the first five bytes of the record it had, or nil."""


Run: TypeAlias = Read | Has | Write | Add | Pop | Remove
Result: TypeAlias = bytes | bool | None

#: How many bytes of a removed record `remove` answers with.
HEAD_BYTES = 5


class Answer(msgspec.Struct, array_like=True):
    """The outcome of one run.

    :param results: one for each key, in the order of the keys; nil where `errors` has an entry.
    :param errors: position → [error code, message] of each operation that was refused (and changed nothing).
    """

    results: list[Result]
    errors: dict[int, tuple[str, str]] = {}

    def refuse(self, position: int, error: PyshardError) -> None:
        """Put down that the operation at `position` was refused."""
        self.errors[position] = (error.code, str(error))

    def outcomes(self) -> list[Result | PyshardError]:
        """Results and errors in one list, in the order of the keys."""
        outcomes: list[Result | PyshardError] = list(self.results)
        for position, (code, message) in self.errors.items():
            outcomes[position] = from_code(code, message)
        return outcomes


_encoder = msgspec.msgpack.Encoder()
_runs = msgspec.msgpack.Decoder(list[Run])
_answers = msgspec.msgpack.Decoder(list[Answer])
_keys = msgspec.msgpack.Decoder(list[bytes])


def encode_runs(runs: list[Run]) -> bytes:
    """Runs as MessagePack."""
    return _encoder.encode(runs)


def decode_runs(data: bytes) -> list[Run]:
    """Runs from MessagePack.

    :raises BadRequest: when they aren't; it says what was found where.
    """
    try:
        runs: list[Run] = _runs.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the batch can't be read: {error}") from None
    for run in runs:
        if isinstance(run, (Write, Add)) and len(run.keys) != len(run.records):
            raise BadRequest(f"the batch has a run of {len(run.keys)} keys and {len(run.records)} records")
    return runs


def encode_answers(answers: list[Answer]) -> bytes:
    """Answers as MessagePack."""
    return _encoder.encode(answers)


def decode_answers(data: bytes, runs: list[Run]) -> list[Answer]:
    """Answers from MessagePack, one for each of `runs`.

    :raises BadRequest: when they aren't, or don't fit the runs.
    """
    try:
        answers: list[Answer] = _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the answers can't be read: {error}") from None
    sizes = [len(answer.results) for answer in answers]
    if sizes != [len(run.keys) for run in runs]:
        raise BadRequest(f"the answers' sizes are {sizes}, not those of the runs that were sent")
    for answer in answers:
        if answer.errors and not 0 <= min(answer.errors) <= max(answer.errors) < len(answer.results):
            raise BadRequest("the answers name a position that doesn't exist")
    return answers


def encode_keys(keys: list[bytes]) -> bytes:
    """A page's keys as MessagePack."""
    return _encoder.encode(keys)


def decode_keys(data: bytes) -> list[bytes]:
    """A page's keys from MessagePack.

    :raises BadRequest: when they aren't.
    """
    try:
        keys: list[bytes] = _keys.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the keys can't be read: {error}") from None
    return keys
