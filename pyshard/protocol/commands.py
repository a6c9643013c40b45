"""Every AMP command: the whole protocol on one page. docs/protocol.md says it in prose.

Who asks whom:

- anyone asks either daemon: `Authenticate`, `Ping`; whoever has a role also asks `Hello`, `GetMap` and `Stat`;
- the bootstrap asks shards: `Configure`, and while ranges move `ReportMoves`;
- a shard that copies another one's records asks it `OpenCopy`, `ReadCopy`, `CloseCopy`, `ReadGroups`, `OpenDigest`,
  `ReadDigest`, `ReadDigestRows`, `ForgetFollower`;
- a replica of a shard asks its primary `PullGroups`, `OpenReplicaCopy` and `ReadCopy`; the bootstrap asks it
  `ReportReplica`, and its primary `SwitchPrimary`;
- clients ask shards: `Apply`, `Keys`, `Count`; for a backup `OpenSnapshot`, `ReadSnapshot`, `CloseSnapshot`;
- clients ask the bootstrap: `CreateIndex`, `DropIndex`, `Readiness`, `ApplyConfig`, `ListMoves`, `ChangeMove`,
  `ListReplicas`, `ChangeReplicas`;
- a daemon asks a silent peer `Ping`, and when it stops, every connected peer `GoAway`.

Rules:

- every command may answer with every error of `pyshard.errors`. Two end the connection: `TooManyConnections`, and
  `NotAuthenticated` after too many wrong tokens;
- each command has the least role that a peer must have, where a daemon has tokens;
- the roles `read` and `backup` may send `Apply`: what would change something in its batch is refused, operation by
  operation.
"""

from __future__ import annotations

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.argument_types import Boolean, Bytes, Integer, Text
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import BOOTSTRAP, NOTHING, SHARD, Command
from pyshard.protocol.follower_commands import CloseCopy as CloseCopy
from pyshard.protocol.follower_commands import ForgetFollower as ForgetFollower
from pyshard.protocol.follower_commands import OpenCopy as OpenCopy
from pyshard.protocol.follower_commands import OpenDigest as OpenDigest
from pyshard.protocol.follower_commands import ReadCopy as ReadCopy
from pyshard.protocol.follower_commands import ReadDigest as ReadDigest
from pyshard.protocol.follower_commands import ReadDigestRows as ReadDigestRows
from pyshard.protocol.follower_commands import ReadGroups as ReadGroups
from pyshard.protocol.replica_commands import ChangeReplicas as ChangeReplicas
from pyshard.protocol.replica_commands import ListReplicas as ListReplicas
from pyshard.protocol.replica_commands import OpenReplicaCopy as OpenReplicaCopy
from pyshard.protocol.replica_commands import PullGroups as PullGroups
from pyshard.protocol.replica_commands import ReportReplica as ReportReplica
from pyshard.protocol.replica_commands import SwitchPrimary as SwitchPrimary
from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings

#: The version of this protocol. A peer with another one is refused at `Hello`.
PROTOCOL = 2

#: Bytes that the id of a session has: the least and the most that are taken, and what pyshard's own clients use.
MIN_SESSION_ID, MAX_SESSION_ID, OWN_SESSION_ID = 16, 64, 16


class Hello(Command):
    """Who are you? The first question on a connection."""

    commandName = b"Hello"
    role = Role.READ
    arguments = [
        (b"protocol", Integer()),
        (b"session", Bytes(MIN_SESSION_ID, MAX_SESSION_ID, optional=True)),  # see pyshard.server.session_fence
    ]
    response = [
        (b"protocol", Integer()),
        (b"role", Text(settings.MAX_NAME)),  # "shard" or "bootstrap"
        (b"identity", Text(settings.MAX_NAME)),  # a shard: its store's id; a bootstrap: empty
        (b"cluster", Text(settings.MAX_NAME)),  # the cluster's id; empty while a shard is not configured
        (b"name", Text(settings.MAX_NAME)),  # a shard: the name it was given; else empty
        (b"epoch", Integer()),  # the newest epoch it knows; 0 while not configured
        (b"ephemeral", Boolean()),  # a shard: whether a restart loses its data
        (b"connection", Text(settings.MAX_NAME)),  # this connection's id in the daemon's log and `stat`
        (b"incarnation", Text(settings.MAX_NAME)),  # a shard: its store's; a bootstrap: empty
    ]


