"""Batches ⇄ MessagePack, with a check of what a peer sends. Pure.

Rules:

- a batch with too many runs is refused before it is decoded, since each run is work, an empty one as well;
- so is one with too many operations, since decoded runs take up to 40 times the memory;
- of a peer that may only read, nothing is decoded that would change something;
- a column has as many elements as the run has keys;
- a key that is stored is UTF-8 and not too long, and what is written is a record, as far as its outline shows
  (`pyshard.model.record_check`), and not too large: other clients could not read them;
- no key of a large batch is too long, whatever the verb, since each of its bytes is work. In a small one it is found
  nowhere, and to look at all lengths would cost more;
- a refusal is a `BadRequest` in one printable line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import msgspec

from pyshard.errors import BadRequest, shortened
from pyshard.model.record_check import are_records, record_fault
from pyshard.protocol.argument_types import shown_bytes
from pyshard.protocol.batch_operations import (
    HEAD_BYTES,
    READING_RUNS,
    Has,
    Increment,
    Read,
    ReadItem,
    Run,
    Write,
    columns,
)
from pyshard.protocol.batch_outline import batch_fault, operations_announced, run_name, uneven
from pyshard.protocol.columns import longest
from pyshard.protocol.message_pack_heads import array_length
from pyshard.settings import settings

_READING = tuple(READING_RUNS.values())


class _UndecodedRun(msgspec.Struct, array_like=True, frozen=True):
    """A run that would change something, as it is read from a peer that may not: nothing of it is decoded."""

    index: msgspec.Raw
    keys: msgspec.Raw


class _UndecodedWrite(_UndecodedRun, tag="write", frozen=True):
    pass


class _UndecodedPop(_UndecodedRun, tag="pop", frozen=True):
    pass


class _UndecodedRemove(_UndecodedRun, tag="remove", frozen=True):
    pass


class _UndecodedTouch(_UndecodedRun, tag="touch", frozen=True):
    pass


class _UndecodedIncrement(_UndecodedRun, tag="increment", frozen=True):
    pass


_ReadersRun: TypeAlias = (
    Read | Has | ReadItem | _UndecodedWrite | _UndecodedPop | _UndecodedRemove | _UndecodedTouch | _UndecodedIncrement
)

_R = TypeVar("_R")

_runs: msgspec.msgpack.Decoder[list[Run]] = msgspec.msgpack.Decoder(list[Run])
_readers_runs: msgspec.msgpack.Decoder[list[_ReadersRun]] = msgspec.msgpack.Decoder(list[_ReadersRun])

#: A batch as MessagePack.
encode_runs: Callable[[list[Run]], bytes] = msgspec.msgpack.Encoder().encode


def decode_runs(data: bytes) -> list[Run]:
    """The runs of a batch.

    :param data: MessagePack.
    :raises BadRequest: it is no batch, or breaks a rule above; the message says what was found where.
    """
    runs = _decoded(_runs, data)
    for number, run in enumerate(runs):
        if len(data) > settings.BOX_BYTES:
            _check_key_lengths(run)
        if isinstance(run, _READING):
            continue
        for column in columns(run):
            if column is not None and len(column) != len(run.keys):
                raise BadRequest(f"the batch can't be read: {uneven(number, run)}")
        if isinstance(run, (Write, Increment)):
            _check_stored(run, len(data))
    return runs


def decode_readers_runs(data: bytes) -> list[Run | int]:
    """The runs of a batch of a peer that may only read.

    :param data: MessagePack.
    :return: each run; of one that would change something, only how many operations it has.
    :raises BadRequest: as `decode_runs`; but into runs that would change something it doesn't look.
    """
    runs: list[Run | int] = []
    for number, run in enumerate(_decoded(_readers_runs, data)):
        if isinstance(run, _UndecodedRun):
            operations = array_length(run.keys)
            if operations is None:
                name = run_name(number, str(run.__struct_config__.tag))
                raise BadRequest(f"the batch can't be read: {name}, keys: found something else, expected array")
            runs.append(operations)
        else:
            if len(data) > settings.BOX_BYTES:
                _check_key_lengths(run)
            runs.append(run)
    check_size(sum(run if isinstance(run, int) else len(run.keys) for run in runs))
    return runs


def _decoded(decoder: msgspec.msgpack.Decoder[list[_R]], data: bytes) -> list[_R]:
    """The runs in some bytes, unless they announce that they are too many, or have too many operations."""
    announced = array_length(data) or 0
    if announced > settings.MAX_RUNS:
        raise BadRequest(
            f"the batch can't be read: found {announced:,} runs, expected at most {settings.MAX_RUNS:,}; put "
            "operations of one verb and index into one run"
        )
    try:
        if len(data) > settings.BOX_BYTES:
            check_size(operations_announced(data))
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the batch can't be read: {batch_fault(error, data)}") from None


def check_size(operations: int) -> None:
    """Refuse a batch of too many operations.

    :raises BadRequest: it has more than `settings.MAX_BATCH`.
    """
    if operations > settings.MAX_BATCH:
        raise BadRequest(f"the batch has {operations:,} operations; a batch has at most {settings.MAX_BATCH:,}")


def _check_key_lengths(run: Run) -> None:
    """Refuse keys that nobody can store."""
    most = settings.MAX_KEY_BYTES
    if longest(run.keys) > most:
        raise BadRequest(f"the batch has a key of more than {most:,} bytes")


def _check_stored(run: Write | Increment, size: int) -> None:
    """Refuse keys and records that other clients could not read.

    All keys together are looked at first, which mostly settles it: few bytes hold no long key, and ASCII is UTF-8.

    :param size: bytes that the run has at the most.
    """
    max_record = settings.MAX_DOCUMENT_BYTES + HEAD_BYTES
    together = b"".join(run.keys)
    if len(together) > settings.MAX_KEY_BYTES:
        _check_key_lengths(run)
    if size > max_record:
        records = run.records if isinstance(run, Write) else [*run.amounts, *run.initials]
        if longest(records) > max_record:
            raise BadRequest(f"the batch has a record of more than {max_record:,} bytes")
    if not together.isascii():
        _check_text_plainly(run.keys)
    if isinstance(run, Write) and not are_records(run.records):
        _check_records_plainly(run)


def _check_text_plainly(keys: list[bytes]) -> None:
    """Refuse keys that aren't UTF-8, one by one: two keys that aren't may make up a letter together."""
    for key in keys:
        try:
            key.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"the batch has a key that is not UTF-8, at byte {error.start}: {shown_bytes(key)}"
            ) from None


def _check_records_plainly(run: Write) -> None:
    """Refuse what is no record, one by one."""
    for key, record in zip(run.keys, run.records, strict=True):
        if fault := record_fault(record):
            of_index = f" of index {run.index!r}" if run.index else ""
            raise BadRequest(f"the batch has no record for key {shortened(key.decode())!r}{of_index}: found {fault}")
