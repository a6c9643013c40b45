"""An operator of a real cluster who moves ranges: plans moves, changes them, and sees how far they are.

Each question goes over a connection of its own, so that a bootstrap may come and go.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import attrs
import msgspec
from functional.cluster import HOST, Cluster, until

from pyshard import Pyshard
from pyshard.errors import PyshardError, WrongShard
from pyshard.model import cluster_state_json, document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS
from pyshard.model.layout_change import layout_after, with_other_ranges
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, common
from pyshard.protocol import commands
from pyshard.protocol.boxes import BoxParser, Limits, serialize
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import error_from_box
from pyshard.protocol.listed_moves import ListedMove, decode_listed_moves
from pyshard.settings import settings

#: Seconds within which all moves must have ended when every daemon is up: far more than it takes.
NEVER_STUCK = 60.0

_TIMEOUT = 10.0


class NoAnswer(Exception):
    """The bootstrap can't be asked just now."""


class Operator:
    """Asks one cluster's bootstrap."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def ask(self, command: type[Command], **arguments: object) -> dict[str, Any]:
        """Ask the bootstrap.

        :raises NoAnswer: it doesn't answer.
        :raises PyshardError: what it answers.
        """
        box = command.question(arguments) | {b"_ask": b"1", b"_command": command.commandName}
        parser = BoxParser(Limits())
        try:
            with socket.create_connection((HOST, self._cluster.bootstrap.port), timeout=_TIMEOUT) as connection:
                connection.sendall(serialize(box))
                while (answer := parser.next_box()) is None:
                    data = connection.recv(1 << 16)
                    if not data:
                        raise NoAnswer("the connection was closed")
                    parser.feed(data)
        except OSError as error:
            raise NoAnswer(str(error)) from None
        if b"_error" in answer:
            raise error_from_box(answer)
        return command.answer_in(answer)

    def state(self) -> ClusterState:
        """The cluster's state."""
        return cluster_state_json.from_json(self.ask(commands.GetMap)["state"])

    def moves(self) -> list[ListedMove]:
        """All moves, as far as the bootstrap that runs knows of them."""
        return decode_listed_moves(self.ask(commands.ListMoves)["moves"])

    def move(self, source: str, target: str, ranges: SlotRanges) -> list[int]:
        """Have some ranges move; the numbers of the moves that were planned for it.

        :raises PyshardError: it is refused.
        """
        state = self.state()
        wanted = with_other_ranges(state, [Transfer(source, target, ranges)])
        config = config_text(ClusterConfig(wanted, HOST, self._cluster.bootstrap.port, {}))
        planned = self.ask(commands.ApplyConfig, config=config, epoch=state.epoch, step=state.step)["moves"]
        return msgspec.msgpack.decode(planned, type=list[int])

    def change(self, number: int, change: str) -> None:
        """Cancel, pause or resume a move.

        :raises PyshardError: it is refused.
        """
        self.ask(commands.ChangeMove, number=number, change=change)

    def shuttle(self, random: Random, pieces: Sequence[tuple[int, int]]) -> list[int]:
        """Have one of these pieces move from whoever will have it by then to another shard; none: that is refused."""
        try:
            state = self.state()
            layout = layout_after({shard.name: shard.ranges for shard in state.map.shards}, state.moves)
            piece = random.choice(pieces)
            source = random.choice([name for name, ranges in layout.items() if common(ranges, (piece,))])
            target = random.choice([name for name in layout if name != source])
            return self.move(source, target, common(layout[source], (piece,)))
        except (NoAnswer, PyshardError):
            return []

    def wait_over(self, seconds: float = NEVER_STUCK) -> None:
        """Wait until no move is left; all daemons must be up.

        :raises AssertionError: a move is stuck.
        """
        with suppress(AssertionError):
            until(lambda: not self._left(), "moves end", seconds)
            return
        raise AssertionError(f"these are stuck after {seconds:g} s: {self.moves()}, {self.state()}")

    def _left(self) -> Collection[object]:
        try:
            state = self.state()
        except NoAnswer:
            return [None]
        for move in state.moves:
            if move.paused:
                with suppress(PyshardError, NoAnswer):
                    self.change(move.number, "resume")
        return state.moves


def pieces_of(count: int) -> list[tuple[int, int]]:
    """The keyspace in equal pieces."""
    bounds = [SLOTS * number // count for number in range(count + 1)]
    return list(pairwise(bounds))


@attrs.define
class MoveTally:
    """What became of moves.

    :ivar numbers: of those that were planned.
    :ivar ended: how they ended, as far as a bootstrap has told.
    """

    numbers: set[int] = attrs.Factory(set)
    ended: dict[int, Phase] = attrs.Factory(dict)

    def look(self, moves: Sequence[ListedMove]) -> None:
        """Note what the bootstrap says."""
        self.ended |= {move.number: move.phase for move in moves if move.phase in (Phase.COMMITTED, Phase.CANCELLED)}

    def count(self, phase: Phase) -> int:
        """How many ended so."""
        return list(self.ended.values()).count(phase)

    def __str__(self) -> str:
        return (
            f"{len(self.numbers):,} moves, of which {self.count(Phase.COMMITTED):,} were seen committed and "
            f"{self.count(Phase.CANCELLED):,} cancelled"
        )


def check_full_count(app: Pyshard, patience: float = 10.0) -> int:
    """Compare what shards count with what is there, in every index, while nobody changes anything.

    :param patience: seconds for shards to have taken on their ranges.
    :return: how many documents there are.
    :raises AssertionError: a key is there twice, or a count isn't that of the keys.
    """
    end = time.monotonic() + patience
    found = used = 0
    for index in ("", *app.indexes()):
        keys = list(app.keys(index or None))
        assert len(keys) == len(set(keys)), f"index {index!r} has keys twice: {sorted(keys)}"
        while True:
            with suppress(WrongShard):
                assert app.count(index or None) == len(keys), f"index {index!r} has other keys than it counts"
                break
            assert time.monotonic() < end
        found += len(keys)
        for key in keys:
            item = app.item(key, index=index or None)
            assert item is not None, f"index {index!r} lists {key!r}, and hasn't it"
            used += len(key.encode()) + len(document_encoding.encode(item["record"])[0]) + settings.ITEM_OVERHEAD
            used += settings.EXPIRY_OVERHEAD if item["ttl"] is not None else 0
    shards = app.stat()["shards"]
    assert isinstance(shards, list)
    counted = sum(shard["documents"] for shard in shards), sum(shard["bytes"] for shard in shards)
    assert counted == (found, used), f"shards count {counted} documents and bytes, a full count gives {(found, used)}"
    return found
