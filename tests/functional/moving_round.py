"""Rounds of recorded histories in which ranges of real shards move to and fro all the time.

Beside the load, a round plans moves, and cancels, pauses and resumes some. Daemons are killed and started again, or
stopped for a while (SIGSTOP); or the ways between them are cut (`cable`). When that is over, each move ends, and what
shards count is what is there.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
from functional.cable import DROP, HOLD, Cable
from functional.cluster import HOST, Cluster, Daemon
from functional.cluster_operator import MoveTally, NoAnswer, Operator, check_full_count, pieces_of
from functional.history_round import Programs, Round
from histories import Tally
from twisted.internet.threads import deferToThread

from pyshard import Pyshard
from pyshard.errors import PyshardError
from pyshard.model.range_moves import Phase, RangeMove

_PIECES = pieces_of(8)

#: The pairs between which the network is cut.
PAIRS = ("source and target", "bootstrap and source", "bootstrap and target", "client and source", "client and target")


@attrs.define
class Happened:
    """What was done to a cluster.

    :ivar kills: of each kind of daemon, as `stops`.
    :ivar cuts: by pair and phase of the move.
    """

    moves: MoveTally = attrs.Factory(MoveTally)
    kills: Counter[str] = attrs.Factory(Counter)
    stops: Counter[str] = attrs.Factory(Counter)
    changes: Counter[str] = attrs.Factory(Counter)
    cuts: Counter[tuple[str, str]] = attrs.Factory(Counter)

    def __str__(self) -> str:
        counted = {"killed": self.kills, "stopped": self.stops, "asked for": self.changes}
        parts = [f"{what} {count} × {name}" for what, each in counted.items() for name, count in sorted(each.items())]
        if self.cuts:
            parts.append(f"{self.cuts.total()} cuts of {len(self.cuts)} pairs and phases")
        return "; ".join([str(self.moves), *parts])


class MovingRound(Round):
    """A round in which ranges move.

    :param happened: is told what is done.
    :param kills: who may be killed.
    :param stops: who may be stopped.
    :param meddles: whether moves are cancelled and paused.
    """

    def __init__(
        self,
        cluster: Cluster,
        programs: Programs,
        seed: int,
        number: int,
        happened: Happened,
        kills: Sequence[Daemon] = (),
        stops: Sequence[Daemon] = (),
        meddles: bool = True,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(cluster, cluster.server, programs, seed, number, addresses, keys=8)
        self.operator = Operator(cluster)
        self.happened = happened
        self._kills = kills
        self._stops = stops
        self._meddles = meddles

    async def run(self, seconds: float) -> Tally:
        """As `Round.run`; then compare what shards count with what is there."""
        tally = await super().run(seconds)
        await deferToThread(self._count_all)
        return tally

    def _count_all(self) -> None:
        with Pyshard(self.cluster.server, addresses=self.addresses, deadline=20) as app:
            check_full_count(app)

    def disturb(self, seconds: float) -> Iterable[Coroutine[Any, Any, None]]:
        """See `Round`."""
        return [self._move(), self._fault(), self._meddle()]

    async def mend(self) -> None:
        """See `Round`; all moves end."""
        for daemon in self.cluster.daemons:
            if daemon.running:
                daemon.send(signal.SIGCONT)
            else:
                daemon.start()
        await super().mend()
        await deferToThread(self.operator.wait_over)
        self.happened.moves.look(await deferToThread(self.operator.moves))

    async def _move(self) -> None:
        """Have one piece after another move."""
        while not self.over:
            planned = await deferToThread(self.operator.shuttle, self.random, _PIECES)
            self.happened.moves.numbers.update(planned)
            with suppress(NoAnswer, PyshardError):
                self.happened.moves.look(await deferToThread(self.operator.moves))
            await self.pause(self.random.uniform(0.1, 0.8))

    async def _fault(self) -> None:
        """Kill and stop daemons, for a while each."""
        while not self.over and (self._kills or self._stops):
            await self.pause(self.random.uniform(0.2, 1.5))
            if self._kills and (not self._stops or self.random.random() < 0.6):
                await self._kill(self.random.choice(self._kills))
            else:
                await self._stop(self.random.choice(self._stops))

    async def _kill(self, victim: Daemon) -> None:
        role = await self._role(victim)
        await deferToThread(victim.kill)
        self.happened.kills[role] += 1
        await self.pause(self.random.choice([0.0, 0.3, 0.3, 3.0]))
        victim.start()
        await deferToThread(victim.wait_listening)

    async def _stop(self, victim: Daemon) -> None:
        self.happened.stops[await self._role(victim)] += 1
        victim.send(signal.SIGSTOP)
        await self.pause(self.random.choice([0.1, 0.5, 1.0, 2.5, 4.5]))
        victim.send(signal.SIGCONT)

    async def _role(self, daemon: Daemon) -> str:
        """What a daemon has to do with a move just now."""
        if daemon is self.cluster.bootstrap:
            return "bootstrap"
        for move in await self.moves():
            if move.phase is not Phase.PLANNED and daemon.name in (move.source, move.target):
                return "source" if daemon.name == move.source else "target"
        return "shard without a move"

    async def _meddle(self) -> None:
        """Cancel a move now and then, or pause it for a while."""
        while not self.over and self._meddles:
            await self.pause(self.random.uniform(0.3, 3))
            if moves := await self.moves():
                move, change = self.random.choice(moves), self.random.choice(["cancel", "pause", "pause"])
                if await self._change(move, change) and change == "pause":
                    await self.pause(self.random.uniform(0.1, 1))
                    await self._change(move, "resume")

    async def _change(self, move: RangeMove, change: str) -> bool:
        try:
            await deferToThread(self.operator.change, move.number, change)
        except (NoAnswer, PyshardError):
            return False
        self.happened.changes[change] += 1
        return True

    async def moves(self) -> Sequence[RangeMove]:
        """Those of the cluster's state; none: nobody can be asked."""
        with suppress(NoAnswer):
            state = await deferToThread(self.operator.state)
            return state.moves
        return ()


