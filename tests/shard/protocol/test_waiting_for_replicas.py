"""What waits for the word of a shard's replicas: it is bounded, counts for its peer, and ends with its connection."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest
from deferreds import watch
from shard.led import OTHER, Led
from shard.served import ONE
from shard.states import LOW, A

from pyshard.errors import Overloaded
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Result, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Pop, Read, Run, Touch, Write
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import encode_ranges
from pyshard.server.held_bytes_limit import HeldBytes
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.storage import MemoryStore, Sender, Task

MIB = 1024 * 1024
RECORD = b"\x01\xc6\x00\x10\x00\x00" + bytes(MIB)
READ = Read("", [A])


@pytest.fixture
def led() -> Led:
    """A shard with a document of 1 MiB, of which another member is silent."""
    led = Led()
    assert results(led.asked(led.peer, Write("", [A], [RECORD])), Write("", [A], [RECORD])) == [True]
    led.join()
    return led


def results(answer: list[Any], run: Run) -> list[Any]:
    """The results of a batch of one run."""
    (found,) = decode_answers(answer[0]["answers"], [run])
    return found.results


def served(led: Led) -> list[ShardProtocol]:
    """The shard's side of all connections."""
    return [each for each in led.service.factory.connections if isinstance(each, ShardProtocol)]


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each read at a store."""
    reads: list[None] = []
    read_at_hand = MemoryStore.read_at_hand

    def counted(store: MemoryStore, index: int, keys: Sequence[bytes], size: int) -> list[Result] | None:
        reads.append(None)
        return read_at_hand(store, index, keys, size)

    monkeypatch.setattr(MemoryStore, "read_at_hand", counted)
    return reads


def test_nothing_is_read_without_a_lease(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read waits before it is done: so nothing is kept of what it found, and it finds the newest."""
    reads = count_reads(monkeypatch)
    answers = [led.asked(led.peer, READ) for _ in range(10)]
    assert (answers, reads, len(led.gate)) == ([[]] * 10, [], 10)
    assert led.held < MIB
    led.hear()
    assert [len(results(answer, READ)[0]) for answer in answers] == [8 + len(RECORD)] * 10
    assert (len(led.gate), led.held) == (0, 0)
    led.leave()
    del reads[:]
    again = [led.asked(led.peer, READ) for _ in range(10)]
    assert (again, len(reads)) == ([[]] * 10, 1), "only the first one finds that the lease has run out"
    led.hear()
    assert [len(answer) for answer in again] == [1] * 10


ASKED: list[tuple[type[Command], dict[str, Any]]] = [
    (commands.Apply, {"epoch": 8, "batch": encode_runs([READ])}),
    (commands.Keys, {"epoch": 8, "index": "", "slot": 0, "after": None}),
    (commands.Count, {"epoch": 8, "index": "", "slot": 0}),
    (commands.OpenSnapshot, {"stale": None}),
    (commands.OpenCopy, {"follower": "move 1", "ranges": encode_ranges(LOW.ranges)}),
    (commands.OpenDigest, {"follower": "move 1", "ranges": encode_ranges(LOW.ranges)}),
    (commands.OpenReplicaCopy, {"replica": OTHER.address}),
    (commands.ReportMoves, {}),
]


@pytest.mark.parametrize(("command", "arguments"), ASKED, ids=[each[0].__name__ for each in ASKED])
def test_a_connection_that_ends(led: Led, command: type[Command], arguments: dict[str, Any]) -> None:
    """What it has asked waits no more, and isn't done when the lease is back."""
    peer = led.connect(BoundedAMP(led.clock))
    answers = [watch(peer.call(command, 1e6, **arguments)) for _ in range(3)]
    led.network.settle()
    assert (answers, len(led.gate)) == ([[], [], []], 3)
    peer.transport.loseConnection()
    led.network.settle()
    assert (len(led.gate), led.held) == (0, 0)
    led.hear()
    assert [name for name in led.shard.store.followers if name.startswith("move")] == []


