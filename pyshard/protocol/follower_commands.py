"""The commands by which a shard follows another one: copies, what changes behind them, and digests to compare with.

`pyshard.protocol.commands` has them beside all others.
"""

from __future__ import annotations

from pyshard.protocol.argument_types import Boolean, Integer, Text
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import NOTHING, SHARD, Command
from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings

_MOST_OF_RANGES = 16 * settings.MAX_RANGES  # bytes of all ranges that a cluster may have
_MOST_OF_IDS = 16 * (settings.MAX_INDEXES + 1)  # bytes of the ids of all its indexes


class OpenCopy(Command):
    """Keep a copy of what you hold of these slots at this moment, and what changes from here on, for me to read."""

    commandName = b"OpenCopy"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"follower", Text(settings.MAX_NAME)),  # who reads; one that was there of that name begins anew
        (b"ranges", ChunkedBytes(_MOST_OF_RANGES)),  # MessagePack, see pyshard.protocol.change_pages
    ]
    response = [
        (b"copy", Text()),  # its id
        (b"head", ChunkedBytes()),  # MessagePack: the `ChangeGroup` from which the follower goes on
        (b"bytes", Integer()),  # about how many its changes have
    ]


class ReadCopy(Command):
    """The next records of a copy, in no particular order."""

    commandName = b"ReadCopy"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"copy", Text())]
    response = [(b"changes", ChunkedBytes())]  # MessagePack: an array of `Change`; empty at the end


class CloseCopy(Command):
    """I don't need the copy any more."""

    commandName = b"CloseCopy"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"copy", Text())]
    response = NOTHING


class ReadGroups(Command):
    """What has changed after a group; if that is nothing, the answer waits a little for it."""

    commandName = b"ReadGroups"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"follower", Text(settings.MAX_NAME)),
        (b"after", Integer()),  # the number of the last group that I have
        (b"ranges", ChunkedBytes(_MOST_OF_RANGES)),  # as of OpenCopy
        (b"offset", Integer()),  # bytes of the groups that I have of answers with `more`; else 0
    ]
    response = [
        (b"groups", ChunkedBytes()),  # MessagePack: an array of `ChangeGroup`, or a part of it
        (b"more", Boolean()),  # whether bytes are lacking behind these
        (b"newest", Integer()),  # the number of the shard's last group
    ]


class OpenDigest(Command):
    """Keep a copy of what you hold of these slots at this moment, to compare it with what I have copied."""

    commandName = b"OpenDigest"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"follower", Text(settings.MAX_NAME)),  # who compares; a digest that it had is given up
        (b"ranges", ChunkedBytes(_MOST_OF_RANGES)),  # as of OpenCopy
    ]
    response = [
        (b"digest", Text()),  # its id
        (b"head", ChunkedBytes()),  # MessagePack: the `ChangeGroup` up to which it has all, with the ids of indexes
    ]


class ReadDigest(Command):
    """Count the rows of a digest, for a little while; when all are counted, what they come to."""

    commandName = b"ReadDigest"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"digest", Text()),
        # MessagePack: the ids of the indexes whose rows count; always the same
        (b"indexes", ChunkedBytes(_MOST_OF_IDS)),
    ]
    response = [
        (b"rows", Integer()),  # how many were counted by now
        (b"buckets", ChunkedBytes()),  # empty: there may be more; else MessagePack, see pyshard.protocol.row_digests
    ]


class ReadDigestRows(Command):
    """The next rows that a digest would count, in no particular order, to put right what differs."""

    commandName = b"ReadDigestRows"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"digest", Text())]
    response = [(b"changes", ChunkedBytes())]  # as of ReadCopy


class ForgetFollower(Command):
    """Keep nothing for me any more."""

    commandName = b"ForgetFollower"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"follower", Text(settings.MAX_NAME))]
    response = NOTHING
