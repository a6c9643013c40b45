"""A group of changes as the log of a durable store has it: replicas with such logs pass it on as it is. Pure."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from pyshard.protocol.change_groups import ChangeGroup


class LogGroup(NamedTuple):
    """What the log takes in one append: the changes of batches that are acknowledged together.

    :param sequence: rises by 1 with each group.
    :param payload: the changes, as docs/storage.md has them; the log doesn't look into them.
    :param ballot: the number of the shard's configuration of replicas under which it was made; 0: it never had any.
    """

    sequence: int
    payload: bytes
    ballot: int = 0


#: A group as one replica gives it to another: both have logs of one format, or it is one that any store takes.
ReplicatedGroup: TypeAlias = ChangeGroup | LogGroup
