"""What waits at a shard for closed slots ends with its connection, its session's, and the daemon."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from deferreds import result, watch
from shard.served import ONE, ROOMY, Bench
from shard.states import A, B
from twisted.internet.defer import Deferred

from pyshard.model.key_slots import slot_of
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read, Run, Write
from pyshard.settings import settings

SESSION = b"0123456789abcdef"
MOVING = ((slot_of(A), slot_of(A) + 1),)


@pytest.fixture
def sealed(bench: Bench) -> Bench:
    """A shard that has sealed the slot of A."""
    result(Deferred.fromCoroutine(bench.shard.seal("move 1", MOVING, 1)))
    return bench


def unseal(bench: Bench) -> None:
    """Have the seal taken back."""
    result(Deferred.fromCoroutine(bench.shard.unseal("move 1")))
    bench.network.settle()


def asked(bench: Bench, peer: Any, key: bytes = A) -> list[Any]:
    """What a write comes to."""
    runs: list[Run] = [Write("", [key], [ONE])]
    answer = watch(peer.call(commands.Apply, 9, epoch=7, batch=encode_runs(runs)))
    bench.network.settle()
    return answer


def parked(bench: Bench) -> int:
    """How many wait, as `stat` has it."""
    assert bench.shard.parked is not None
    assert bench.shard.stat()["parked"] == len(bench.shard.parked)
    return len(bench.shard.parked)


def kept(bench: Bench, *keys: bytes) -> list[bool]:
    """Which keys the shard has."""
    (answer,) = bench.apply(Read("", list(keys)))
    return [each is not None for each in answer.results]


def test_answered(sealed: Bench) -> None:
    """It is answered when the slot is open, beside what was asked for later."""
    first, other = asked(sealed, sealed.peer), asked(sealed, sealed.peer, B)
    page: list[Any] = watch(sealed.peer.call(commands.Keys, 9, epoch=7, index="", slot=MOVING[0][0], after=None))
    count: list[Any] = watch(sealed.peer.call(commands.Count, 9, epoch=7, index="", slot=MOVING[0][0]))
    sealed.network.settle()
    assert (first, page, count, parked(sealed)) == ([], [], [], 3)
    assert decode_answers(other[0]["answers"], [Write("", [B], [ONE])]) == [Answer([True], {})]
    unseal(sealed)
    assert decode_answers(first[0]["answers"], [Write("", [A], [ONE])]) == [Answer([True], {})]
    assert (page[0]["epoch"], count[0]["documents"], parked(sealed)) == (7, 2, 0)


@pytest.mark.parametrize("ends", [lambda peer: peer.abort(), lambda peer: peer.close()], ids=["aborted", "closed"])
def test_a_connection_that_ends(sealed: Bench, ends: Any) -> None:
    """What it has parked is never applied."""
    peer = sealed.connect(BoundedAMP(sealed.clock))
    asked(sealed, peer)
    assert parked(sealed) == 1
    ends(peer)
    sealed.network.settle()
    assert parked(sealed) == 0
    unseal(sealed)
    assert kept(sealed, A) == [False]


def test_a_session_that_comes_anew(sealed: Bench) -> None:
    """What the older connection of a session has parked is never applied, and nobody waits for it."""
    older, newer = sealed.connect(BoundedAMP(sealed.clock)), sealed.connect(BoundedAMP(sealed.clock))
    hello = {"protocol": commands.PROTOCOL, "session": SESSION}
    known: list[Any] = watch(older.call(commands.Hello, 5, **hello))
    sealed.network.settle()
    assert known[0]["name"] == "low"
    asked(sealed, older)
    assert parked(sealed) == 1
    answer: list[Any] = watch(newer.call(commands.Hello, 5, **hello))
    sealed.network.settle()
    assert answer[0]["name"] == "low"  # at once: the clock stands still
    assert parked(sealed) == 0
    unseal(sealed)
    assert kept(sealed, A) == [False]


def test_many_boxes_of_a_connection(sealed: Bench) -> None:
    """With as many parked as it may have a connection is served on, and refused the next one."""
    waiting = [asked(sealed, sealed.peer) for _ in range(settings.MAX_PARKED_OF_CONNECTION)]
    assert parked(sealed) == len(waiting)
    assert len(asked(sealed, sealed.peer, B)) == 1
    (refused,) = asked(sealed, sealed.peer)
    assert isinstance(refused, Exception)
    assert refused.code == "OVERLOADED"  # type: ignore[attr-defined]  # it is one of pyshard's
    unseal(sealed)
    assert all(len(each) == 1 for each in waiting)


def test_the_end_of_the_daemon(sealed: Bench) -> None:
    """What is parked is refused at once, and holds nothing up."""
    answer = asked(sealed, sealed.peer)
    began = sealed.clock.seconds()
    stopped = watch(sealed.service.stopService())
    sealed.network.settle()
    runs: list[Run] = [Write("", [A], [ONE])]
    assert [each.code for each in decode_answers(answer[0]["answers"], runs)[0].outcomes()] == ["WRONG_SHARD"]  # type: ignore[union-attr]  # as the test says
    while not stopped:
        sealed.network.advance(0.01)
    assert sealed.clock.seconds() - began < 1.5


def test_a_start_with_a_seal(bench: Bench) -> None:
    """A source that was killed while it was sealed has what comes wait, too."""
    stores = StoreId("1d", "1d"), StoreId("2e", "2e")
    move = RangeMove(1, "low", "high", MOVING, *stores, phase=Phase.SEALING, attempt=1)
    bench.configure(attrs.evolve(ROOMY, step=1, moves=(move,)))
    assert bench.shard.store.ranges.sealed
    again = Bench(bench.shard.store)
    answer = asked(again, again.peer)
    assert (answer, parked(again)) == ([], 1)
    unseal(again)
    assert len(answer) == 1
