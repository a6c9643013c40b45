"""Every AMP command: the whole protocol on one page. docs/protocol.md tells it in prose.

Who asks whom: anyone may ask either daemon for `Authenticate`, `Hello`, `Ping` and `GetMap`. The bootstrap asks shards
for `Configure`. Clients ask shards for `Apply`, `Keys`, `Stat` and, to back them up, `OpenSnapshot`, `ReadSnapshot` and
`CloseSnapshot`; and the bootstrap for `CreateIndex`, `DropIndex` and `Readiness`. A daemon that stops asks whoever is
connected to `GoAway`. Every command may answer with any error of `pyshard.errors`; none of them ends the connection.

Each command says which role a peer must have, at the least, where a daemon has tokens. A role that may not change
anything may send `Apply`: what changes something in its batch is refused by itself.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.protocols import amp

from pyshard.errors import AMP_ERRORS
from pyshard.protocol.arguments import ChunkedBytes
from pyshard.protocol.error_answers import unreadable
from pyshard.security.tokens import Role

#: For commands without arguments, or whose answer has none.
NOTHING: list[tuple[bytes, amp.Argument]] = []

#: The version of this protocol. A peer with another one is refused at `Hello`.
PROTOCOL = 1


class UnreadableAnswer(Exception):
    """The peer answered, but its answer can't be read: nobody knows whether the command was carried out."""


class Command(amp.Command):
    """Base of every command. It declares all of pyshard's errors, since AMP closes the connection after any other.

    :cvar role: the least role that a peer must have; None: anyone may ask, authenticated or not.
    """

    errors = AMP_ERRORS
    role: ClassVar[Role | None]

    @classmethod
    def parseResponse(cls, box: amp.AmpBox, protocol: object) -> dict[str, Any]:
        """The answer's arguments.

        :raises UnreadableAnswer: one of them is missing or malformed.
        """
        try:
            answer: dict[str, Any] = super().parseResponse(box, protocol)
        except Exception as error:  # noqa: BLE001  # whatever an argument's parser raises about the peer's bytes
            raise UnreadableAnswer(f"the answer to {cls.__name__} can't be read: {unreadable(error)}") from None
        return answer


class Hello(Command):
    """Who are you? The first thing to ask on a connection."""

    commandName = b"Hello"
    role = Role.READ
    arguments = [
        (b"protocol", amp.Integer()),
        (b"session", amp.String(optional=True)),  # see pyshard.server.session_fence
    ]
    response = [
        (b"protocol", amp.Integer()),
        (b"role", amp.Unicode()),  # "shard" or "bootstrap"
        (b"identity", amp.Unicode()),  # a shard: its store's id; a bootstrap: empty
        (b"cluster", amp.Unicode()),  # the cluster's id; empty while a shard is not configured
        (b"name", amp.Unicode()),  # a shard: the name it was given; else empty
        (b"epoch", amp.Integer()),  # the newest epoch it knows; 0 while not configured
        (b"ephemeral", amp.Boolean()),  # a shard: whether a restart loses its data
        (b"connection", amp.Unicode()),  # this connection's id in the daemon's log and `stat`
    ]


class Authenticate(Command):
    """This token says what I may do. A daemon without tokens takes any: whoever reaches it may do everything."""

    commandName = b"Authenticate"
    role = None
    arguments = [(b"token", amp.String())]  # the secret
    response = [(b"role", amp.Unicode())]  # "read", "write" or "admin"


class Ping(Command):
    """Are you there?"""

    commandName = b"Ping"
    role = None
    arguments = NOTHING
    response = NOTHING


class GoAway(Command):
    """I am about to stop: ask nothing more on this connection, and close it when you have the answers that I owe."""

    commandName = b"GoAway"
    role = None
    arguments = NOTHING
    response = NOTHING


class GetMap(Command):
    """The cluster state that you know: map, epoch, indexes."""

    commandName = b"GetMap"
    role = Role.READ
    arguments = NOTHING
    response = [(b"state", ChunkedBytes())]  # JSON, see pyshard.model.cluster_state


class Configure(Command):
    """You are the shard called `name` in this cluster state."""

    commandName = b"Configure"
    role = Role.ADMIN
    arguments = [(b"name", amp.Unicode()), (b"state", ChunkedBytes())]
    response = NOTHING


class Apply(Command):
    """Apply a batch."""

    commandName = b"Apply"
    role = Role.READ
    arguments = [
        (b"epoch", amp.Integer()),  # the epoch of the map that the caller routed by
        (b"batch", ChunkedBytes()),  # MessagePack, see pyshard.protocol.batches
    ]
    response = [
        (b"epoch", amp.Integer()),  # the shard's epoch
        (b"answers", ChunkedBytes()),  # MessagePack, see pyshard.protocol.batches
    ]


class Keys(Command):
    """One page of the keys of an index, in slot order."""

    commandName = b"Keys"
    role = Role.READ
    arguments = [
        (b"epoch", amp.Integer()),
        (b"index", amp.Unicode()),  # empty: the default index
        (b"slot", amp.Integer()),  # the first slot wanted
        (b"after", ChunkedBytes(optional=True)),  # only keys behind this one of that slot
    ]
    response = [
        (b"keys", ChunkedBytes()),  # MessagePack: an array of binaries
        (b"end", amp.Integer()),  # first slot after the shard's range
        (b"more", amp.Boolean()),  # whether the shard may have further ones
    ]


class Stat(Command):
    """How the shard fares."""

    commandName = b"Stat"
    role = Role.READ
    arguments = NOTHING
    response = [(b"stat", ChunkedBytes())]  # JSON, see docs/protocol.md


class OpenSnapshot(Command):
    """Keep what you hold at this moment, to be read over this connection."""

    commandName = b"OpenSnapshot"
    role = Role.READ
    arguments = NOTHING
    response = [
        (b"snapshot", amp.Unicode()),  # its id
        (b"documents", amp.Integer()),  # how many documents it has
        (b"epoch", amp.Integer()),  # the shard's epoch, by which the indexes' ids are to be understood
    ]


class ReadSnapshot(Command):
    """The next records of a snapshot, in no particular order."""

    commandName = b"ReadSnapshot"
    role = Role.READ
    arguments = [(b"snapshot", amp.Unicode())]
    response = [(b"rows", ChunkedBytes())]  # MessagePack: an array of `pyshard.protocol.pages.Row`; empty at the end


class CloseSnapshot(Command):
    """The snapshot isn't needed any more."""

    commandName = b"CloseSnapshot"
    role = Role.READ
    arguments = [(b"snapshot", amp.Unicode())]
    response = NOTHING


class CreateIndex(Command):
    """Create an index; answered when every shard that can be reached has it."""

    commandName = b"CreateIndex"
    role = Role.WRITE
    arguments = [(b"name", amp.Unicode())]
    response = [(b"epoch", amp.Integer())]


class DropIndex(Command):
    """Drop an index with its documents; answered when every shard that can be reached has dropped it."""

    commandName = b"DropIndex"
    role = Role.ADMIN
    arguments = [(b"name", amp.Unicode())]
    response = [(b"epoch", amp.Integer())]


class Readiness(Command):
    """How ready each shard is, as the bootstrap sees it."""

    commandName = b"Readiness"
    role = Role.READ
    arguments = NOTHING
    response = [(b"shards", ChunkedBytes())]  # JSON, see docs/protocol.md


#: Every command that a daemon answers, by its name.
COMMANDS: dict[bytes, type[Command]] = {
    command.commandName: command for command in Command.__subclasses__() if command is not GoAway
}
