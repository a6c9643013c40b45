"""`Apply` at a shard over a real connection in memory, from clients and from stock AMP."""

from __future__ import annotations

import attrs
import pytest
from deferreds import result
from shard.served import ONE, ROOMY, Bench
from shard.states import HALF, LOW
from twisted.protocols import amp

from pyshard.errors import (
    BadRequest,
    ShardBehind,
)
from pyshard.model.key_slots import slot_of
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import VERSION, Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, Run, Touch, Write
from pyshard.settings import settings


def test_apply_as_bytes(bench: Bench) -> None:
    """A batch and its answers, as any peer reads and writes them."""
    assert slot_of(b"test") < LOW.ranges[0][1] <= slot_of(b"test1")
    batch = b"\x92\x94\xa5write\xa0\x91\xc4\x04test\x91\xc4\x09" + ONE
    batch += b"\x93\xa4read\xa0\x92\xc4\x04test\xc4\x05test1"
    message = b"shard 'low' owns [0.0, 0.5) at epoch 7, not 0.8204544; get the newest map"
    answers = b"\x92\x92\x91\xc3\x80\x92\x92\xc4\x11" + VERSION.pack(1) + ONE
    answers += b"\xc0\x81\x01\x92\xabWRONG_SHARD\xd9" + bytes([len(message)]) + message
    assert bench.ask(commands.Apply, epoch=7, batch=batch) == {"epoch": 7, "answers": answers}


def test_apply(bench: Bench) -> None:
    """Each run has its answer, in order; what others own is a redirect."""
    write, read, has = bench.apply(Write("", [b"test"], [ONE]), Read("", [b"test", b"test1"]), Has("gone", [b"test"]))
    assert write == Answer([True])
    assert read.results == [VERSION.pack(1) + ONE, None]
    assert [(position, code) for position, (code, _) in read.errors.items()] == [(1, "WRONG_SHARD")]
    assert has.errors[0][0] == "INDEX_NOT_FOUND"


def test_apply_tells_the_epoch(bench: Bench) -> None:
    """Who routed by an older map learns from the answer that there is a newer one."""
    bench.configure(attrs.evolve(ROOMY, epoch=8))
    answer = bench.ask(commands.Apply, epoch=7, batch=encode_runs([]))
    assert answer == {"epoch": 8, "answers": b"\x90"}


def test_apply_with_a_newer_epoch(bench: Bench) -> None:
    """Who routed by a newer map is refused as a whole."""
    with pytest.raises(ShardBehind):
        bench.apply(Write("", [b"test"], [ONE]), epoch=8)
    assert bench.shard.store.documents == 0


@pytest.mark.parametrize(
    "batch", [b"", b"\xc1", b"\x91\x90", b"\x91\x93\xa4burn\xa0\x90", b"\x91\x94\xa5write\xa0\x91\xc4\x01a\x90"]
)
def test_apply_garbage(bench: Bench, batch: bytes) -> None:
    """What is no batch is the caller's mistake, and nothing is applied."""
    with pytest.raises(BadRequest, match=r"^the batch "):
        bench.ask(commands.Apply, epoch=7, batch=batch)
    assert bench.ask(commands.Ping) == {}


def test_apply_too_much(bench: Bench) -> None:
    """More operations than a batch may have are refused as a whole."""
    with pytest.raises(
        BadRequest, match=r"the batch can't be read: run 0 \(has\), keys: expected array of length <= 10000"
    ):
        bench.apply(Has("", [b"test"] * 10_001))
    assert bench.apply(Has("", [b"test"] * 10_000)) == [Answer([False] * 10_000)]


def test_largest_document(bench: Bench) -> None:
    """A record of the largest size crosses both ways, with a key of the largest size."""
    key = next(
        key
        for key in (b"%d" % number + b"k" * (settings.MAX_KEY_BYTES - 2) for number in range(10, 99))
        if slot_of(key) < LOW.ranges[0][1]
    )
    record = ONE + b"r" * (settings.MAX_DOCUMENT_BYTES + 5 - len(ONE))
    assert bench.apply(Write("", [key], [record])) == [Answer([True])]
    assert bench.apply(Pop("", [key])) == [Answer([VERSION.pack(1) + record])]


def test_many_batches_in_flight(bench: Bench) -> None:
    """Each answer goes to the batch that it belongs to."""
    keys = [key for key in (b"%d" % number for number in range(200)) if slot_of(key) < LOW.ranges[0][1]]
    bench.apply(Write("", keys, [ONE + key for key in keys]))
    asked = [bench.peer.callRemote(commands.Apply, epoch=7, batch=encode_runs([Read("", [key])])) for key in keys]
    bench.network.settle()
    found = [decode_answers(result(one)["answers"], [Read("", [b""])])[0].results[0] for one in asked]
    assert found == [VERSION.pack(number) + ONE + key for number, key in enumerate(keys, 1)]


