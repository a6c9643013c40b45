"""Who may do what: every command × every role."""

from __future__ import annotations

from typing import get_args

import pytest
from authentication.secured import DAEMONS, RUNS, SECRETS, SHARD, Bench, factory

from pyshard.errors import NotAuthenticated, PermissionDenied, PyshardError
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Read, ReadItem, Remove, Run, changes
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.security.tokens_and_roles import Role

#: What each role may do, command by command: the least that it takes. None: even strangers may.
NEEDED: dict[type[Command], Role | None] = {
    commands.Authenticate: None,
    commands.Ping: None,
    commands.Hello: Role.READ,
    commands.GetMap: Role.READ,
    commands.Apply: Role.READ,  # what changes something in it: see below
    commands.Keys: Role.READ,
    commands.Count: Role.READ,
    commands.Stat: Role.READ,
    commands.OpenSnapshot: Role.BACKUP,
    commands.ReadSnapshot: Role.BACKUP,
    commands.CloseSnapshot: Role.BACKUP,
    commands.Readiness: Role.READ,
    commands.ListMoves: Role.READ,
    commands.ApplyConfig: Role.ADMIN,
    commands.ChangeMove: Role.ADMIN,
    commands.CreateIndex: Role.WRITE,
    commands.DropIndex: Role.ADMIN,
    commands.Configure: Role.ADMIN,
    commands.OpenCopy: Role.ADMIN,
    commands.ReadCopy: Role.ADMIN,
    commands.CloseCopy: Role.ADMIN,
    commands.OpenDigest: Role.ADMIN,
    commands.ReadDigest: Role.ADMIN,
    commands.ReadDigestRows: Role.ADMIN,
    commands.ReadGroups: Role.ADMIN,
    commands.ForgetFollower: Role.ADMIN,
    commands.ReportMoves: Role.ADMIN,
    commands.PullGroups: Role.ADMIN,
    commands.OpenReplicaCopy: Role.ADMIN,
    commands.ReportReplica: Role.ADMIN,
    commands.SwitchPrimary: Role.ADMIN,
    commands.ListReplicas: Role.READ,
    commands.ChangeReplicas: Role.ADMIN,
}


def answered(where: tuple[str, int], bench: Bench) -> list[type[Command]]:
    """The commands that a daemon has responders for."""
    connection = next(iter(factory(bench.cluster, where).connections))
    assert type(connection) is DAEMONS[where]
    names = [*connection._responders, *connection._direct]
    return [commands.COMMANDS[name] for name in names]


def test_every_command_has_a_role() -> None:
    """Which role a command takes is said with it, and is what this file expects; none is forgotten."""
    assert {command: command.role for command in commands.COMMANDS.values()} == NEEDED


def test_every_command_is_answered_somewhere(bench: Bench) -> None:
    """The tests below try each command on a daemon that answers it."""
    assert {one for where in DAEMONS for one in answered(where, bench)} == set(NEEDED)


@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role.word if role else "stranger")
@pytest.mark.parametrize("command", NEEDED, ids=lambda command: command.__name__)
@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_command_and_role(bench: Bench, where: tuple[str, int], command: type[Command], role: Role | None) -> None:
    """A command is answered to those of its role and above, and refused, without any effect, to all others."""
    peer = bench.peer(where, SECRETS[role] if role else None)
    needed, before = NEEDED[command], bench.snapshot()
    outcome = bench.outcome(peer, command)
    if role is None and needed is not None:
        assert isinstance(outcome, NotAuthenticated)
    elif command not in answered(where, bench):
        assert isinstance(outcome, UnknownCommand)
        kind, other = ("shard", "bootstrap") if where == SHARD else ("bootstrap", "shard")
        assert outcome.args[-1] == f"{command.commandName.decode()} is for a {other}, and this is a {kind}"
    elif role is not None and needed is not None and role < needed:
        assert isinstance(outcome, PermissionDenied)
        assert str(outcome) == (
            f"{command.commandName.decode()} wants a token of role {needed.word}; this client's has role {role.word}"
        )
    else:
        assert not isinstance(outcome, NotAuthenticated | PermissionDenied | UnknownCommand)
    if role is None or role < Role.WRITE:
        assert bench.snapshot() == before
    assert bench.ask(peer, commands.Ping) == {}  # the connection lives on


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__struct_config__.tag)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
def test_verb_and_role(bench: Bench, run: Run, role: Role) -> None:
    """A reader reads; what changes something is refused to him, whatever verb it is, and changes nothing."""
    peer, before = bench.peer(SHARD, SECRETS[role]), bench.snapshot()
    answer = bench.ask(peer, commands.Apply, epoch=0, batch=encode_runs([run]))
    (outcome,) = decode_answers(answer["answers"], [run])[0].outcomes()
    if role < Role.WRITE and run.__struct_config__.tag not in ("read", "has", "item"):
        assert isinstance(outcome, PermissionDenied)
        assert bench.snapshot() == before
    else:
        assert not isinstance(outcome, PyshardError)
        assert outcome is not None


def test_every_verb_is_tried() -> None:
    """`RUNS` has each verb that there is, and those that may change something are known as such."""
    assert [type(run) for run in RUNS if not changes(run)] == [Read, Has, ReadItem]
    assert {type(run) for run in RUNS} == set(get_args(Run))


def test_a_readers_batch(bench: Bench) -> None:
    """In one batch a reader's reads are answered, each at its place, and the rest is refused by itself."""
    runs: list[Run] = [RUNS[3], Has("", [b"test", b"absent"]), Remove("", [b"a", b"b"]), Has("", [b"absent"])]
    before = bench.snapshot()
    peer = bench.peer(SHARD, SECRETS[Role.READ])
    answer = bench.ask(peer, commands.Apply, epoch=0, batch=encode_runs(runs))
    answers = decode_answers(answer["answers"], runs)
    assert [one.results for one in answers] == [[None], [True, False], [None, None], [False]]
    assert [sorted(one.errors) for one in answers] == [[0], [], [0, 1], []]
    assert answers[2].errors[1] == (
        "PERMISSION_DENIED",
        "this wants a token of role write; this client's has role read",
    )
    assert bench.snapshot() == before


def test_a_command_that_nobody_knows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that isn't on the protocol's page is answered to an admin only, whatever daemon has it."""
    monkeypatch.delitem(commands.COMMANDS, b"Stat")
    for role, refused in {Role.READ: True, Role.WRITE: True, Role.ADMIN: False}.items():
        outcome = bench.outcome(bench.peer(SHARD, SECRETS[role]), commands.Stat)
        assert isinstance(outcome, PermissionDenied) is refused
