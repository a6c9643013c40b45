"""How much a shard may answer, by what it was asked: found out before the answers are decoded. Pure.

Decoded, an answer takes up to 100 times its bytes. So a hostile shard could fill a client's memory by one box.

Rules:

- there are as many answers as runs, and as many results in each as keys; it has no more errors than keys;
- all records together are no more than fit into an answer (`settings.ANSWER_BYTES`, with room to spare), but for one,
  which may be as large as a document can be;
- so are the texts of all errors together, which a shard bounds (`pyshard.protocol.error_texts`);
- few bytes (`FEW`) needn't be looked at twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from pyshard.errors import BadRequest
from pyshard.protocol.batch_operations import Run
from pyshard.protocol.message_pack_heads import array_length, map_length
from pyshard.settings import settings

#: Bytes of answers that can't take much, so that they needn't be looked at twice.
FEW = 64 * 1024

#: Bytes of all records in an answer, but for one.
MOST_RECORDS = 2 * settings.ANSWER_BYTES

#: Characters of the texts of all errors in an answer: twice what a shard gives, with what stands for those left out.
MOST_TEXTS = 4 * settings.ERROR_BYTES

_MAX_FIELDS = 16  # of an answer; today's have 2, a newer peer's may have more

_outline = msgspec.msgpack.Decoder(list[Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MAX_FIELDS)]])


def check_announced(data: bytes, runs: Sequence[Run]) -> None:
    """Refuse answers that announce other numbers than were asked for.

    :param data: MessagePack.
    :param runs: the batch's.
    :raises msgspec.DecodeError: they aren't answers.
    :raises BadRequest: they don't fit the runs.
    """
    if len(data) <= FEW:
        return
    answers = array_length(data)
    if answers != len(runs):
        raise BadRequest(
            f"found {answers or 0:,} answers, expected one for each of the {len(runs):,} runs that were sent"
        )
    for run, fields in zip(runs, _outline.decode(data), strict=True):
        keys = len(run.keys)
        results = array_length(fields[0]) if fields else None
        if results != keys:
            raise BadRequest(f"found {results or 0:,} results in an answer, expected one for each of {keys:,} keys")
        errors = map_length(fields[1]) if len(fields) > 1 else None
        if errors is not None and errors > keys:
            raise BadRequest(f"found {errors:,} errors in an answer, expected at most one for each of {keys:,} keys")


def check_records(data: bytes, results: Iterable[object]) -> None:
    """Refuse answers with more records than a shard puts into one box.

    :param data: the answers, in MessagePack.
    :param results: those of all runs.
    :raises BadRequest: they have more.
    """
    if len(data) <= MOST_RECORDS:
        return
    sizes = [len(result) for result in results if isinstance(result, bytes)]
    if sum(sizes) - max(sizes, default=0) > MOST_RECORDS:
        raise BadRequest(
            f"found {len(sizes):,} records with {sum(sizes):,} bytes in the answers to one batch; but for one, they "
            f"have at most {MOST_RECORDS:,}"
        )


def check_texts(data: bytes, texts: Iterable[str]) -> None:
    """Refuse answers whose errors have longer texts than a shard gives.

    :param data: the answers, in MessagePack.
    :param texts: those of all errors.
    :raises BadRequest: they have more.
    """
    if len(data) <= MOST_TEXTS:
        return
    found = sum(map(len, texts))
    if found > MOST_TEXTS:
        raise BadRequest(
            f"found {found:,} characters of errors in the answers to one batch, expected at most {MOST_TEXTS:,}"
        )
