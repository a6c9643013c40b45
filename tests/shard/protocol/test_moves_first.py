"""What brings on a move over connections: whose, and how long it goes first."""

from __future__ import annotations

import attrs
import pytest
from deferreds import result
from shard.served import ROOMY, Bench
from twisted.internet.defer import Deferred

from pyshard.errors import PermissionDenied
from pyshard.model.range_moves import RangeMove, StoreId
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import encode_ranges
from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.server.first_served import BRING_ON

COPYING = RangeMove(1, "low", "high", ((0, 9),)).begun(StoreId("1d", "a"), StoreId("2e", "b"))
FOLLOWS = {"follower": "move 1", "after": 0, "ranges": encode_ranges(((0, 9),)), "offset": 0}
SECRETS = {role: role.word.encode() * 8 for role in (Role.READ, Role.WRITE, Role.ADMIN)}


def tell(bench: Bench, *moves: RangeMove, step: int = 1) -> None:
    """Have the shard told of moves."""
    state = attrs.evolve(ROOMY, step=step, moves=moves, next_move=2)
    result(bench.shard.configure("low", state))
    bench.network.settle()


def goes_first(bench: Bench) -> bool:
    """Whether what comes over the connection of the peer goes first."""
    (connection,) = bench.service.factory.connections
    return connection.moves


def test_a_bootstrap_that_asks(bench: Bench) -> None:
    """It goes first while a move is under way, with all that it has to tell of it; nobody does without a move."""
    bench.ask(commands.ReportMoves)
    assert not goes_first(bench)
    tell(bench, COPYING)
    assert goes_first(bench)
    for command, arguments in ((commands.Ping, {}), (commands.ReportMoves, {})):
        bench.ask(command, **arguments)
        assert goes_first(bench)
    tell(bench, COPYING.cancelled("no"), step=2)
    assert not goes_first(bench)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (commands.Apply, {"epoch": 7, "batch": encode_runs([Read("", [b"k"])])}),
        (commands.Stat, {}),
        (commands.GetMap, {}),
        (commands.Hello, {"protocol": commands.PROTOCOL}),
    ],
)
def test_what_else_is_asked(bench: Bench, command: type[Command], arguments: dict[str, object]) -> None:
    """Who asks for something else goes first no more, until it asks for moves again."""
    assert command.commandName not in BRING_ON
    tell(bench, COPYING)
    bench.ask(commands.ReportMoves)
    assert goes_first(bench)
    bench.ask(command, **arguments)
    assert not goes_first(bench)
    tell(bench, COPYING.sealing(), step=2)
    assert not goes_first(bench)
    bench.ask(commands.ReportMoves)
    assert goes_first(bench)


def test_who_follows(bench: Bench) -> None:
    """A target goes first while the slots are closed, over the connection over which it follows."""
    tell(bench, COPYING)
    asked: Deferred[object] = bench.peer.call(commands.ReadGroups, 60, **FOLLOWS)
    asked.addErrback(lambda _: None)
    bench.network.settle()
    assert not goes_first(bench)
    tell(bench, COPYING.sealing(), step=2)
    assert goes_first(bench)
    tell(bench, COPYING.sealing().cancelled("no"), step=3)
    assert not goes_first(bench)


def test_a_connection_that_has_ended(bench: Bench) -> None:
    """Nothing is kept of it."""
    tell(bench, COPYING)
    bench.ask(commands.ReportMoves)
    assert len(vars(bench.service.moves.carriers)["_asking"]) == 1
    assert bench.peer.transport is not None
    bench.peer.transport.abortConnection()
    bench.network.settle()
    assert not vars(bench.service.moves.carriers)["_asking"]


@pytest.mark.parametrize("role", [Role.READ, Role.WRITE, Role.ADMIN])
def test_who_may(role: Role) -> None:
    """Where there are tokens, an admin alone can have anything go first; asking for it gives nobody else that."""
    tokens = Tokens(tuple(Token(each, secret) for each, secret in SECRETS.items()))
    bench = Bench(tokens=lambda: tokens)
    tell(bench, COPYING.sealing())
    bench.ask(commands.Authenticate, token=SECRETS[role])
    if role is Role.ADMIN:
        bench.ask(commands.ReportMoves)
        assert goes_first(bench)
        bench.ask(commands.Authenticate, token=SECRETS[Role.READ])
        assert not goes_first(bench)
        return
    for command, arguments in ((commands.ReportMoves, {}), (commands.ReadGroups, FOLLOWS)):
        with pytest.raises(PermissionDenied):
            bench.ask(command, **arguments)
        assert not goes_first(bench)


def test_what_takes_long_is_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While slots close, by the turns of connections and by the store."""
    held: list[tuple[str, float]] = []
    monkeypatch.setattr(bench.service.factory.turns, "hold_long", lambda seconds: held.append(("turns", seconds)))
    monkeypatch.setattr(bench.shard.store, "hold_large", lambda seconds: held.append(("store", seconds)))
    tell(bench, COPYING)
    assert held == []
    tell(bench, COPYING.sealing(), step=2)
    assert held == [("turns", 0.3), ("store", 0.3)]
    tell(bench, COPYING.sealing().cancelled("no"), step=3)
    assert held[2:4] == [("turns", 0), ("store", 0)]
