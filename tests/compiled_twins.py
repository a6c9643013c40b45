"""What tests of compiled twins share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyshard.compiled import key_leaves
from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import VERSION

built = pytest.mark.skipif(key_leaves is None, reason="no compiled twins were built")


# ---------------------------------------------------------------------- documents


def plainly(document: object) -> tuple[bytes, int] | None:
    """What the plain twin makes of a document; None: it refuses it."""
    try:
        return document_encoding.encode_plainly(document)
    except PyshardError:
        return None


# ---------------------------------------------------------------------- answers


def records(documents: list[object]) -> Iterator[bytes | None]:
    """What a shard answers for keys with these documents; None for those that have no record."""
    for document in documents:
        record = plainly(document)
        yield None if record is None else bytes(VERSION.size) + record[0]
