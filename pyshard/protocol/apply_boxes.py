"""The boxes of `Apply` and of its answer, made and read without the machinery for arguments, which costs more than a
small batch.

Rules:

- `apply_bytes` and `answers_bytes` give the bytes of a whole box at once. Their plain twins are `serialize` with
  `apply_box` and `answers_box`.
- Tests compare all of it with what `pyshard.protocol.commands.Apply` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from struct import Struct

from pyshard.protocol.argument_types import Boolean, take_integer
from pyshard.protocol.boxes import ANSWER, ASK, COMMAND, LONGEST_VALUE, Box, prefixed, serialize
from pyshard.protocol.chunked_arguments import put_chunks, take_chunks
from pyshard.settings import settings

_APPLY = b"Apply"  # the command's name
_EPOCHS = 8  # whose first bytes are kept
_STALE = b"stale"
_END = b"\0\0"
_length = Struct(">H").pack  # of a value, before it
_FULL = _length(LONGEST_VALUE)

# The MessagePack of answers around a long record: an answer of two fields, results, the record's length; and no errors.
_LONG_RESULT, _NO_ERRORS = b"\x91\x92\x91\xc6", b"\x80"
_long_length = Struct(">I").pack

# What stands between the batch and the tag, and between the answers and the tag.
_APPLY_TAG = prefixed(COMMAND) + prefixed(_APPLY) + prefixed(ASK)
_ANSWER_TAG = prefixed(ANSWER)


def apply_box(epoch: int, batch: bytes, stale: bool = False) -> Box:
    """The arguments of `Apply`."""
    box = {b"epoch": b"%d" % epoch}
    put_chunks(box, b"batch", batch)
    if stale:
        box[_STALE] = b"True"
    return box


def apply_bytes(epoch: int, batch: bytes, tag: bytes, stale: bool = False) -> bytes:
    """The whole box of an `Apply`."""
    if stale or not batch:
        return serialize({**apply_box(epoch, batch, stale), COMMAND: _APPLY, ASK: tag})
    if len(batch) > LONGEST_VALUE:
        return _in_chunks(epoch, b"batch", batch, b"".join((_APPLY_TAG, _length(len(tag)), tag, _END)))
    return b"".join((_apply_head(epoch), _length(len(batch)), batch, _APPLY_TAG, _length(len(tag)), tag, _END))


def apply_arguments(box: Box) -> tuple[int, bytes]:
    """Epoch and batch out of the box of an `Apply`.

    :raises BadRequest: they aren't there.
    """
    batch = box.get(b"batch.0") if box.get(b"batch") == b"1" else None  # as is mostly so
    return take_integer(box, b"epoch"), take_chunks(box, b"batch") if batch is None else batch


def takes_stale(box: Box) -> bool:
    """Whether who sent the box of an `Apply` takes what is a little old.

    :raises BadRequest: that can't be read.
    """
    return _STALE in box and Boolean().read(_STALE, box[_STALE])


def answers_box(epoch: int, answers: bytes) -> Box:
    """The answer to an `Apply`."""
    box = {b"epoch": b"%d" % epoch}
    put_chunks(box, b"answers", answers)
    return box


def answers_bytes(epoch: int, answers: bytes, tag: bytes) -> bytes:
    """The whole box of the answer to an `Apply`."""
    if not answers:
        return serialize({**answers_box(epoch, answers), ANSWER: tag})
    if len(answers) > LONGEST_VALUE:
        return _in_chunks(epoch, b"answers", answers, b"".join((_ANSWER_TAG, _length(len(tag)), tag, _END)))
    return b"".join((_answers_head(epoch), _length(len(answers)), answers, _ANSWER_TAG, _length(len(tag)), tag, _END))


def long_answer_bytes(epoch: int, result: bytes, tag: bytes) -> bytes:
    """The whole box of the answer to an `Apply` that has found a long record, which is copied once.

    :param result: the only one of the only run, of more than 65,535 bytes.
    """
    end = b"".join((_ANSWER_TAG, _length(len(tag)), tag, _END))
    return _in_chunks(epoch, b"answers", result, end, _LONG_RESULT + _long_length(len(result)), _NO_ERRORS)


#: The answers out of the box that answers an `Apply`; raises `BadRequest` when they aren't there.
answers_in: Callable[[Box], bytes] = partial(take_chunks, name=b"answers")


def _in_chunks(epoch: int, name: bytes, data: bytes, end: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """The bytes of a whole box with several chunks, each of which is copied once.

    :param data: what is in the chunks.
    :param end: what stands behind them.
    :param before: what stands in the first chunk before the data.
    :param behind: what stands in the last chunk behind the data.
    """
    size = len(before) + len(data) + len(behind)
    if (size - len(behind) - 1) // LONGEST_VALUE < (size - 1) // LONGEST_VALUE:  # it doesn't all go into one chunk
        return _in_chunks(epoch, name, before + data + behind, end)
    view, first = memoryview(data), LONGEST_VALUE - len(before)
    begins = range(first, len(data), LONGEST_VALUE)  # of all chunks but the first
    parts: list[bytes | memoryview] = [_long_head(epoch, name, 1 + len(begins)), _chunk_head(name, 0), _FULL, before]
    parts.append(view[:first])
    for number, begin in enumerate(begins, 1):
        parts += (_chunk_head(name, number), _FULL, view[begin : begin + LONGEST_VALUE])
    parts[-2] = _length(len(parts[-1]) + len(behind))
    parts += (behind, end)
    return b"".join(parts)


@lru_cache(16 * _EPOCHS)
def _long_head(epoch: int, name: bytes, chunks: int) -> bytes:
    """The bytes of a box before its first chunk."""
    return serialize({b"epoch": b"%d" % epoch, name: b"%d" % chunks})[: -len(_END)]


@lru_cache(2 * settings.MAX_BOX_KEYS)
def _chunk_head(name: bytes, number: int) -> bytes:
    """What stands before the length of a chunk."""
    return prefixed(b"%s.%d" % (name, number))


def _head(epoch: int, name: bytes) -> bytes:
    """The bytes of a box before its only chunk."""
    return serialize({b"epoch": b"%d" % epoch, name: b"1"})[: -len(_END)] + prefixed(name + b".0")


@lru_cache(_EPOCHS)
def _apply_head(epoch: int) -> bytes:
    return _head(epoch, b"batch")


@lru_cache(_EPOCHS)
def _answers_head(epoch: int) -> bytes:
    return _head(epoch, b"answers")
