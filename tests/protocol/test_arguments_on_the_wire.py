"""Every argument of every command, as a client in another language may get it wrong: what the daemon says.

Each wrong form is sent to a real daemon, in a box of which all else is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import Factory
from twisted.protocols import amp

from pyshard.errors import BadRequest, PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.argument_types import LARGEST, Boolean, Bytes, Integer, Text, WireArgument
from pyshard.protocol.boxes import Box
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.commands import COMMANDS
from pyshard.testing import MemoryCluster

SLOT = 9_999_999
NUMBER = ", in decimal digits alone"

#: A box of each command that is right; the shards' commands go to the shard that owns slot 0.
RIGHT: dict[str, Box] = {
    "Hello": {b"protocol": b"2", b"session": b"s" * 16},
    "Authenticate": {b"token": b"any"},
    "Configure": {b"name": b"shard0", b"state": b"1", b"state.0": b"filled in"},
    "Apply": {b"epoch": b"0", b"batch": b"1", b"batch.0": b"\x90", b"stale": b"True"},
    "Keys": {b"epoch": b"0", b"index": b"", b"slot": b"0", b"after": b"1", b"after.0": b"key"},
    "Count": {b"epoch": b"0", b"index": b"", b"slot": b"0"},
    "OpenSnapshot": {b"stale": b"True"},
    "ReadSnapshot": {b"snapshot": b"none"},
    "CloseSnapshot": {b"snapshot": b"none"},
    "OpenCopy": {b"follower": b"m", b"ranges": b"1", b"ranges.0": b"\x91\x92\x00\x01"},
    "ReadCopy": {b"copy": b"none"},
    "CloseCopy": {b"copy": b"none"},
    "ReadGroups": {
        b"follower": b"m",
        b"after": b"0",
        b"ranges": b"1",
        b"ranges.0": b"\x91\x92\x00\x01",
        b"offset": b"0",
    },
    "OpenDigest": {b"follower": b"m", b"ranges": b"1", b"ranges.0": b"\x91\x92\x00\x01"},
    "ReadDigest": {b"digest": b"none", b"indexes": b"1", b"indexes.0": b"\x91\x00"},
    "ReadDigestRows": {b"digest": b"none"},
    "ForgetFollower": {b"follower": b"m"},
    "PullGroups": {b"pull": b"1", b"pull.0": b"\x90", b"offset": b"0"},
    "OpenReplicaCopy": {b"replica": b"127.0.0.1:6050"},
    "ReportReplica": {b"name": b"shard0"},
    "SwitchPrimary": {b"name": b"shard0", b"replica": b""},
    "ChangeReplicas": {b"shard": b"shard0", b"replica": b"h:1", b"change": b"switch", b"force": b"True"},
    "ApplyConfig": {b"epoch": b"0", b"step": b"0", b"config": b"1", b"config.0": b"filled in"},
    "ChangeMove": {b"number": b"1", b"change": b"cancel"},
    "CreateIndex": {b"name": b"new"},
    "DropIndex": {b"name": b"new"},
}

#: Forms that are no number in any argument.
NO_NUMBERS = [
    b"",
    b" 3",
    b"3 ",
    b"3\n",
    b"+3",
    b"-1",
    b"-0",
    b"3_0",
    b"03",
    b"00",
    b"3.0",
    b"1e3",
    b"0x3",
    b"nan",
    b"Infinity",
]
NO_NUMBERS += ["٣".encode(), "²".encode(), b"\xff", b"9" * 19, b"9" * 5000, b"x" * 65_535]  # fmt: skip


def wrong_forms(name: bytes, argument: object) -> Iterator[tuple[Box, str]]:
    """What may stand wrongly in place of an argument, and what is said about that."""
    shown = name.decode()
    if isinstance(argument, Integer):
        most = {b"slot": SLOT}.get(name, LARGEST)
        for text in [*NO_NUMBERS, b"%d" % (most + 1)]:
            quoted = text.decode("utf-8", "backslashreplace").replace("\n", r"\n")
            quoted = quoted if len(quoted) <= 50 else quoted[:47] + "..."
            yield {name: text}, f'{shown}: found "{quoted}", expected a whole number from 0 to {most}{NUMBER}'
        yield {}, f"{shown}: found nothing, expected a whole number from 0 to {most}{NUMBER}"
    elif isinstance(argument, Text):
        yield {}, f"{shown}: found nothing, expected a text in UTF-8"
        for text, at in [(b"\xff", 0), (b"ok\xc3", 2), (b"\xed\xa0\x80", 0), (b"a" * 60_000 + b"\x80", 60_000)]:
            yield {name: text}, f"{shown}: found bytes that are not UTF-8, at byte {at}, expected a text in UTF-8"
    elif isinstance(argument, Boolean):
        for text in (b"", b"true", b"1", b"\xff"):
            quoted = text.decode("utf-8", "backslashreplace")
            yield {name: text}, f'{shown}: found "{quoted}", expected True or False'
        if not argument.optional:
            yield {}, f"{shown}: found nothing, expected True or False"
    elif isinstance(argument, ChunkedBytes):
        count = f"expected the number of its chunks{NUMBER}"
        chunks = {name + b".0": b"chunk"}
        yield chunks, f"{shown}: found nothing, {count}"
        if not argument.optional:
            yield {}, f"{shown}: found nothing, {count}"
        for text in NO_NUMBERS[:15]:
            quoted = text.decode().replace("\n", r"\n")
            yield {name: text, **chunks}, f'{shown}: found "{quoted}", {count}'
        yield {name: b"2", **chunks}, f"{shown}.1: found nothing, expected a chunk, since {shown} says that there are 2"
        yield {name: b"1"}, f"{shown}.0: found nothing, expected a chunk, since {shown} says that there are 1"
    else:
        assert isinstance(argument, Bytes)
        if not argument.optional:
            yield {}, f"{shown}: found nothing, expected 0 to 65,535 bytes"
        if name == b"session":
            for length in (0, 15, 65, 65_535):
                yield {name: b"s" * length}, f"session: found {length:,} bytes, expected 16 to 64 bytes"


def cases() -> Iterator[tuple[type[Command], bytes, Box, str]]:
    """Each command, argument and wrong form."""
    for command in COMMANDS.values():
        for name, argument in command.arguments:
            for form, message in wrong_forms(name, argument):
                yield command, name, form, message


@pytest.fixture(scope="module")
def peers() -> Iterator[dict[str, BoundedAMP]]:
    """A peer of each kind of daemon, in one cluster."""
    with MemoryCluster() as cluster:
        RIGHT["Configure"][b"state.0"] = cluster_state_json.to_json(cluster.state)
        RIGHT["ApplyConfig"][b"epoch"] = b"%d" % cluster.state.epoch
        RIGHT["ApplyConfig"][b"config.0"] = config_text(ClusterConfig(cluster.state.map, "localhost", 9192))
        found = {}
        for kind, where in {"shard": ("127.0.0.1", 5050), "bootstrap": ("localhost", 9192)}.items():
            peer = cluster.run(
                cluster.network.dial(*where).connect(Factory.forProtocol(lambda: BoundedAMP(cluster.clock)))
            )
            assert isinstance(peer, BoundedAMP)
            peer.settle = cluster.network.settle  # type: ignore[attr-defined]  # so that a test needs the peer alone
            found[kind] = peer
        yield found


def outcome(peer: BoundedAMP, command: type[Command], box: Box) -> object:
    """The answer's box, or the error."""
    found: list[object] = []
    asked = peer.call_directly(command.commandName, dict(box))
    asked.addBoth(lambda heard: found.append(getattr(heard, "value", heard)))
    peer.settle()  # type: ignore[attr-defined]  # see `peers`
    assert peer.transport is not None, "the connection was lost"
    return found[0]