# -- any peer -------------------------------------------------------------------------------------------------------


class StockApply(amp.Command):
    """`Apply`, as a peer declares it that has nothing but Twisted."""

    commandName = b"Apply"
    arguments = [(b"epoch", amp.Integer()), (b"batch", amp.Integer()), (b"batch.0", amp.String())]
    response = [(b"epoch", amp.Integer()), (b"answers", amp.Integer()), (b"answers.0", amp.String())]


def test_stock_amp(bench: Bench) -> None:
    """A stock AMP peer can talk to a shard."""
    peer = bench.connect(amp.AMP())
    batch = encode_runs([Write("", [b"test"], [ONE]), Read("", [b"test"])])
    asked = peer.callRemote(StockApply, epoch=7, batch=1, **{"batch.0": batch})
    bench.network.settle()
    answers = b"\x92\x92\x91\xc3\x80\x92\x91\xc4\x11" + VERSION.pack(1) + ONE + b"\x80"
    assert result(asked) == {"epoch": 7, "answers": 1, "answers.0": answers}


@pytest.mark.parametrize(
    "arguments",
    [
        {b"batch": b"1", b"batch.0": b"\x90"},
        {b"epoch": b"now", b"batch": b"1", b"batch.0": b"\x90"},
        {b"epoch": b"7"},
        {b"epoch": b"7", b"batch": b"2", b"batch.0": b"\x90"},
        {b"epoch": b"7", b"batch": b"0"},
    ],
)
def test_arguments_that_make_no_sense(bench: Bench, arguments: dict[bytes, bytes]) -> None:
    """Arguments that are missing or malformed are the caller's mistake; the connection goes on."""
    peer = bench.connect(amp.AMP())
    found: list[amp.AmpBox] = []
    peer.ampBoxReceived = found.append
    peer.sendBox(amp.AmpBox(_ask=b"1", _command=b"Apply", **{key.decode(): value for key, value in arguments.items()}))
    bench.network.settle()
    assert [box[b"_error_code"] for box in found] == [b"BAD_REQUEST"]
    assert peer.transport.disconnecting == 0


@pytest.mark.parametrize("stale", [False, True])
def test_batches_that_may_be_a_little_old(bench: Bench, stale: bool) -> None:
    """A thousand operations of one are answered; without that all are. Clients put no more into a box."""
    keys = [key for key in (b"%d" % number for number in range(12_000)) if slot_of(key) < HALF][:5000]
    runs: list[Run] = [*(Has("", [key]) for key in keys[:100]), Has("", keys)]
    answer = bench.ask(commands.Apply, epoch=7, batch=encode_runs(runs), stale=stale)
    answers = decode_answers(answer["answers"], runs)
    refused = [len(one.errors) for one in answers]
    assert refused == [0] * 100 + [4100 if stale else 0]
    assert {code for one in answers for code, _ in one.errors.values()} <= {"ANSWER_FULL"}
    assert settings.BOX_OPERATIONS <= settings.STALE_OPERATIONS


def test_what_slowed_writers_write(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch counts with what it brings; a touch or an increment also with what it writes of what it finds."""
    record, found = b"\x01\xc5\xc3\x50" + bytes(50_000), list[int]()
    writers = bench.service.followers.writers
    monkeypatch.setattr(writers, "_writable", lambda: 1e12)
    monkeypatch.setattr(writers._disk_pace, "note", lambda size, *_: found.append(size))
    (written,) = bench.apply(Write("", [b"test"], [record]))
    assert written.results == [True]
    bench.apply(Touch("", [b"test"], [1000]), Touch("gone", [b"test"], [1000]))
    bench.apply(Increment("", [b"test"], [ONE], [ONE]))
    bench.apply(Pop("", [b"test"]))
    assert 50_000 < found[0] < 50_100
    assert 50_000 < min(found[1:3]) <= max(found[1:3]) < 50_200
    assert found[3] < 100


def test_nothing_is_looked_up_while_nobody_is_slowed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """To know what a touch writes takes time, which nobody needs to spend then."""
    monkeypatch.setattr(bench.shard.store, "will_copy", None)
    (touched,) = bench.apply(Touch("", [b"test"], [1000]))
    assert touched.results == [False]
