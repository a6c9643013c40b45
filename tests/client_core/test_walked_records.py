"""A walk over documents: which keys are read next, and which records are given out together."""

from __future__ import annotations

import pytest

from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.read_room import UNREAD, ReadRoom
from pyshard.client_core.walked_records import WalkedRecords, pairs_in, results_in
from pyshard.errors import PartialFailure, Unavailable, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_answers import VERSION, Answer
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


def result(document: object) -> bytes:
    """What a shard answers to a read."""
    return VERSION.pack(7) + document_encoding.encode(document)[0]


def given(records: WalkedRecords) -> list[tuple[list[str], list[object]]]:
    """The portions that there are."""
    portions = []
    while portion := records.next_portion():
        portions.append(portion)
    return portions


def test_room() -> None:
    """It is full when as many bytes have come."""
    room = ReadRoom(10)
    assert not room.full
    room.take(9)
    assert not room.full
    room.take(1)
    assert room.full


def test_a_page_that_fits() -> None:
    """All of its keys are read at once, and given out at once."""
    records = WalkedRecords()
    assert (records.next_keys(), records.next_portion(), records.ready) == ([], None, False)
    records.add(["a", "b", "c"])
    assert (records.next_keys(), records.ready) == (["a", "b", "c"], False)
    error = Unavailable("away")
    records.took([b"1", None, error])
    assert records.ready
    assert given(records) == [(["a", "b", "c"], [b"1", None, error])]
    assert (records.next_keys(), records.ready) == ([], False)


def test_keys_without_room_are_read_later() -> None:
    """What came is given out in order. Then what is missing before the others that came is read, and then the rest."""
    records = WalkedRecords()
    records.add(list("abcdef"))
    records.next_keys()
    records.took([b"a", UNREAD, UNREAD, b"d", UNREAD, UNREAD])
    assert given(records) == [(["a"], [b"a"])]
    assert records.next_keys() == ["b", "c"]
    records.took([b"b", b"c"])
    assert given(records) == [(["b", "c", "d"], [b"b", b"c", b"d"])]
    assert records.next_keys() == ["e", "f"]


def test_fewer_keys_are_asked_for() -> None:
    """After a read that had no room for all, as many are asked for as it had; then twice as many, up to a limit."""
    records = WalkedRecords(20, 10)
    records.add([f"{number}" for number in range(100)])
    asked = []
    for unread in (0, 0, 17, 3, 0, 0):
        keys = records.next_keys()
        asked.append(len(keys))
        records.took([b""] * (len(keys) - unread) + [UNREAD] * unread)
        given(records)
    assert asked == [10, 20, 20, 3, 1, 2]
    assert records.count == 4


def test_portions() -> None:
    """Each has so many bytes of records as an answer, or one record that is larger, and keeps none of them."""
    half, larger = bytes(settings.ANSWER_BYTES // 2), bytes(3 * settings.ANSWER_BYTES)
    records = WalkedRecords()
    records.add(list("abcdefg"))
    records.next_keys()
    records.took([half, half, b"c", larger, None, half, half])
    assert ["".join(keys) for keys, _ in given(records)] == ["ab", "c", "de", "fg"]
    assert records._results == [None] * 7


@pytest.mark.parametrize("index", ["", "pages"])
def test_pairs(index: str) -> None:
    """A key whose document is gone is left out; one that can't be read fails all of them, which are its outcomes."""
    assert pairs_in(index, ["a", "b", "c"], [result({"n": 1}), None, result(None)]) == [("a", {"n": 1}), ("c", None)]
    damaged, away = VERSION.pack(7) + b"\x01", Unavailable("away")
    with pytest.raises(PartialFailure) as failed:
        pairs_in(index, ["a", "b", "c", "d"], [result("x"), away, damaged, None])
    found = results_in(failed.value)
    assert found[0] == {"hash_": slot_of(b"a", index.encode()) / SLOTS, "record": "x"}
    assert (found[1], found[3]) == (away, None)
    assert isinstance(found[2], UnreadableRecord)
    assert [key for key, _ in failed.value.outcomes] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("blocking", [False, True])
def test_items_of_large_documents(monkeypatch: pytest.MonkeyPatch, blocking: bool) -> None:
    """The first pairs cost a bounded read, though all documents of the page are large; decoding is none of the read."""
    answers: list[int] = []
    answer_in = BulkOperation.answer_in

    def note(self: BulkOperation, data: bytes) -> Answer:
        answers.append(len(data))
        return answer_in(self, data)

    monkeypatch.setattr(BulkOperation, "answer_in", note)
    with MemoryCluster(1) as cluster:
        documents = {f"k{number}": "x" * (settings.ANSWER_BYTES // 2) for number in range(60)}
        client = cluster.connect()
        cluster.run(client.write_many(documents))
        answers.clear()
        scan, pages = cluster.blocking().items(), client.items()
        found = [next(scan)] if blocking else cluster.run(pages.next_page())
        assert 1 <= len(found) <= 2
        first = sum(answers)
        assert first <= settings.WALK_BYTES + settings.BOXES_IN_FLIGHT * 2 * settings.ANSWER_BYTES
        if blocking:
            found += scan
        else:
            while page := cluster.run(pages.next_page()):
                found += page
        assert [key for key, _ in found] == sorted(documents, key=lambda key: slot_of(key.encode()))
        assert dict(found) == documents
        assert sum(answers) < 61 * settings.ANSWER_BYTES // 2  # nothing is read twice
