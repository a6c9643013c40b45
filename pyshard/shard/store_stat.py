"""What `stat` tells of a shard's store, and of what it is assigned (docs/protocol.md, "Stat"). Pure."""

from __future__ import annotations

from pyshard.model.key_slots import slot_to_hash
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment
from pyshard.storage import IStore


def store_stat(store: IStore, assignment: Assignment | None) -> dict[str, object]:
    """The store's figures, and the assignment's, if there is one."""
    found: dict[str, object] = {
        "id": store.identity,
        "incarnation": store.incarnation,
        "documents": store.documents,
        "bytes": store.used,
        "ephemeral": store.ephemeral,
    }
    if assignment is not None:
        own = assignment.own
        found |= {
            "name": own.name,
            "ranges": [[slot_to_hash(start), slot_to_hash(end)] for start, end in own.ranges],
            "epoch": assignment.state.epoch,
            "limit": own.limit,
            "histogram": [store.histogram(start, end, settings.HISTOGRAM_BARS) for start, end in own.ranges],
        }
    return found