def test_answers_that_saw_what_waits(led: Led) -> None:
    """They count for their peer, from which nothing more is read past a bound, and go with its connection."""
    led.hear()
    led.asked(led.peer, Write("", [A], [RECORD + RECORD]))  # which the other one hasn't
    peer = led.connect(BoundedAMP(led.clock))
    answers = [led.asked(peer, READ) for _ in range(30)]
    assert answers == [[]] * 30
    taken = settings.BYTES_UNDER_WAY // len(RECORD + RECORD) + 1
    assert len(led.gate) == 1 + taken
    assert led.held > taken * len(RECORD + RECORD)
    peer.transport.loseConnection()
    led.network.settle()
    assert (len(led.gate), led.held) == (1, 0)


def test_answers_that_are_given(led: Led) -> None:
    """Then they count no more."""
    led.hear()
    led.asked(led.peer, Write("", [A], [RECORD]))
    answer = led.asked(led.peer, READ)
    assert led.held > len(RECORD)
    led.hear()
    assert (len(results(answer, READ)), led.held) == (1, 0)
    assert max(each.under_way for each in served(led)) < 1000, "of the question for groups"


def test_too_much_for_all(led: Led) -> None:
    """Past the bound connections are cut off, and what waits for them goes at once."""
    led.hear()
    led.service.factory.held = HeldBytes(3 * len(RECORD))
    led.asked(led.peer, Write("", [A], [RECORD]))
    peers = [led.connect(BoundedAMP(led.clock)) for _ in range(8)]
    for peer in peers:
        led.asked(peer, READ)
    led.network.settle()
    assert [peer.transport is None for peer in peers].count(False) == 2
    assert led.held < 3 * len(RECORD)
    assert len(led.gate) == 3


def test_one_that_is_cut_off(led: Led) -> None:
    """From then on nothing of it counts, though its answers go only when the connection has ended."""
    led.hear()
    led.asked(led.peer, Write("", [A], [RECORD]))
    led.asked(led.peer, READ)
    (connection,) = (each for each in served(led) if each.under_way > len(RECORD))
    connection.release_held()
    led.service.factory.held.update(connection, 0, connection.origin)  # as its factory does
    assert (connection.ended, led.held) == (False, 0)
    connection.hold(1)
    assert led.held == 0


def test_what_a_change_has_found(led: Led) -> None:
    """It goes with its connection. The change keeps its place, since others wait behind it."""
    led.hear()
    peer = led.connect(BoundedAMP(led.clock))
    led.asked(peer, Pop("", [A]))
    assert (len(led.gate), led.held > len(RECORD)) == (1, True)
    (kept,) = (waiting for of_sender in led.replica._answers._waiting._of.values() for waiting in of_sender)
    peer.transport.loseConnection()
    led.network.settle()
    assert (len(led.gate), led.held, kept.answer) == (1, 0, None)
    led.hear()
    assert len(led.gate) == 0
    assert results(led.asked(led.peer, READ), READ) == [None]


def test_groups_that_are_given_in_parts(led: Led) -> None:
    """What a member hasn't fetched yet counts for its connection, and goes with it. The next part is still taken up."""
    answer = led.hear()
    led.asked(led.peer, Write("", [A], [b"\x01\xc6\x00\xe0\x00\x00" + bytes(14 * MIB)]))
    (pulling,) = (each for each in served(led) if each.replicates)
    assert (answer[0]["more"], led.held > 14 * MIB, pulling.under_way) == (True, True, 0)
    led.member.transport.loseConnection()
    led.network.settle()
    assert led.held < MIB


def test_what_was_asked_counts(led: Led) -> None:
    """Many keys that wait to be looked up are bytes that are held, too."""
    keys = [A] + [b"%d" % number + bytes(10_000) for number in range(100)]
    answer = led.asked(led.peer, Read("", keys))
    assert (answer, led.held > 100 * 10_000) == ([], True)
    led.hear()
    assert (len(answer), led.held) == (1, 0)


