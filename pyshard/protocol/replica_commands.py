"""The commands by which the replicas of a shard keep one log, tell a bootstrap how they are, and are changed.

`pyshard.protocol.commands` has them beside all others.
"""

from __future__ import annotations

from pyshard.protocol.argument_types import Boolean, Integer, Text
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import BOOTSTRAP, NOTHING, SHARD, Command
from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings

#: Characters of a replica's address, ``host:port``.
MAX_ADDRESS = 300

_MOST_OF_A_PULL = 64 * 1024  # bytes: a history of a thousand ballots has some 20 KB


class PullGroups(Command):
    """I have these groups, and shall not lead for a while; give me those behind. The answer waits a little for some."""

    commandName = b"PullGroups"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"pull", ChunkedBytes(_MOST_OF_A_PULL)),  # MessagePack, see pyshard.replication.pulls.Pull
        (b"offset", Integer()),  # bytes of the groups that I have of answers with `more`; else 0
    ]
    response = [
        (b"pulled", ChunkedBytes()),  # MessagePack, see pyshard.replication.pulls.Pulled; empty behind an offset
        (b"groups", ChunkedBytes()),  # MessagePack: an array of `ChangeGroup`, or a part of it
        (b"more", Boolean()),  # whether bytes are lacking behind these
    ]


class OpenReplicaCopy(Command):
    """Keep a copy of all that you hold at this moment, and what changes from here on, for me to read."""

    commandName = b"OpenReplicaCopy"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"replica", Text(MAX_ADDRESS))]  # my address
    response = [
        (b"copy", Text()),  # its id, for ReadCopy
        (b"head", ChunkedBytes()),  # MessagePack: the `ChangeGroup` up to which it has all
    ]


class ReportReplica(Command):
    """How are you, as a replica of your shard, and what is to become of its group?"""

    commandName = b"ReportReplica"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"name", Text(settings.MAX_NAME))]  # of the shard; another one's replica says nothing
    response = [(b"report", ChunkedBytes())]  # JSON, see pyshard.replication.wishes.ReplicaReport


class SwitchPrimary(Command):
    """Have another member lead in your place as soon as it has all that you have; or go on as before."""

    commandName = b"SwitchPrimary"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [
        (b"name", Text(settings.MAX_NAME)),  # of the shard; another one's replica refuses it
        (b"replica", Text(MAX_ADDRESS)),  # the member's address; empty: go on
    ]
    response = NOTHING


class ListReplicas(Command):
    """Which replicas do shards have, and how are they, as you see it?"""

    commandName = b"ListReplicas"
    answered_by = BOOTSTRAP
    role = Role.READ
    arguments = NOTHING
    response = [(b"groups", ChunkedBytes())]  # JSON, see pyshard.protocol.listed_replicas


class ChangeReplicas(Command):
    """Have another replica of a shard lead, remove one, or begin anew with one. The answer comes when that is done."""

    commandName = b"ChangeReplicas"
    answered_by = BOOTSTRAP
    role = Role.ADMIN
    arguments = [
        (b"shard", Text(settings.MAX_NAME)),
        (b"replica", Text(MAX_ADDRESS)),  # its address
        (b"change", Text(settings.MAX_NAME)),  # "switch", "remove" or "promote"
        (b"force", Boolean()),  # also if the shard takes no changes then, or documents are lost
    ]
    response = NOTHING