def daemons_of(command: type[Command]) -> list[str]:
    """The kinds of daemons that answer a command."""
    return command.answered_by.split(" or ")


def test_every_argument_is_tried() -> None:
    """The table has a right box of each command that takes arguments, with each of these in it."""
    wanted = {name: {key for key, _ in command.arguments} for name, command in COMMANDS.items() if command.arguments}
    assert {name.encode(): {key for key in box if b"." not in key} for name, box in RIGHT.items()} == wanted
    tried = {(command.commandName, name) for command, name, _, _ in cases()}
    assert tried == {(name, argument) for name, arguments in wanted.items() for argument in arguments}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.__name__)
def test_right_arguments(peers: dict[str, BoundedAMP], command: type[Command]) -> None:
    """The right box isn't refused for its form, with keys that nobody knows in it either."""
    for kind in daemons_of(command):
        for box in (RIGHT.get(command.__name__, {}), {**RIGHT.get(command.__name__, {}), b"new": b"\xff", b"_x": b""}):
            found = outcome(peers[kind], command, box)
            fits = ("expected the number of a move", "has no replicas")  # the cluster has neither
            assert not isinstance(found, BadRequest) or any(text in str(found) for text in fits)


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS.values() if command.arguments], ids=lambda it: it.__name__
)
def test_wrong_arguments(peers: dict[str, BoundedAMP], command: type[Command]) -> None:
    """A wrong form is a BAD_REQUEST with the argument, what was found and the rule; the connection goes on."""
    for tried, name, form, message in cases():
        if tried is command:
            rest = {key: value for key, value in RIGHT[command.__name__].items() if key.partition(b".")[0] != name}
            for kind in daemons_of(command):
                error = outcome(peers[kind], command, {**rest, **form})
                assert (type(error), str(error)) == (BadRequest, message)