class Cables:
    """The ways in a cluster of which each can be cut by itself.

    Shards pull from each other at the addresses that the map has. Clients, and the bootstrap, dial others.
    """

    def __init__(self, reactor: Any, cluster: Cluster) -> None:
        ports = {shard.name: shard.port for shard in cluster.shards}
        self.between_shards = {name: Cable(reactor, port) for name, port in ports.items()}
        self.of_bootstrap = {name: Cable(reactor, port) for name, port in ports.items()}
        self.of_clients = {name: Cable(reactor, port) for name, port in ports.items()}
        announced = {name: f"{HOST}:{cable.port}" for name, cable in self.between_shards.items()}
        self.addresses = {announced[name]: f"{HOST}:{cable.port}" for name, cable in self.of_clients.items()}
        for own in cluster.config:
            own["port"] = self.between_shards[own["name"]].port
        cluster.write_config()
        for name, cable in self.of_bootstrap.items():
            cluster.bootstrap.add_option(f"--address={announced[name]}={HOST}:{cable.port}")

    @property
    def all(self) -> list[Cable]:
        """All of them."""
        return [cable for each in (self.between_shards, self.of_bootstrap, self.of_clients) for cable in each.values()]

    def between(self, pair: str, move: RangeMove) -> Cable:
        """The way between a pair of a move."""
        return {
            "source and target": self.between_shards[move.source],
            "bootstrap and source": self.of_bootstrap[move.source],
            "bootstrap and target": self.of_bootstrap[move.target],
            "client and source": self.of_clients[move.source],
            "client and target": self.of_clients[move.target],
        }[pair]


class CutRound(MovingRound):
    """A round in which ways are cut.

    :param cables: before the daemons.
    """

    def __init__(
        self, cluster: Cluster, programs: Programs, seed: int, number: int, happened: Happened, cables: Cables
    ) -> None:
        super().__init__(cluster, programs, seed, number, happened, meddles=False, addresses=cables.addresses)
        self._cables = cables

    def disturb(self, seconds: float) -> Iterable[Coroutine[Any, Any, None]]:
        """See `Round`."""
        return [*super().disturb(seconds), self._cut()]

    async def mend(self) -> None:
        """See `Round`."""
        for cable in self._cables.all:
            cable.heal()
        await super().mend()

    async def _cut(self) -> None:
        """Cut one way after another, each while a move is in some phase, and heal it a while later."""
        while not self.over:
            wanted = self.random.choice([Phase.COPYING, Phase.SEALING, Phase.COMMITTED])
            begun = [move for move in await self.moves() if move.phase is wanted]
            for _ in range(100):
                if begun or self.over:
                    break
                await self.pause(0.01)
                begun = [move for move in await self.moves() if move.phase is wanted]
            if begun:
                pair = self.random.choice(PAIRS)
                cable = self._cables.between(pair, begun[0])
                cable.cut = self.random.choice([HOLD, DROP])
                self.happened.cuts[pair, wanted.value] += 1
                await self.pause(self.random.choice([0.2, 0.7, 1.5, 3.0]))
                cable.heal()
            await self.pause(self.random.uniform(0.1, 0.8))
