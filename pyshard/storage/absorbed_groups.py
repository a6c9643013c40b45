"""What of another store's groups a store takes, and what it has already. Pure."""

from __future__ import annotations

from collections.abc import Container

from pyshard.errors import BadRequest, ShardFull, shown_value
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin, Staging, StoreRanges
from pyshard.storage import index_ids


def is_absorbed(known: Origin | None, origin: Origin) -> bool:
    """Whether a group of another store was absorbed before.

    :param known: what is absorbed of it.
    :param origin: how far it is with the group; with the number 0 while the copy is read.
    """
    same = known is not None and (known.identity, known.incarnation) == (origin.identity, origin.incarnation)
    return known is not None and same and 0 < origin.sequence <= known.sequence


def records_for(
    ranges: StoreRanges, name: str, group: ChangeGroup, sequence: int, indexes: Container[int], next_index: int
) -> list[Change] | None:
    """Which changes of a group are for the records of a copy.

    :param name: of the copy.
    :param sequence: how far the copy is with the group; 0: it isn't complete.
    :param indexes: the ids of the indexes that the store has.
    :param next_index: no index has had this id or a higher one, as far as the store knows.
    :return: None: the copy is past the group. One with the number of the copy may be put once more, as nothing behind
        it is here.
    :raises BadRequest: there is no such copy, or it is complete and its pages come once more.
    :raises ShardBehind: a record is of an index that the store wasn't told of.
    """
    staging = staging_of(ranges, name)
    done = staging.origin.sequence
    if done and not sequence:
        raise BadRequest(f"staged: found a page for the copy {shown_value(name)}, which is complete; give it up first")
    if done and sequence < done:
        return None
    return [
        change
        for change in group.changes
        if in_ranges(change.slot, staging.ranges)
        and (change.index in indexes or not index_ids.is_dropped(change.index, next_index))
    ]


def refuse_past_limit(name: str, used: int, grown: int, limit: int) -> None:
    """Refuse records of a copy that take the store past its limit.

    :param name: of the copy.
    :param used: bytes that count against the limit, with these records.
    :param grown: how many of these bytes are new.
    :param limit: bytes that may be in use.
    :raises ShardFull: they are too many.
    """
    if grown > 0 and used > limit:
        raise ShardFull(
            f"the shard holds {used - grown:,} of {limit:,} bytes, and a group of the copy {shown_value(name)} needs "
            f"{grown:,} more; remove documents, raise the shard's size, or move less to it"
        )


def refuse_incomplete(origin: Origin | None) -> None:
    """Refuse to own anything with a part of another store's records.

    :param origin: whose groups the store absorbs as a whole, and how far it is; None: nobody's.
    :raises BadRequest: it hasn't all that the other store had at any moment.
    """
    if origin is not None and not origin.sequence:
        raise BadRequest(
            f"owned: found a copy of the store {shown_value(origin.identity)} that isn't complete; expected a store "
            "that has all records"
        )


def staging_of(ranges: StoreRanges, name: str) -> Staging:
    """The copy of a name.

    :raises BadRequest: there is none.
    """
    if name not in ranges.staged:
        raise BadRequest(f"staged: found no copy of the name {shown_value(name)}; it was given up, or never begun")
    return ranges.staged[name]
