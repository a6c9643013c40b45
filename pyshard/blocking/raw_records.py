"""Records as they are stored, for the `pyshard` command; no part of the public API.

Rule: a record is not looked into, so one that can't be read is given, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def read_results(app: Pyshard, keys: list[str], index: str | None) -> list[object]:
    """What primaries answer to a read of a walk: what `pyshard.client_core.walked_records.WalkedRecords.took` takes.

    :param index: its name; None: the client's own.
    """
    return app._read_results(keys, index, None)


def key_pages(app: Pyshard, index: str | None) -> Iterator[list[str]]:
    """The pages of keys of an index, none of them empty.

    :param index: its name; None: the client's own.
    """
    return app._key_pages(index, None)


def _undecoded(_: Run, __: Sequence[int], ___: Sequence[int], results: list[Result]) -> list[object]:
    return [result[VERSION.size :] if isinstance(result, bytes) else None for result in results]