class Authenticate(Command):
    """This token says what I may do. A daemon without tokens takes any token, and lets everybody do everything."""

    commandName = b"Authenticate"
    role = None
    arguments = [(b"token", Bytes())]  # the secret
    response = [(b"role", Text())]  # "read", "backup", "write" or "admin"


class Ping(Command):
    """Are you there?"""

    commandName = b"Ping"
    role = None
    arguments = NOTHING
    response = NOTHING


class GoAway(Command):
    """I am stopping. Ask nothing more on this connection, and close it when all your questions are answered."""

    commandName = b"GoAway"
    role = None
    arguments = NOTHING
    response = NOTHING


class GetMap(Command):
    """Which cluster state do you know: map, epoch, indexes?"""

    commandName = b"GetMap"
    role = Role.READ
    arguments = NOTHING
    response = [(b"state", ChunkedBytes())]  # JSON, see pyshard.model.cluster_state_json


class Configure(Command):
    """You are the shard called `name` in this cluster state."""

    commandName = b"Configure"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = [(b"name", Text()), (b"state", ChunkedBytes(settings.MAX_STATE_BYTES))]
    response = NOTHING


class Apply(Command):
    """Apply a batch."""

    commandName = b"Apply"
    answered_by = SHARD
    role = Role.READ
    arguments = [
        (b"epoch", Integer()),  # the epoch of the map that the caller routed by
        (b"batch", ChunkedBytes()),  # MessagePack, see pyshard.protocol.batch_encoding
        (b"stale", Boolean(optional=True)),  # whether any member may answer what only reads, with what is a little old
    ]
    response = [
        (b"epoch", Integer()),  # the shard's epoch
        (b"answers", ChunkedBytes()),  # MessagePack, see pyshard.protocol.batch_answers
    ]


class Keys(Command):
    """One page of the keys of an index, in slot order."""

    commandName = b"Keys"
    answered_by = SHARD
    role = Role.READ
    arguments = [
        (b"epoch", Integer()),
        (b"index", Text()),  # empty: the default index
        (b"slot", Integer(most=SLOTS - 1)),  # the first slot wanted
        (b"after", ChunkedBytes(settings.MAX_KEY_BYTES, optional=True)),  # of that slot, only keys after this one
    ]
    response = [
        (b"keys", ChunkedBytes()),  # MessagePack: an array of binaries
        (b"epoch", Integer()),  # the shard's
        (b"end", Integer(most=SLOTS)),  # without more: the slot to go on with, be it the first after the shard's range
        (b"more", Boolean()),  # whether to go on behind the last of the keys
        (b"after", ChunkedBytes(optional=True)),  # without more: of the slot `end`, go on behind this key
    ]


class Count(Command):
    """How many documents of an index do you have?"""

    commandName = b"Count"
    answered_by = SHARD
    role = Role.READ
    arguments = [
        (b"epoch", Integer()),
        (b"index", Text()),  # empty: the default index
        (b"slot", Integer(most=SLOTS - 1)),  # the first slot that isn't counted yet
    ]
    response = [
        (b"epoch", Integer()),  # the shard's
        (b"documents", Integer()),  # in all of the shard's ranges
        (b"ranges", ChunkedBytes()),  # of the shard, as `pages.encode_ranges` has them
    ]


class Stat(Command):
    """How are you: documents, bytes, operations; or shards and moves?"""

    commandName = b"Stat"
    role = Role.READ
    arguments = NOTHING
    response = [(b"stat", ChunkedBytes())]  # JSON, see docs/protocol.md


