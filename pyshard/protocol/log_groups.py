"""A group of changes as a durable store's log has it: replicas with such logs pass it on as it is. Pure."""

from __future__ import annotations

from typing import NamedTuple


class LogGroup(NamedTuple):
    """What the log takes in one append: the changes of batches that are acknowledged together.

    :param sequence: rises by 1 with each group.
    :param payload: the changes, as docs/storage.md has them; the log doesn't look into them.
    :param ballot: the number of the shard's configuration of replicas under which it was made; 0: it never had any.
    """

    sequence: int
    payload: bytes
    ballot: int = 0
