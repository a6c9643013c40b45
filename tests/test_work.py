"""Nothing that a peer or a file controls costs work that grows faster than its length: each parser and queue, counted.

Each is given four times as much, and may do four times the work, with some room; what is quadratic does 16 times. What
is copied is counted where it could be much.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from msgspec import structs
from twisted.protocols import amp
from work import Seen, assert_equal, growth, steps

from pyshard.client_core.conversation import Conversation
from pyshard.client_core.key_cursor import KeyCursor, key_texts
from pyshard.errors import MOST_PLAIN, BadRequest, plain
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard
from pyshard.protocol.batch_answers import Answer, decode_answers, encode_answers
from pyshard.protocol.batch_encoding import decode_readers_runs, decode_runs, encode_runs
from pyshard.protocol.batch_operations import Read, Run, Write
from pyshard.protocol.boxes import LONGEST_VALUE, BoxParser, Limits, serialize
from pyshard.protocol.change_groups import Change, ChangeGroup, merged
from pyshard.protocol.chunked_arguments import put_chunks, take_chunks
from pyshard.protocol.joined_chunks import join_chunks
from pyshard.protocol.pages import encode_keys
from pyshard.security.tls.byte_filter import TlsFilter
from pyshard.server.held_bytes_limit import HeldBytes
from pyshard.settings import settings

LINEAR = 4.8


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Bytes in pieces of so many."""
    return [Seen(data[at : at + size]) for at in range(0, len(data), size)]


# -- boxes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_value_in_small_pieces(size: int) -> None:
    """Each piece costs the same, however many came before; what is held is known without counting it."""

    def work(length: int) -> Callable[[], None]:
        pieces = in_pieces(serialize({b"key": bytes(length)}), size)

        def feed() -> None:
            parser = BoxParser(Limits())
            for piece in pieces:
                parser.feed(piece)
                parser.next_box()
                assert parser.held >= 0
            assert parser.boxes == 1

        return feed

    assert growth(work, 1000) < LINEAR


