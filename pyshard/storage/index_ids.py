"""Which ids the indexes of a store may have. Pure.

Ids rise, and none is given twice in a cluster. So a store tells an index that was dropped from one that it wasn't told
of yet: it knows an id that no index has had.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pyshard.errors import BadRequest, ShardBehind, shown_value


def next_index(known: int, indexes: Mapping[str, int], given: int = 0) -> int:
    """The lowest id that no index has had, as far as a store knows.

    :param known: what it was before.
    :param indexes: name → id of all named indexes.
    :param given: what somebody else knows; 0: nothing.
    """
    return max(known, given, 1, *(number + 1 for number in indexes.values()))


def refuse_dropped(indexes: Mapping[str, int], present: Collection[int], known: int) -> None:
    """Refuse indexes of which one has the id of another that was dropped: it would have records of that.

    :param indexes: name → id of all named indexes.
    :param present: the ids that there are now.
    :param known: the lowest id that no index has had.
    :raises BadRequest: one has.
    """
    for name, number in indexes.items():
        if number not in present and number < known:
            raise BadRequest(
                f"index {shown_value(name)}: found the id {number}, which an index had that was dropped; expected "
                f"{known} or a higher one"
            )


def is_dropped(number: int, known: int) -> bool:
    """Whether an index that isn't there was dropped.

    :param known: the lowest id that no index has had.
    :raises ShardBehind: the store wasn't told of it yet.
    """
    if number >= known:
        raise ShardBehind(
            f"the shard wasn't told of the index with id {number} yet, so it can't take records of it; the bootstrap "
            "will tell it soon"
        )
    return True
