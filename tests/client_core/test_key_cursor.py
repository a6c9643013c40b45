"""A scan's place: where an answer leads, and which answers lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from pyshard.client_core.key_cursor import KeyCursor
from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.pages import encode_keys

KEY = b"test"
SLOT = slot_of(KEY)


def answer(keys: list[bytes], end: int, more: bool = False, after: bytes | None = None) -> dict[str, Any]:
    """An answer to `Keys`."""
    return {"keys": encode_keys(keys), "end": end, "more": more, "after": after}


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
    cursor.take(given)
    assert (cursor.slot, cursor.after) == place
    assert cursor.question(7) == {"epoch": 7, "index": "", "slot": place[0], "after": place[1]}


@pytest.mark.parametrize(
    "given",
    [
        answer([], SLOTS, more=True),
        answer([], 100),
        answer([], 99),
        answer([], 99, after=b"x"),
        answer([], 100, after=b"here"),
        answer([b"here"], 100, more=True),
    ],
)
def test_nowhere(given: dict[str, Any]) -> None:
    """A page that leads back, or to where the scan is already, is refused: the scan would never end."""
    cursor = KeyCursor("")
    cursor.slot, cursor.after = 100, b"here"
    with pytest.raises(BadRequest, match="leads nowhere"):
        cursor.take(given)
