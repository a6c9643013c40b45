"""What rows no client could have stored, by value; `tests/shard/test_pulled_rows.py` has whole rows."""

from __future__ import annotations

import pytest

from pyshard.model.document_encoding import encode
from pyshard.model.key_slots import slot_of, slots_of
from pyshard.protocol.row_faults import key_fault, length_fault, record_faults, slot_fault
from pyshard.settings import settings

LONGEST = b"k" * settings.MAX_KEY_BYTES
RECORD = encode({"a": 1})[0]
KEYS = [b"%d" % each for each in range(20)]


@pytest.mark.parametrize("keys", [[], [b""], KEYS, [LONGEST] * 2, ["ä".encode(), LONGEST], [b"a\0b"]])
def test_keys(keys: list[bytes]) -> None:
    """Every text that isn't too long is one, and all of them together may be as long as they like."""
    assert key_fault(keys) is None
    assert slot_fault(keys, slots_of(keys), b"") is None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (LONGEST + b"k", "a key of 65,537 bytes, expected 65,536 at the most"),
        (b"ab\xff", "a key that is not UTF-8, at byte 2: "),
        ("ä".encode()[:1], "a key that is not UTF-8, at byte 0: "),
    ],
)
def test_no_keys(key: bytes, why: str) -> None:
    """One among others is found. Halves of letters that stand side by side make no letter."""
    for keys in ([key], [*KEYS, key], [key, "ä".encode()[1:]], [key, *KEYS]):
        assert (key_fault(keys) or "").startswith(why)


def test_slots() -> None:
    """The first key that is of another slot is named, with its index."""
    slots = slots_of(KEYS, b"pages")
    assert slot_fault(KEYS, slots, b"pages") is None
    slots[7] += 1
    assert slot_fault(KEYS, slots, b"pages") == (
        f"for key '7' of index 'pages' slot {slots[7]:,}, expected {slots[7] - 1:,}"
    )
    assert slot_fault([b"k"], [0], b"") == f"for key 'k' slot 0, expected {slot_of(b'k'):,}"


def test_records() -> None:
    """Whatever begins as one, and isn't too long. A backup looks at no more than how long they are."""
    largest = RECORD + bytes(settings.MAX_DOCUMENT_BYTES - len(RECORD) + 5)
    for records in ([], [RECORD], [RECORD] * 20, [largest]):
        assert (record_faults(records), length_fault(records)) == (None, None)
    assert record_faults([RECORD, largest + b"1"]) == "a record of 16,777,222 bytes, expected 16,777,221 at the most"
    assert (record_faults([RECORD] * 20 + [b"text"]) or "").startswith("no record, but 4 bytes")
    assert length_fault([b"text"]) is None
