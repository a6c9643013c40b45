"""What groups of changes announce that they have, looked at before they are decoded. Pure.

Who follows another shard takes what that one gives in one step. A hostile one could give it millions of changes in one
answer: ten bytes each, and a microsecond or two of work. An honest one gives groups of `settings.FOLLOW_BYTES`, and one
more, which has no more changes than two batches.

Rules:

- all groups of an answer have a bounded number of changes together, more than an honest shard gives;
- indexes are as many as a cluster has, and ranges have a bounded number of bytes;
- what is no longer than two such answers can't have more, and isn't looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from pyshard.errors import BadRequest
from pyshard.protocol.message_pack_heads import array_length, map_length
from pyshard.settings import settings

#: Changes of all groups of an answer together.
MOST_CHANGES = 262_144

#: Bytes of groups that can't have much, so that they needn't be looked at twice: a change has eight at the least.
FEW = MOST_CHANGES * 8

#: Bytes of the ranges that groups have: more than those of a store with all ranges and moves that a cluster may have.
MOST_RANGES_BYTES = 1024 * 1024


#: The fields of a group, undecoded. Today's have 8 at the most, a newer peer's may have more.
GroupFields: TypeAlias = Annotated[list[msgspec.Raw], msgspec.Meta(max_length=16)]


class Places(NamedTuple):
    """Where the fields of a group stand.

    :param changes: an array, or a map from each key.
    """

    changes: int
    indexes: int
    ranges: int

    @classmethod
    def of(cls, group: type[msgspec.Struct], changes: str) -> Places:
        """The places in groups of a class.

        :param changes: the name of that field.
        """
        fields = group.__struct_fields__
        return cls(fields.index(changes), fields.index("indexes"), fields.index("ranges"))


def check_announced(groups: Iterable[GroupFields], places: Places, most_changes: int = MOST_CHANGES) -> None:
    """Refuse groups that have more than a shard gives.

    :param groups: the fields of each.
    :param places: where these stand.
    :param most_changes: of all together.
    :raises BadRequest: they have.
    """
    changes = ranges = 0
    for fields in groups:
        changes += _length(fields, places.changes)
        ranges += len(fields[places.ranges]) if len(fields) > places.ranges else 0
        indexes = _length(fields, places.indexes)
        if changes > most_changes or ranges > MOST_RANGES_BYTES or indexes > settings.MAX_INDEXES:
            raise BadRequest(
                f"groups: found {changes:,} changes, {indexes:,} indexes and {ranges:,} bytes of ranges or more, "
                f"expected {most_changes:,}, {settings.MAX_INDEXES:,} and {MOST_RANGES_BYTES:,} at the most"
            )


def _length(fields: GroupFields, place: int) -> int:
    """How many elements a field has; 0: it isn't there, or is neither an array nor a map."""
    if len(fields) <= place:
        return 0
    length = array_length(fields[place])
    return (map_length(fields[place]) if length is None else length) or 0
