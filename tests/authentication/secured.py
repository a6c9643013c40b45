"""A cluster with a token of each role, and peers of its daemons."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory

from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.errors import PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.protocol.pages import encode_ranges
from pyshard.protocol.row_digests import encode_indexes
from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster

SECRETS = {role: f"the-secret-of-{role.word}-tokens".encode() for role in Role}
TOKENS = Tokens(tuple(Token(role, secret) for role, secret in SECRETS.items()))
WRONG = b"nobody's-secret-at-all"

SHARD = ("127.0.0.1", 5050)
BOOTSTRAP = ("localhost", 9192)
DAEMONS: dict[tuple[str, int], type[ServerConnection]] = {SHARD: ShardProtocol, BOOTSTRAP: BootstrapProtocol}

RECORD = b"\1\0\0\0\x1c\x01"

#: One run of each verb.
RUNS: list[Run] = [
    Read("", [b"test"]),
    Has("", [b"test"]),
    ReadItem("", [b"test"]),
    Write("", [b"test"], [RECORD]),
    Touch("", [b"test"], [1000]),
    Increment("", [b"test"], [RECORD], [RECORD]),
    Remove("", [b"test"]),
    Pop("", [b"test"]),
]


@attrs.define
class Bench:
    """A cluster with a token of each role, and peers of its daemons."""

    cluster: MemoryCluster

    def peer(self, where: tuple[str, int], secret: bytes | None = None) -> BoundedAMP:
        """A peer of a daemon, which has authenticated if there is a secret."""
        factory = Factory.forProtocol(lambda: BoundedAMP(self.cluster.clock))
        peer = self.cluster.run(self.cluster.network.dial(*where).connect(factory))
        assert isinstance(peer, BoundedAMP)
        if secret is not None:
            self.ask(peer, commands.Authenticate, token=secret)
        return peer

    def asked(self, peer: BoundedAMP, command: type[Command], **arguments: object) -> Deferred[dict[str, Any]]:
        """A question that has arrived."""
        asked = peer.call(command, 1000, **arguments)
        self.cluster.network.settle()
        return asked

    def ask(self, peer: BoundedAMP, command: type[Command], **arguments: object) -> dict[str, Any]:
        """The answer to a command; raises what it fails with."""
        return self.cluster.run(peer.call(command, 10, **arguments))

    def arguments(self, command: type[Command]) -> dict[str, object]:
        """Arguments that a daemon can take."""
        given: dict[type[Command], dict[str, object]] = {
            commands.Authenticate: {"token": SECRETS[Role.READ]},
            commands.Hello: {"protocol": commands.PROTOCOL},
            commands.Configure: {"name": "shard0", "state": cluster_state_json.to_json(self.cluster.state)},
            commands.Apply: {"epoch": 0, "batch": encode_runs(RUNS)},
            commands.Keys: {"epoch": 0, "index": "", "slot": 0, "after": None},
            commands.Count: {"epoch": 0, "index": "", "slot": 0},
            commands.ReadSnapshot: {"snapshot": "s1"},
            commands.CloseSnapshot: {"snapshot": "s1"},
            commands.OpenCopy: {"follower": "m", "ranges": encode_ranges(EVERYTHING)},
            commands.ReadCopy: {"copy": "c1"},
            commands.CloseCopy: {"copy": "c1"},
            commands.ReadGroups: {"follower": "m", "after": 0, "ranges": encode_ranges(EVERYTHING), "offset": 0},
            commands.OpenDigest: {"follower": "m", "ranges": encode_ranges(EVERYTHING)},
            commands.ReadDigest: {"digest": "d1", "indexes": encode_indexes([0])},
            commands.ReadDigestRows: {"digest": "d1"},
            commands.ForgetFollower: {"follower": "m"},
            commands.PullGroups: {"pull": b"", "offset": 0},
            commands.OpenReplicaCopy: {"replica": "127.0.0.1:6050"},
            commands.ReportReplica: {"name": "shard0"},
            commands.SwitchPrimary: {"name": "shard0", "replica": ""},
            commands.ChangeReplicas: {
                "shard": "shard0",
                "replica": "127.0.0.1:5050",
                "change": "switch",
                "force": False,
            },
            commands.ApplyConfig: {"config": b"{}", "epoch": 0, "step": 0},
            commands.ChangeMove: {"number": 1, "change": "cancel"},
            commands.CreateIndex: {"name": "new"},
            commands.DropIndex: {"name": "pages"},
        }
        return given.get(command, {})

    def outcome(self, peer: BoundedAMP, command: type[Command]) -> dict[str, Any] | Exception:
        """What becomes of a command."""
        try:
            return self.ask(peer, command, **self.arguments(command))
        except (PyshardError, UnknownCommand, ConnectionLost, ConnectionDone) as error:
            return error

    def snapshot(self) -> object:
        """All that a command could change."""
        shards = [one.shard for one in self.cluster.services.values()]
        held = [(shard.store.documents, shard.store.used, shard.assignment) for shard in shards]
        return held, self.cluster.state


def factory(cluster: MemoryCluster, where: tuple[str, int]) -> ServerFactory:
    """What listens on an address."""
    found = cluster.network.listeners[where]
    assert isinstance(found, ServerFactory)
    return found
