"""What who opens a copy of a shard's records is told: how it is read on, and about how large it is. Pure."""

from __future__ import annotations

import attrs

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import CHANGE_OVERHEAD, ChangeGroup
from pyshard.settings import settings
from pyshard.storage import IStore


@attrs.frozen
class CopyTicket:
    """What who opens a copy is told.

    :param id: the copy's.
    :param head: what it begins with.
    :param size: about how many bytes its changes have.
    """

    id: str
    head: ChangeGroup
    size: int


def expected_size(store: IStore, ranges: SlotRanges) -> int:
    """About how many bytes the changes of a copy of some ranges have, by what the store counts anyway.

    :param ranges: those that the store owns alone.
    """
    documents = min(store.documents, sum(store.histogram(start, end, 1)[0] for start, end in ranges))
    if not documents:
        return 0
    plain = store.used // store.documents - settings.ITEM_OVERHEAD  # times to live are counted, too, but seldom many
    return documents * (max(0, plain) + CHANGE_OVERHEAD)
