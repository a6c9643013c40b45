"""What a shard was told before it was restarted, as its store has it."""

from __future__ import annotations

from twisted.logger import Logger

from pyshard.errors import ConfigError
from pyshard.shard.assignment import Assignment, remembered_assignment
from pyshard.storage import IStore

_log = Logger()


def recalled_assignment(store: IStore) -> Assignment | None:
    """The assignment that a store remembers; None: there is none.

    One of several replicas may have it from another one, and nobody has looked at it before. So what can't be read of
    that is as if it weren't there, and the bootstrap tells it again: a hostile primary mustn't keep all others from
    starting.

    :raises ConfigError: it can't be read, and is the store's own.
    """
    text = store.recall()
    if text is None:
        return None
    try:
        return remembered_assignment(text)
    except ConfigError as error:
        if not store.promised.ballot:
            raise
        _log.warn("{why}; until the bootstrap tells it again, this shard isn't configured", why=error)
        return None