@pytest.mark.parametrize(
    ("command", "changed", "code", "message"),
    [
        ("Apply", {b"epoch": b"99"}, "SHARD_BEHIND", "shard 'shard0' has epoch "),
        ("Keys", {b"epoch": b"99"}, "SHARD_BEHIND", "shard 'shard0' has epoch "),
        ("Keys", {b"slot": b"9999999"}, "WRONG_SHARD", "shard 'shard0' owns [0.0, 0.5) at epoch "),
        ("Keys", {b"index": b"\0" * 60_000}, "INDEX_NOT_FOUND", "there is no index "),
        ("Count", {b"index": b"gone"}, "INDEX_NOT_FOUND", "there is no index 'gone'; create it first"),
        ("Configure", {b"name": b""}, "BAD_REQUEST", "name: found '', expected the name of a shard in "),
        ("Configure", {b"name": b"n" * 60_000}, "BAD_REQUEST", f"name: found '{'n' * 56}..., expected the name of "),
        ("Configure", {b"state": b"0"}, "BAD_REQUEST", "this is no cluster state: "),
        ("Configure", {b"state.0": b"{}"}, "BAD_REQUEST", "this is no cluster state: Object missing required field"),
        ("ReadSnapshot", {b"snapshot": b""}, "SNAPSHOT_ENDED", "the shard has no snapshot '' for this connection: "),
        ("ReadSnapshot", {b"snapshot": b"\n" * 60_000}, "SNAPSHOT_ENDED", r"the shard has no snapshot '\n\n"),
        ("CreateIndex", {b"name": b""}, "INVALID_INDEX_NAME", "index name '': expected 1 to 100 letters and digits of"),
        ("CreateIndex", {b"name": b"a b"}, "INVALID_INDEX_NAME", "index name 'a b': expected 1 to 100 letters and dig"),
        ("CreateIndex", {b"name": b"n" * 101}, "INVALID_INDEX_NAME", "index name of 101 characters 'nnnnnnnnnn"),
        ("DropIndex", {b"name": b"a b"}, "INDEX_NOT_FOUND", "there is no index 'a b'; create it first"),
        ("Apply", {b"batch": b"0"}, "BAD_REQUEST", "the batch can't be read: Input data was truncated"),
        ("Apply", {b"batch.0": b"\x91\x01"}, "BAD_REQUEST", "the batch can't be read: run 0: found int, "),
    ],
)  # fmt: skip
def test_what_the_daemon_does_not_take(
    peers: dict[str, BoundedAMP], command: str, changed: Box, code: str, message: str
) -> None:
    """An argument of the right form that can't be taken is refused by its own code, in one short printable line."""
    tried = COMMANDS[command.encode()]
    error = outcome(peers[tried.answered_by], tried, {**RIGHT[command], **changed})
    assert isinstance(error, PyshardError)
    assert (error.code, str(error)[: len(message)]) == (code, message)
    assert str(error).isprintable()
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Apply", "bootstrap", "Apply is for a shard, and this is a bootstrap"),
        ("Readiness", "shard", "Readiness is for a bootstrap, and this is a shard"),
        ("apply", "shard", 'a shard has no command "apply"'),
        ("", "bootstrap", 'a bootstrap has no command ""'),
        ("GoAway", "shard", 'a shard has no command "GoAway"'),
        ("a\nb", "shard", r'a shard has no command "a\nb"'),
        ("n" * 65_535, "shard", f'a shard has no command "{"n" * 47}..."'),
    ],
)
def test_commands_that_are_not_answered(peers: dict[str, BoundedAMP], name: str, kind: str, message: str) -> None:
    """A command for the other kind of daemon, or for none, is answered with AMP's code, and with what is wrong."""
    found = outcome(peers[kind], type(name, (Command,), {"commandName": name.encode()}), {})
    assert str(found) == message


def test_the_types_write_what_they_read() -> None:
    """Each type makes of a value the one form that it reads, and a text that AMP's own types read."""
    types: list[tuple[WireArgument[Any], amp.Argument, list[Any]]] = [
        (Integer(), amp.Integer(), [0, 1, LARGEST]),
        (Boolean(), amp.Boolean(), [True, False]),
        (Text(), amp.Unicode(), ["", "é"]),
        (Bytes(), amp.String(), [b"", b"\xff"]),
    ]
    for kind, stock, values in types:
        for value in values:
            box: Box = {}
            kind.put(box, b"a", value)
            assert kind.take(box, b"a") == value
            assert stock.fromString(box[b"a"]) == value
    for text in (b"", b"true", b"1", b"True ", b"FALSE"):
        with pytest.raises(BadRequest, match=r'^more: found "[\w ]*", expected True or False$'):
            Boolean().read(b"more", text)
    with pytest.raises(BadRequest, match=r"^more: found nothing, expected True or False$"):
        Boolean().read(b"more", None)


def test_limits_of_the_types() -> None:
    """An answer's numbers have bounds, too: a slot's end is one of the keyspace."""
    bounds = {"slot": SLOT, "end": SLOT + 1}
    for command in COMMANDS.values():
        for name, argument in [*command.arguments, *command.response]:
            if isinstance(argument, Integer):
                most = bounds.get(name.decode(), LARGEST)
                assert argument.read(name, b"%d" % most) == most
                with pytest.raises(BadRequest):
                    argument.read(name, b"%d" % (most + 1))


def test_own_answers_are_read(peers: dict[str, BoundedAMP]) -> None:
    """What a daemon answers has the types that it declares."""
    found = outcome(peers["shard"], commands.Hello, RIGHT["Hello"])
    assert isinstance(found, dict)
    assert commands.Hello.answer_in(found)["role"] == "shard"
