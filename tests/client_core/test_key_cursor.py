"""A scan's place: where an answer leads, and which answers lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from pyshard.client_core import key_cursor
from pyshard.client_core.key_cursor import KeyCursor
from pyshard.client_core.retried_index_walk import OutsideRanges
from pyshard.errors import BadRequest, Unavailable
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard
from pyshard.protocol.pages import encode_keys

KEY = b"test"
SLOT = slot_of(KEY)
WHOLE = MapShard("a", ((0, SLOTS),), 1, "127.0.0.1", 1)

#: Keys of one slot, and one of a later slot.
SAME = [b"k924", b"k4503", b"k4581"]
SAME_SLOT = slot_of(SAME[0])
FIRST, SECOND, THIRD = SAME
LATER = b"test1"


def answer(keys: list[bytes], end: int, more: bool = False, after: bytes | None = None) -> dict[str, Any]:
    """An answer to `Keys`."""
    return {"keys": encode_keys(keys), "epoch": 7, "end": end, "more": more, "after": after}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (answer([KEY], SLOTS, more=True), (SLOT, KEY)),
        (answer([KEY], 5_000_000), (5_000_000, None)),
        (answer([], SLOTS), (SLOTS, None)),
        (answer([], 17), (17, None)),
        (answer([KEY], SLOT + 1), (SLOT + 1, None)),
        (answer([], 17, after=b"gone"), (17, b"gone")),
        (answer([], 0, after=b"gone"), (0, b"gone")),
    ],
)
def test_places(given: dict[str, Any], place: tuple[int, bytes | None]) -> None:
    """A page leads behind its last key, to a slot, or into a slot; also when it has no keys."""
    cursor = KeyCursor("")
    cursor.take(given, WHOLE)
    assert (cursor.slot, cursor.after) == place
    assert cursor.question(7) == {"epoch": 7, "index": "", "slot": place[0], "after": place[1]}


@pytest.mark.parametrize(
    "given",
    [
        answer([], SLOTS, more=True),
        answer([], SLOT),
        answer([], SLOT - 1),
        answer([], SLOT - 1, after=b"x"),
        answer([], SLOT, after=KEY),
        answer([KEY], SLOT, more=True),
    ],
)
def test_nowhere(given: dict[str, Any]) -> None:
    """A page that leads back, or to where the scan is already, is refused: the scan would never end."""
    cursor = KeyCursor("")
    cursor.take(answer([KEY], 0, more=True), WHOLE)
    with pytest.raises(BadRequest, match="leads nowhere"):
        cursor.take(given, WHOLE)


def pages(cursor: KeyCursor, given: list[dict[str, Any]]) -> list[bytes]:
    """Take pages, one behind the other."""
    return [key for one in given for key in cursor.take(one, WHOLE)]


@pytest.mark.parametrize(
    "given",
    [
        [answer([SECOND], 0, more=True), answer([FIRST], 0, more=True), answer([THIRD, LATER], 0, more=True)],
        [answer([THIRD, FIRST], 0, more=True), answer([SECOND], SAME_SLOT + 1), answer([LATER], SLOTS)],
        [answer([FIRST], SAME_SLOT, after=FIRST), answer([SECOND], SAME_SLOT, after=b"gone"), answer([THIRD], SLOTS)],
    ],
)
def test_the_order_within_a_slot_is_the_store_s(given: list[dict[str, Any]]) -> None:
    """Keys of one slot may come in any order, each once."""
    assert sorted(set(pages(KeyCursor(""), given)) | {LATER}) == sorted([*SAME, LATER])


@pytest.mark.parametrize(
    "given",
    [
        [answer([FIRST], 0, more=True), answer([SECOND], 0, more=True), answer([FIRST], 0, more=True)],
        [answer([FIRST, SECOND], 0, more=True), answer([FIRST, THIRD], 0, more=True)],
        [answer([FIRST, SECOND], SAME_SLOT, after=SECOND), answer([FIRST], SLOTS)],
        [answer([], SAME_SLOT, after=b"x"), answer([], SAME_SLOT, after=b"y"), answer([], SAME_SLOT, after=b"x")],
        [answer([FIRST, LATER, SECOND], SLOTS)],
        [answer([LATER, FIRST, LATER], 0, more=True)],
        [answer([FIRST, FIRST], SLOTS)],
        [answer([FIRST, LATER], SAME_SLOT + 1)],
        [answer([FIRST], SAME_SLOT)],
    ],
)
def test_no_key_comes_twice_and_no_slot_falls(given: list[dict[str, Any]]) -> None:
    """Pages that go round within a slot would never end; a page that leads before its keys would give them again."""
    cursor = KeyCursor("")
    pages(cursor, given[:-1])
    place = (cursor.slot, cursor.after)
    with pytest.raises(BadRequest, match="leads nowhere"):
        cursor.take(given[-1], WHOLE)
    assert (cursor.slot, cursor.after) == place


@pytest.mark.parametrize(
    ("given", "outside"),
    [
        (answer([], SLOT), False),
        (answer([FIRST], SAME_SLOT, after=b"gone"), False),
        (answer([], SLOT + 1), True),
        (answer([], SLOTS), True),
        (answer([], SLOT, after=b"gone"), True),
        (answer([KEY], 0, more=True), True),
    ],
)
def test_a_shard_s_page_ends_with_its_range(given: dict[str, Any], outside: bool) -> None:
    """A page that leads behind the range would leave out other shards' keys; such keys aren't the shard's to give."""
    cursor = KeyCursor("")
    own = MapShard("a", ((0, SLOT),), 1, "127.0.0.1", 1)
    if outside:
        for asked, error in ((6, OutsideRanges), (7, BadRequest)):
            cursor.question(asked)
            with pytest.raises(error, match="shard 'a' goes beyond its range"):
                cursor.take(given, own)
            assert cursor.slot == 0
    else:
        cursor.take(given, own)


