"""Records as they are stored, for the `pyshard` command; no part of the public API.

Rule: a record is not looked into, so one that can't be read is given, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pyshard.blocking.pyshard import Pyshard
from pyshard.errors import PartialFailure
from pyshard.model.key_slots import Key
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.batch_operations import Read, Run


def read_record(app: Pyshard, key: Key, index: str | None) -> bytes | None:
    """The record of a key, byte by byte.

    :param index: its name; None: the client's own.
    :return: None when there is no such key.
    :raises PyshardError: as `Pyshard.read`.
    """
    try:
        [found] = app._on_keys(Read, [key], index, None, None, _undecoded)
    except PartialFailure as failure:
        raise failure.failed[0][1] from None
    return cast("bytes | None", found)


def read_results(app: Pyshard, keys: Sequence[Key], index: str | None) -> Sequence[object]:
    """What primaries answer to reads of many keys: each record behind its version; None where one is missing.

    :param index: its name; None: the client's own.
    :raises PyshardError: as `Pyshard.read_many`.
    """
    return app._on_keys(Read, keys, index, None, None, _as_answered, at_primary=True)


def _as_answered(_: Run, __: Sequence[int], ___: Sequence[int], results: list[Result]) -> list[object]:
    return list(results)


def _undecoded(_: Run, __: Sequence[int], ___: Sequence[int], results: list[Result]) -> list[object]:
    return [result[VERSION.size :] if isinstance(result, bytes) else None for result in results]
