"""Records → the lines that `cat` writes of them. Pure.

Rules:

- many records are made lines of at a time, one after the other until one needs a closer look: it can't be read, can't
  stand in a line, or is rare;
- where `pyshard.compiled` is in use, JSON is made of MessagePack there, without a document in between.
"""

from __future__ import annotations

from typing import cast

from pyshard.cli.line_formats import format_lines
from pyshard.client_core.result_decoding import Record, outcomes_of
from pyshard.compiled import IN_USE, line_leaves
from pyshard.errors import PyshardError
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.batch_operations import Read
from pyshard.settings import settings

_TOGETHER = 200  # records that are decoded and made lines of at a time


def record_lines(keys: list[str], results: list[object], place: int, jsonl: bool) -> tuple[bytes, int]:
    """The lines of some keys, from a place on.

    :param results: for each key a version and a record, as a shard answers; None: it is missing, and has no line; or an
        error.
    :param jsonl: whether to write JSONL, else ``key|document``.
    :return: lines with their ends, and the place of the first key that they don't cover. Where that is `place` itself,
        its key has to be looked at alone.
    """
    if IN_USE:
        return line_leaves.record_lines(
            keys, results, place, VERSION.size, jsonl, settings.MAX_ELEMENTS, settings.MAX_NESTING
        )
    return record_lines_plainly(keys, results, place, jsonl)


def record_lines_plainly(keys: list[str], results: list[object], place: int, jsonl: bool) -> tuple[bytes, int]:
    """What `record_lines` gives; it may end sooner, or later."""
    given = results[place : place + _TOGETHER]
    errors = (number for number, result in enumerate(given) if isinstance(result, PyshardError))
    given = given[: next(errors, len(given))]
    run = Read("", [key.encode() for key in keys[place : place + len(given)]])
    outcomes = outcomes_of(run, [0] * len(given), (), cast("list[Result]", given))
    count = next((number for number, one in enumerate(outcomes) if isinstance(one, PyshardError)), len(outcomes))
    found = [number for number in range(count) if outcomes[number] is not None]
    documents = [cast("Record", outcomes[number])["record"] for number in found]
    lines = format_lines([keys[place + number] for number in found], documents, jsonl)
    end = place + (count if len(lines) == len(found) else found[len(lines)])
    return "".join([f"{line}\n" for line in lines]).encode(), end
