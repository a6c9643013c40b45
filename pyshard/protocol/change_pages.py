"""What a shard gives to who follows it, as MessagePack: a copy's records, and groups of changes. Pure.

Rules:

- what comes from outside is checked: slots lie in the keyspace, versions and expiries have their bounds;
- pages and groups with far more than a shard gives are refused before they are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

from pyshard.errors import BadRequest, plain
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.change_groups import Change, ChangeGroup, are_index_ids
from pyshard.protocol.group_outline import FEW, GroupFields, Places, check_announced
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
_outline = msgspec.msgpack.Decoder(Annotated[list[GroupFields], msgspec.Meta(max_length=MOST_GROUPS)])
_log_groups = msgspec.msgpack.Decoder(Annotated[list[LogGroup], msgspec.Meta(max_length=MOST_GROUPS)])

_PLACES = Places.of(ChangeGroup, "changes")

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


def decode_head(data: bytes) -> ChangeGroup:
    """The head of a copy or a digest: a group without changes.

    :param data: MessagePack.
    :raises BadRequest: it is none.
    """
    if len(data) > FEW:
        outline = _decoded(_outline, b"\x91" + data, "head")
        check_announced(outline, _PLACES, 0)
    group = _decoded(_group, data, "head")
    _check_group(group)
    if group.changes:
        raise BadRequest(f"head: found {len(group.changes):,} changes, expected none")
    return group


def decode_groups(data: bytes) -> list[ChangeGroup]:
    """Groups.

    :param data: MessagePack.
    :raises BadRequest: these are none.
    """
    if len(data) > FEW:
        outline = _decoded(_outline, data, "groups")
        check_announced(outline, _PLACES)
    groups: list[ChangeGroup] = _decoded(_groups, data, "groups")
    for group in groups:
        _check_group(group)
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


def _check_group(group: ChangeGroup) -> None:
    """The same for a group, with its changes."""
    numbers = (group.sequence, group.ballot, group.version)
    if min(numbers) < 0 or max(numbers) >= 2**63 or not are_index_ids(group.indexes, group.next_index):
        raise BadRequest(
            f"a group with number {group.sequence}, ballot {group.ballot}, version {group.version}, and ids of indexes "
            f"below {group.next_index}: expected numbers that a store can have"
        )
    _check(group.changes)


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
