"""A view of all rows that a store has of some slots at one moment, also of those that it hides.

It ends when it costs too much (`pyshard.shard.bounded_copies`).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.model.slot_ranges import SlotRanges
from pyshard.shard.bounded_copies import BoundedCopy
from pyshard.storage import ICopy, IStore


def open_view(store: IStore, ranges: SlotRanges) -> Deferred[ICopy]:
    """The view; if nobody waits for it any more when it comes, it is closed.

    :raises StorageFailed: (in the Deferred) there is none.
    """
    waiting: Deferred[ICopy] = Deferred()

    def opened(copy: ICopy) -> None:
        if waiting.called:
            copy.close()
        else:
            waiting.callback(BoundedCopy(copy, store))

    def failed(failure: Failure) -> None:
        if not waiting.called:
            waiting.errback(failure)

    store.copy(None, ranges).addCallbacks(opened, failed)
    return waiting