def test_a_shard_with_several_ranges() -> None:
    """A page ends with the range that has its first slot: between it and the next one lie other shards' keys."""
    own = MapShard("a", ((0, SLOT), (SLOT + 1, SLOTS)), 1, "127.0.0.1", 1)
    cursor = KeyCursor("")
    with pytest.raises(OutsideRanges, match=r"shard 'a' goes beyond its range, \[0.0, 0.1671936\): to slot 10,000,000"):
        cursor.take(answer([], SLOTS), own)
    cursor.take(answer([], SLOT), own)
    cursor.take(answer([KEY], SLOT + 1), MapShard("b", ((SLOT, SLOT + 1),), 1, "127.0.0.1", 2))
    cursor.take(answer([], SLOTS), own)
    assert cursor.ended


def test_a_range_whose_keys_come_slowly() -> None:
    """It may take an hour, and a second for each 20 keys; then the scan fails. The next range has the same time."""
    cursor = KeyCursor("")
    own, keys = MapShard("a", ((0, 1_000_000), (2_000_000, SLOTS)), 1, "127.0.0.1", 1), 0
    for slot in range(360):
        cursor.took(own, 10)
        cursor.take(answer([], slot + 1), own)
    for key in sorted((b"%d" % number for number in range(2000)), key=slot_of)[:100]:
        if cursor.slot <= slot_of(key):
            cursor.take(answer([key], slot_of(key) + 1), own)
            keys += 1
    assert keys > 90
    cursor.took(own, keys / 20)
    with pytest.raises(Unavailable, match=f"^shard 'a' gives its keys too slowly: {keys} of the range"):
        cursor.took(own, 0.001)
    cursor.take(answer([], 1_000_000), own)
    cursor.took(own, 3600)
    with pytest.raises(Unavailable):
        cursor.took(own, 0.001)


def test_a_slot_with_very_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last keys that have come are remembered, half of `REMEMBERED` at the least; no more than these are kept."""
    monkeypatch.setattr(key_cursor, "REMEMBERED", 100)
    monkeypatch.setattr(key_cursor, "slots_of", lambda keys, _: [17] * len(keys))
    cursor, keys = KeyCursor(""), [b"%d" % number for number in range(1000)]
    for begin in range(0, 1000, 10):
        page = keys[begin : begin + 10]
        cursor.take(answer(page, 17, more=True), WHOLE)
        assert len(cursor._come._newer) + len(cursor._come._older) <= 100
        for again in (page[0], page[-1], keys[max(0, begin - 40)]):
            with pytest.raises(BadRequest):
                cursor.take(answer([again], 17, more=True), WHOLE)