def test_boxes_that_are_taken_a_few_at_a_time() -> None:
    """What waits until its turn comes isn't copied each time that something, or nothing, comes behind it."""
    parser, box = BoxParser(Limits()), serialize({b"key": b"value"})
    parser.feed(box * 1000)
    copies: list[bytes] = []
    for _ in range(999):
        assert parser.next_box() == {b"key": b"value"}
        parser.feed(b"")
        parser.feed(box)
        if not copies or parser._data is not copies[-1]:
            copies.append(parser._data)
    assert len(copies) <= 2


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_small_pieces_in_memory(size: int) -> None:
    """A value takes about what it has, whatever the pieces: in pieces of two bytes it took 22 times as much."""
    data = serialize({b"key": bytes(range(250)) * (LONGEST_VALUE // 250)})[:-10]
    tracemalloc.start()
    try:
        parser = BoxParser(Limits())
        for at in range(0, len(data), size):
            parser.feed(data[at : at + size])
            assert parser.next_box() is None
        assert tracemalloc.get_traced_memory()[0] < 1.2 * parser.held + 10_000
    finally:
        tracemalloc.stop()
    assert len(data) <= parser.held < len(data) + 100


def test_chunks_of_a_long_argument() -> None:
    """Each chunk is looked up once."""

    def work(chunks: int) -> Callable[[], None]:
        box: dict[bytes, bytes] = {}
        put_chunks(box, b"batch", bytes(chunks * LONGEST_VALUE))
        seen: dict[bytes, bytes] = {Seen(name): value for name, value in box.items()}
        return lambda: assert_equal(len(take_chunks(seen, b"batch")), chunks * LONGEST_VALUE)

    assert growth(work, 20) < LINEAR


def test_numbers_of_chunks_that_are_not_there() -> None:
    """What a peer says of chunks that don't come costs nothing: each chunk is looked up once, and one more."""

    def work(names: int) -> Callable[[], None]:
        box: dict[bytes, bytes] = {Seen(b"%d" % name): b"320" for name in range(names)}
        box |= {Seen(b"%d.%d" % (name, number)): b"320" for name in range(0, names, 10) for number in range(9)}
        return lambda: join_chunks(box)

    assert growth(work, 100) < LINEAR


# -- batches, answers and pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [1, 20])
def test_a_batch_of_many_runs(keys: int) -> None:
    """Each run is looked at a bounded number of times: also in a large batch, which is counted before it is decoded."""
    large = Write("", [b"large"], [b"\1\0\0\0\1" + bytes(2**20)])

    def runs(number: int) -> list[Run]:
        return [large, *(Read("", [b"%d" % key for key in range(keys)]) for _ in range(number))]

    def work(number: int) -> Callable[[], None]:
        data = encode_runs(runs(number))
        return lambda: assert_equal(len(decode_runs(data)), number + 1)

    assert growth(work, 100) < LINEAR


@pytest.mark.parametrize("refused", [False, True])
def test_the_answers_to_many_runs(refused: bool) -> None:
    """Each answer is looked at a bounded number of times."""

    def work(number: int) -> Callable[[], None]:
        runs: list[Run] = [Read("", [b"a", b"b"])] * number
        data = encode_answers([Answer([None, None], {1: ("SHARD_FULL", "x")} if refused else {})] * number)

        def decode() -> None:
            for answer in decode_answers(data, runs):
                assert len(answer.outcomes()) == 2

        return decode

    assert growth(work, 100) < LINEAR


def test_a_page_of_keys() -> None:
    """Each key is looked at a bounded number of times."""

    def work(number: int) -> Callable[[], None]:
        keys = sorted((b"%d" % key for key in range(number)), key=slot_of)
        answer = {"keys": encode_keys(keys), "epoch": 7, "more": True, "end": SLOTS, "after": None}
        whole = MapShard("a", ((0, SLOTS),), 1, "127.0.0.1", 1)
        return lambda: assert_equal(len(key_texts(KeyCursor("").take(answer, whole))), number)

    assert growth(work, 200) < LINEAR


@pytest.mark.parametrize("alone", [False, True], ids=["all in one", "each by itself"])
def test_groups_that_are_merged(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is looked at, and put into a group, a bounded number of times, however many groups come at once."""
    put, replace = 0, structs.replace

    def counted(group: ChangeGroup, changes: list[Change]) -> ChangeGroup:
        nonlocal put
        put += len(changes)
        return replace(group, changes=changes)

    def work(number: int) -> Callable[[], None]:
        groups = [
            ChangeGroup(at, 0, at, [Change(0, at, Seen(b"%d" % at), at, 0, b"x")], {} if alone else None)
            for at in range(number)
        ]
        return lambda: assert_equal(sum(len(group.changes) for group in merged(groups)), number)

    assert growth(work, 100) < LINEAR
    monkeypatch.setattr(structs, "replace", counted)
    work(1000)()
    assert put <= 1000


# -- connections ---------------------------------------------------------------------------------------------------


def test_a_conversation_byte_by_byte() -> None:
    """A client's answers cost the same each, in any pieces, however many are owed."""

    def work(number: int) -> Callable[[], None]:
        conversation = Conversation(None, None, 0.0)
        tags = [conversation.ask(b"Apply", {}) for _ in range(number)]
        boxes = [serialize({amp.ANSWER: tag, b"answers": b"0"}) for tag in reversed(tags)]
        pieces = in_pieces(b"".join(boxes), 5)

        def receive() -> None:
            for piece in pieces:
                conversation.receive(piece, 0.0)
            assert len(conversation.answers) == number

        return receive

    assert growth(work, 50) < LINEAR


class SlowTls:
    """OpenSSL, which takes and gives few bytes at a time; `copied` is what it was given to take."""

    def __init__(self, data: bytes) -> None:
        self.left, self.copied = data, 0

    def bio_write(self, data: bytes) -> int:
        """Take some."""
        self.copied += len(data)
        return min(len(data), 20_000)

    send = bio_write


def test_bytes_through_tls() -> None:
    """What OpenSSL doesn't take at once isn't copied again as a whole."""

    def copied(length: int) -> int:
        tls = SlowTls(b"")
        one = TlsFilter.__new__(TlsFilter)
        one._tls = tls  # type: ignore[assignment]  # what the filter uses of it
        one.feed(bytes(length))
        return tls.copied

    assert copied(8_000_000) / copied(2_000_000) < LINEAR


def test_bytes_that_are_held() -> None:
    """To set what is held for a peer costs the same, however many others there are; who is over its share is found
    by one look at each address, and at each peer of one."""

    def under(peers: int) -> Callable[[], None]:
        held: HeldBytes[bytes] = HeldBytes(1 << 40)
        names = [Seen(b"%d" % peer) for peer in range(peers)]

        def update() -> None:
            for size in (1, 2, 0):
                for name in names:
                    held.update(name, size, "a")
            assert held.total == 0

        return update

    def over(peers: int) -> Callable[[], None]:
        held: HeldBytes[bytes] = HeldBytes(peers)
        for peer in range(peers):
            held.update(Seen(b"%d" % peer), 1, str(peer % 10))
        return lambda: assert_equal(len(held.update(Seen(b"new"), 1, "new")), 1)

    assert growth(under, 100) < LINEAR
    assert steps(over(400)) < 4 * 400


# -- texts of errors -----------------------------------------------------------------------------------------------


def test_a_long_text_of_a_peer_in_a_message() -> None:
    """Only the beginning of a text is made printable: one of 17,000,000 characters blocked a daemon for 19 s."""
    assert growth(lambda length: lambda: plain("\x01" * length), MOST_PLAIN) < 1.3
    assert len(plain("\x01" * 10 * MOST_PLAIN)) <= 4 * MOST_PLAIN


@pytest.mark.parametrize("decode", [decode_runs, decode_readers_runs], ids=["any peer's", "a reader's"])
def test_a_long_verb_of_a_batch(decode: Callable[[bytes], object]) -> None:
    """A verb of any length is refused in one short line, which says where it stands."""

    def work(length: int) -> Callable[[], None]:
        data = msgspec.msgpack.encode([["\x01" * length, "", [b"a"]]])

        def refuse() -> None:
            with pytest.raises(BadRequest) as refused:
                decode(data)
            assert len(str(refused.value)) < 1000
            assert str(refused.value).startswith(r"the batch can't be read: run 0, verb: found '\x01\x01")
            assert str(refused.value).endswith("expected one of read, has, item, write, pop, remove, touch, increment")

        return refuse

    assert growth(work, 1000) < 1.1
    assert steps(work(2 * settings.BOX_BYTES)) < 2 * steps(work(1000))


# -- the count itself ----------------------------------------------------------------------------------------------


def test_growth_is_seen() -> None:
    """What is linear grows four times, and what is quadratic 16 times, also where C does the work."""
    assert 3.5 < growth(lambda length: lambda: [one for one in range(length)], 100) < LINEAR  # noqa: C416  # as bytecode

    def sums(length: int) -> Callable[[], None]:
        pieces = [Seen(b"x")] * length

        def work() -> None:
            for count in range(length):
                sum(map(len, pieces[:count]))

        return work

    assert 12 < growth(sums, 20) < 17