class OpenSnapshot(Command):
    """Keep a snapshot of what you hold at this moment, for me to read over this connection."""

    commandName = b"OpenSnapshot"
    answered_by = SHARD
    role = Role.BACKUP
    arguments = [(b"stale", Boolean(optional=True))]  # whether any member may answer, with what is a little old
    response = [
        (b"snapshot", Text()),  # its id
        (b"documents", Integer()),  # how many documents it has
        (b"epoch", Integer()),  # the shard's epoch: the ids of indexes are those of this epoch
    ]


class ReadSnapshot(Command):
    """The next records of a snapshot, in no particular order."""

    commandName = b"ReadSnapshot"
    answered_by = SHARD
    role = Role.BACKUP
    arguments = [(b"snapshot", Text())]
    response = [(b"rows", ChunkedBytes())]  # MessagePack: an array of `pyshard.protocol.pages.Row`; empty at the end


class CloseSnapshot(Command):
    """I don't need the snapshot any more."""

    commandName = b"CloseSnapshot"
    answered_by = SHARD
    role = Role.BACKUP
    arguments = [(b"snapshot", Text())]
    response = NOTHING


class ReportMoves(Command):
    """How far are the moves of ranges that you give, or take?"""

    commandName = b"ReportMoves"
    answered_by = SHARD
    role = Role.ADMIN
    arguments = NOTHING
    response = [(b"reports", ChunkedBytes())]  # JSON, see pyshard.protocol.move_reports


class CreateIndex(Command):
    """Create an index. The answer comes when every shard that can be reached has it."""

    commandName = b"CreateIndex"
    answered_by = BOOTSTRAP
    role = Role.WRITE
    arguments = [(b"name", Text())]
    response = [(b"epoch", Integer())]


class DropIndex(Command):
    """Drop an index with its documents. The answer comes when every shard that can be reached has dropped it."""

    commandName = b"DropIndex"
    answered_by = BOOTSTRAP
    role = Role.ADMIN
    arguments = [(b"name", Text())]
    response = [(b"epoch", Integer())]


class Readiness(Command):
    """How ready is each shard, as you see it?"""

    commandName = b"Readiness"
    answered_by = BOOTSTRAP
    role = Role.READ
    arguments = NOTHING
    response = [(b"shards", ChunkedBytes())]  # JSON, see docs/protocol.md


class ApplyConfig(Command):
    """Bring the cluster to the shards and ranges of a config. The answer comes when the moves are planned."""

    commandName = b"ApplyConfig"
    answered_by = BOOTSTRAP
    role = Role.ADMIN
    arguments = [
        # JSON, as in a config file; what it says of the bootstrap doesn't count
        (b"config", ChunkedBytes(settings.MAX_STATE_BYTES)),
        (b"epoch", Integer()),  # of the state that this was made for; any other one is refused
        (b"step", Integer()),
    ]
    response = [(b"moves", ChunkedBytes())]  # MessagePack: an array with the numbers of the planned moves


class ListMoves(Command):
    """Which moves of ranges are there, and how far are they?"""

    commandName = b"ListMoves"
    answered_by = BOOTSTRAP
    role = Role.READ
    arguments = NOTHING
    response = [(b"moves", ChunkedBytes())]  # JSON, see pyshard.protocol.listed_moves


class ChangeMove(Command):
    """Cancel a move that isn't committed, pause it, or have it go on."""

    commandName = b"ChangeMove"
    answered_by = BOOTSTRAP
    role = Role.ADMIN
    arguments = [
        (b"number", Integer()),
        (b"change", Text(settings.MAX_NAME)),  # "cancel", "pause" or "resume"
    ]
    response = NOTHING


#: Every command that a daemon answers, by its name.
COMMANDS: dict[bytes, type[Command]] = {
    command.commandName: command for command in Command.__subclasses__() if command is not GoAway
}

#: The commands whose answers are small: statistics have 256 KiB, all others less.
SMALL_ANSWERS = frozenset({Hello, Authenticate, Ping, Count, Stat, CloseSnapshot})
