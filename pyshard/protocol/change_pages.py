"""What a shard gives to who follows it, as MessagePack: a copy's records, and groups of changes. Pure.

Rules:

- what comes from outside is checked: slots lie in the keyspace, versions and expiries have their bounds;
- a page with far more than a shard gives is refused before it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

from pyshard.errors import BadRequest, plain
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.protocol.pages import MOST_ROWS

#: Groups that an answer may have: more than `settings.FOLLOW_BYTES` of the smallest.
MOST_GROUPS = 65_536

#: Bytes of groups that a follower takes at a time: more than the largest group has. That is a full one
#: (`settings.MAX_GROUP_BYTES`), and then a batch that fills a box, and copies as many records as it may.
MOST_GROUPS_BYTES = 128 * 1024 * 1024

_T = TypeVar("_T")

_encode = msgspec.msgpack.Encoder().encode
_changes = msgspec.msgpack.Decoder(Annotated[list[Change], msgspec.Meta(max_length=MOST_ROWS)])
_group = msgspec.msgpack.Decoder(ChangeGroup)
_groups = msgspec.msgpack.Decoder(Annotated[list[ChangeGroup], msgspec.Meta(max_length=MOST_GROUPS)])
_log_groups = msgspec.msgpack.Decoder(Annotated[list[LogGroup], msgspec.Meta(max_length=MOST_GROUPS)])

#: A copy's page as MessagePack.
encode_changes: Callable[[list[Change]], bytes] = _encode

#: A group as MessagePack.
encode_group: Callable[[ChangeGroup], bytes] = _encode

#: Groups as MessagePack.
encode_groups: Callable[[Sequence[ReplicatedGroup]], bytes] = _encode


def decode_changes(data: bytes) -> list[Change]:
    """The records of a copy's page.

    :param data: MessagePack.
    :raises BadRequest: it is no such page.
    """
    changes: list[Change] = _decoded(_changes, data, "changes")
    _check(changes)
    return changes


def decode_group(data: bytes) -> ChangeGroup:
    """A group.

    :param data: MessagePack.
    :raises BadRequest: it is none.
    """
    group = _decoded(_group, data, "head")
    _check(group.changes)
    return group


def decode_groups(data: bytes) -> list[ChangeGroup]:
    """Groups.

    :param data: MessagePack.
    :raises BadRequest: these are none.
    """
    groups: list[ChangeGroup] = _decoded(_groups, data, "groups")
    for group in groups:
        _check(group.changes)
    return groups


def decode_log_groups(data: bytes) -> list[LogGroup]:
    """Groups of a log. Whether their payloads can be read, the store looks that takes them.

    :param data: MessagePack.
    :raises BadRequest: these are none.
    """
    groups: list[LogGroup] = _decoded(_log_groups, data, "groups")
    for group in groups:
        if not 0 <= group.sequence < 2**63 or not 0 <= group.ballot < 2**63:
            raise BadRequest(f"groups: found number {group.sequence} of ballot {group.ballot}, expected those of a log")
    return groups


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes, name: str) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{name}: found what can't be read, {plain(str(error))}") from None


def _check(changes: Iterable[Change]) -> None:
    """Refuse numbers that no store gives, since stores have so many bytes for each.

    :raises BadRequest: there is one.
    """
    for change in changes:
        fits = 0 <= change.slot < SLOTS and 0 <= change.index < 2**32
        if not fits or not 0 <= change.version < 2**63 or not 0 <= change.expires < 2**63:
            raise BadRequest(
                f"a change of slot {change.slot}, index {change.index}, version {change.version}, expiry "
                f"{change.expires}: expected numbers that a store can have"
            )
