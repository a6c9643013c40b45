"""A shard that listens on a network in memory, and peers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deferreds import result
from shard.states import with_low
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp

from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Run
from pyshard.protocol.command_boxes import Command
from pyshard.security.tokens_and_roles import Tokens
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import IStore, MemoryStore
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)

#: The state by which the shard goes, in which it may store much.
ROOMY = with_low(limit=10**9)

#: A record.
ONE = b"\x01\x00\x00\x00\x34\xa3one"


class Bench:
    """A shard that listens on a network in memory, and peers of it.

    :param slow: seconds from which on an operation is slow.
    :param tokens: the tokens that are valid; None: whoever connects may do everything.
    """

    def __init__(
        self, store: IStore | None = None, slow: float | None = None, tokens: Callable[[], Tokens] | None = None
    ) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.shard = Shard(store or MemoryStore("1d", self.clock.seconds), self.clock.seconds)
        self.service = ShardService(
            lambda: self.shard, self.clock, self.network.listen(*WHERE), tokens=tokens, slow=slow
        )
        self.service.startService()
        self.peer = self.connect(BoundedAMP(self.clock))

    def connect(self, peer: amp.AMP) -> Any:
        """Have a peer connected."""
        result(self.network.dial(*WHERE).connect(Factory.forProtocol(lambda: peer)))
        self.network.settle()
        return peer

    def ask(self, command: type[Command], **arguments: object) -> dict[str, Any]:
        """The answer to a command; raises what it fails with."""
        asked = self.peer.call(command, 5, **arguments)
        self.network.settle()
        return result(asked)

    def configure(self, state: ClusterState = ROOMY, name: str = "low") -> None:
        """Tell the shard its place."""
        assert self.ask(commands.Configure, name=name, state=cluster_state_json.to_json(state)) == {}

    def apply(self, *runs: Run, epoch: int = 7) -> list[Answer]:
        """The answers to a batch."""
        answer = self.ask(commands.Apply, epoch=epoch, batch=encode_runs(list(runs)))
        return decode_answers(answer["answers"], list(runs))
