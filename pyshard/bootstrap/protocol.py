"""The bootstrap's AMP protocol: each responder decodes, calls the `Bootstrap`, and encodes. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.bootstrap_stat import bootstrap_stat
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.replica_changes import ReplicaChanges
from pyshard.bootstrap.state_changes import Change
from pyshard.model import cluster_state_json
from pyshard.net.command_connection import Responder
from pyshard.protocol import commands
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.command_boxes import BOOTSTRAP, Command
from pyshard.protocol.listed_moves import encode_listed_moves
from pyshard.protocol.listed_replicas import encode_listed_replicas
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory


class BootstrapProtocol(ServerConnection):
    """One connection to the bootstrap.

    :param bootstrap: what answers.
    :param settle: has shards told the present state; see `StateTelling.settle`.
    :param application: applies configs.
    :param driver: brings moves on.
    :param replicas: changes groups of replicas.
    """

    kind = BOOTSTRAP

    def __init__(
        self,
        bootstrap: Bootstrap,
        settle: Callable[[], Deferred[None]],
        application: ConfigApplication,
        driver: MoveDriver,
        replicas: ReplicaChanges,
        factory: ServerFactory,
        clock: IReactorTime,
    ) -> None:
        self._bootstrap = bootstrap
        self._settle = settle
        self._application = application
        self._driver = driver
        self._replicas = replicas
        super().__init__(factory, clock)

    @property
    def debt(self) -> float:
        """See `pyshard.bootstrap.change_turns.Asker`."""
        return self.factory.turns.debt(self.origin)

    def count_elsewhere(self, used: float) -> None:
        """See `pyshard.bootstrap.change_turns.Asker`."""
        self.factory.turns.count_elsewhere(self, used)

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [
            *super().responders(),
            (commands.Hello, cls.hello),
            (commands.GetMap, cls.get_map),
            (commands.CreateIndex, cls.create_index),
            (commands.DropIndex, cls.drop_index),
            (commands.Readiness, cls.readiness),
            (commands.Stat, cls.stat),
            (commands.ApplyConfig, cls.apply_config),
            (commands.ListMoves, cls.list_moves),
            (commands.ChangeMove, cls.change_move),
            (commands.ListReplicas, cls.list_replicas),
            (commands.ChangeReplicas, cls.change_replicas),
        ]

    def hello(self, protocol: int, session: bytes | None) -> Deferred[Arguments]:
        return self.join_session(session).addCallback(lambda _: self._greeting())

    def get_map(self) -> Arguments:
        return {"state": cluster_state_json.to_json(self._bootstrap.state)}

    def create_index(self, name: str) -> Deferred[Arguments]:
        return self._changed(lambda state: state.with_index(name))

    def drop_index(self, name: str) -> Deferred[Arguments]:
        return self._changed(lambda state: state.without_index(name))

    def readiness(self) -> Arguments:
        return {"shards": msgspec.json.encode([shard.described() for shard in self._bootstrap.readiness()])}

    def stat(self) -> Arguments:
        return {"stat": msgspec.json.encode(bootstrap_stat(self._bootstrap, self.factory))}

    def apply_config(self, config: bytes, epoch: int, step: int) -> Deferred[Arguments]:
        self.operations += 1
        applied = Deferred.fromCoroutine(self._application.apply(config, (epoch, step), self))
        return applied.addCallback(lambda numbers: {"moves": msgspec.msgpack.encode(numbers)})

    def list_moves(self) -> Arguments:
        return {"moves": encode_listed_moves(self._driver.listed())}

    def change_move(self, number: int, change: str) -> Deferred[Arguments]:
        self.operations += 1
        return self._driver.change_move(number, change, self).addCallback(lambda _: {})

    def list_replicas(self) -> Arguments:
        return {"groups": encode_listed_replicas(self._replicas.listed())}

    def change_replicas(self, shard: str, replica: str, change: str, force: bool) -> Deferred[Arguments]:
        self.operations += 1
        changed = Deferred.fromCoroutine(self._replicas.change(shard, replica, change, force, self.origin))
        return changed.addCallback(lambda _: self._settle()).addCallback(lambda _: {})

    def _changed(self, decide: Change) -> Deferred[Arguments]:
        """Change the state, and answer when every shard in reach has it, or that takes too long."""
        self.operations += 1
        return Deferred.fromCoroutine(self._change_and_settle(decide))

    async def _change_and_settle(self, decide: Change) -> Arguments:
        await self.changes.add(self._bootstrap.change(decide, asker=self))
        epoch = self._bootstrap.state.epoch
        await self._settle()
        return {"epoch": epoch}

    def _greeting(self) -> Arguments:
        state = self._bootstrap.state
        return {
            "protocol": commands.PROTOCOL,
            "role": self.kind,
            "identity": "",
            "cluster": state.cluster,
            "name": "",
            "epoch": state.epoch,
            "ephemeral": False,
            "connection": self.id,
            "incarnation": "",
        }
