"""What the client's verbs give and take beside documents: records, items, and the options that need checking."""

from __future__ import annotations

from typing import TypedDict

from pyshard.errors import InvalidArgument
from pyshard.model.documents import Document
from pyshard.protocol.batches import ABSENT, ALWAYS, LONGEST_TTL


class Record(TypedDict):
    """What `read` and `pop` give: the key's hash, a number in [0, 1), and the document."""

    hash_: float
    record: Document


class Item(TypedDict):
    """What `item` gives.

    key: the key's text. hash_, record: as in `Record`. version: rises with every write to the key's shard. expiry: when
    the document will be gone, in seconds since 1970 by the shard's clock; None: never. ttl: seconds until then; None:
    for ever. size: what `write` gave.
    """

    key: str
    hash_: float
    record: Document
    version: int
    expiry: float | None
    ttl: float | None
    size: int


def condition_of(if_absent: bool, if_version: int | None) -> int:
    """The condition that a verb's arguments ask for."""
    if if_version is None:
        return ABSENT if if_absent else ALWAYS
    if if_absent:
        raise InvalidArgument("if_absent and if_version: found both, expected one of them")
    if type(if_version) is not int or not 1 <= if_version < 2**63:
        raise InvalidArgument(f"if_version: found {if_version!r}, expected a version as item() gives it")
    return if_version


def milliseconds(ttl: float | None) -> int:
    """A time to live as it crosses the wire."""
    if ttl is None:
        return 0
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl <= LONGEST_TTL / 1000:
        raise InvalidArgument(f"ttl: found {ttl!r}, expected a number of seconds, more than 0 and at most 100 years")
    return max(1, round(ttl * 1000))