@pytest.mark.parametrize("command", [commands.Keys, commands.Count])
def test_what_waits_counts_whatever_it_is(led: Led, command: type[Command]) -> None:
    """A question for keys may have a long key, and one for an index a long name."""
    arguments: dict[str, Any] = {"epoch": 8, "index": "i" * 50_000, "slot": 0}
    if command is commands.Keys:
        arguments["after"] = bytes(60_000)
    answer = watch(led.peer.call(command, 1e6, **arguments))
    led.network.settle()
    assert (answer, led.held >= 50_000 + len(arguments.get("after", b""))) == ([], True)
    led.hear()
    assert (len(answer), led.held) == (1, 0)


def test_small_keys_count_as_what_they_take(led: Led) -> None:
    """They are decoded already: a key of 4 bytes takes some 80."""
    keys = [b"%04d" % number for number in range(5000)]
    answer = led.asked(led.peer, Has("", keys))
    kept = sum(map(sys.getsizeof, keys)) + sys.getsizeof(keys)
    assert (answer, kept <= led.held <= 3 * kept) == ([], True)
    led.hear()
    assert (len(answer), led.held) == (1, 0)


SMALL = Write("", [A], [RECORD[:50_000]])


@pytest.mark.parametrize("hangs_up", [False, True])
def test_small_changes_are_bounded(led: Led, hangs_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound they are refused and never begun, also of who connects anew; the member's word ends that."""
    monkeypatch.setattr("pyshard.shard.small_changes.SMALL_OF_ADDRESS", 4 * MIB)  # else few of them are begun at once
    led.hear()
    store = led.shard.store
    store.uncommitted._most, before, answers = 4 * MIB, store.position.sequence, list[list[Any]]()
    for _ in range(10):
        peer = led.connect(BoundedAMP(led.clock))
        answers += [led.asked(peer, SMALL) for _ in range(10)]
        if hangs_up:
            peer.transport.loseConnection()
            led.network.settle()
    begun = store.position.sequence - before
    assert begun == 2 * MIB // (len(SMALL.records[0]) + 8450) + 1
    assert [isinstance(answer[0], Overloaded) for answer in answers[begun:]] == [True] * (100 - begun)
    led.hear()
    assert store.uncommitted.total == 0
    assert hangs_up or [results(answer, SMALL) for answer in answers[:begun]] == [[True]] * begun
    assert led.asked(led.peer, SMALL) == []
    led.hear()
    assert store.position.sequence - before == begun + 1


def test_what_waits_keeps_no_documents(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's group has what a change has written, and who waits for the answer doesn't have it once more."""
    led.hear()
    came: list[bytes] = []
    apply = MemoryStore.apply

    def noted(store: MemoryStore, tasks: Sequence[Task], limit: int, room: int, sender: Sender) -> Any:
        came.extend(task.run.records[0] for task in tasks if isinstance(task.run, Write))
        return apply(store, tasks, limit, room, sender)

    monkeypatch.setattr(MemoryStore, "apply", noted)
    assert led.asked(led.peer, SMALL) == []
    (record,) = came
    assert sys.getrefcount(record) == 3, "as this test has it: in a list, by a name, and for this call"


def test_touches_of_a_large_document(led: Led) -> None:
    """They count as what they write: so only some are begun, and a small change doesn't wait for all of them."""
    touch = Touch("", [A], [10**9])
    touches = [led.asked(led.peer, touch) for _ in range(12)]
    assert 0 < len(led.replica.large) < 12
    before = led.shard.store.position.sequence
    led.asked(led.peer, Write("", [A], [ONE]))
    assert led.shard.store.position.sequence == before + 1
    for _ in range(12):
        led.network.advance(0.1)
        led.hear()
    assert all(results(answer, touch) == [True] for answer in touches)
