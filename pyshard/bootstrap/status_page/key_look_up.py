"""The look-up of one key: where it lies, and its document, which its shard is asked for.

Rules:

- It only reads. The bootstrap asks over the connection that it has, for one key of a shard at a time, within a time.
  Whose look-up is next says `pyshard.bootstrap.status_page.look_up_turns`.
- A large document isn't decoded, and its text is cut: a page is for people.
- No key and no document is logged.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.errors import PyshardError, Unavailable, UnreadableRecord, WrongShard
from pyshard.message_texts import json_escaped
from pyshard.model.document_encoding import Document, decode
from pyshard.model.key_slots import key_bytes, slot_of, slot_to_hash
from pyshard.model.shard_map import MapShard
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import ReadItem
from pyshard.settings import settings

#: Characters of a document's text that are shown.
MOST_TEXT = 100_000

_LINES = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, indent=2, default=lambda value: {"$bytes": b64encode(value).decode()}
)


class ReadShard(Protocol):
    """What reads at one shard."""

    def read_item(self, run: ReadItem) -> Deferred[bytes | PyshardError | None]:
        """See `ShardReconciler`."""
        ...


def text_of(document: Document) -> tuple[str, bool]:
    """A document as lines of JSON, and whether they are cut. What isn't printable is escaped; bytes are base64."""
    parts: list[str] = []
    length = 0
    try:
        for part in _LINES.iterencode(document):
            parts.append(part)
            length += len(part)
            if length > MOST_TEXT:
                break
    except ValueError:  # of more digits than Python writes
        return "it has an int of too many digits to show; pyshard read shows it", True
    text = "".join(parts)
    lines = "\n".join(map(json_escaped, text[:MOST_TEXT].split("\n")))
    return lines, len(text) > MOST_TEXT


def shown_item(item: bytes) -> dict[str, object]:
    """What a shard answers of a key that exists, for JSON. Pure."""
    version, expires, left = ITEM.unpack_from(item)
    size = len(item) - ITEM.size
    shown: dict[str, object] = {
        "found": True,
        "version": str(version),  # JavaScript has no such numbers
        "expires_in": left / 1000 if expires else None,
        "bytes": size,
    }
    if size > settings.SHOWN_RECORD_BYTES:
        return shown | {"note": "It is too large for this page: `pyshard read` shows it."}
    try:
        text, cut = text_of(decode(item, ITEM.size))
    except UnreadableRecord as error:
        return shown | {"note": f"It can't be shown: {error}"}
    return shown | {"document": text} | ({"note": "This is its beginning: `pyshard read` shows all."} if cut else {})


def owner_of(bootstrap: Bootstrap, index: str, key: str) -> MapShard:
    """The shard that has a key, whether or not it is there.

    :raises PyshardError: as `look_up`.
    """
    return bootstrap.state.map.lookup(_slot_of(bootstrap, index, key))


async def look_up(
    bootstrap: Bootstrap, find: Callable[[str], ReadShard | None], index: str, key: str
) -> dict[str, object]:
    """Where a key lies, and what is there, for JSON.

    :param find: gives what reads at a shard, by its name; None: it isn't there any more.
    :raises PyshardError: there is no such index, or that can't be a key.
    """
    slot, text = _slot_of(bootstrap, index, key), key_bytes(key)
    owner = bootstrap.state.map.lookup(slot)
    outcome = await _read(find(owner.name), owner, index, text)
    if isinstance(outcome, WrongShard):  # the range may just have moved
        owner = bootstrap.state.map.lookup(slot)
        outcome = await _read(find(owner.name), owner, index, text)
    shown: dict[str, object] = {
        "key": key,
        "index": index,
        "slot": slot,
        "hash": slot_to_hash(slot),
        "owner": owner.name,
        "address": owner.address,
    }
    if isinstance(outcome, PyshardError):
        return shown | {"note": f"The shard doesn't give it now: {outcome}"}
    return shown | ({"found": False} if outcome is None else shown_item(outcome))


def _slot_of(bootstrap: Bootstrap, index: str, key: str) -> int:
    text = key_bytes(key)
    bootstrap.state.index_id(index)
    return slot_of(text, index.encode())


async def _read(shard: ReadShard | None, owner: MapShard, index: str, key: bytes) -> bytes | PyshardError | None:
    """The item of a key; None: there is none; or why it can't be had."""
    if shard is None:
        return Unavailable(f"shard {owner.name!r} has just left the cluster")
    try:
        return await shard.read_item(ReadItem(index, [key]))
    except PyshardError as error:
        return error
