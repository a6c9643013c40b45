"""What a shard takes from one that it follows: groups, and heads of copies, as they come from outside."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pyshard.errors import BadRequest
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import decode_groups, decode_head, encode_group, encode_groups
from pyshard.protocol.group_outline import FEW, MOST_CHANGES, MOST_RANGES_BYTES
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.settings import settings

GOOD = ChangeGroup(2**63 - 1, 2**63 - 1, 2**63 - 1, [], {"a": 1, "b": 2**32 - 1}, b"text", 2**32)
CHANGE = Change(0, 5, b"k", 0, 0, None)


@pytest.mark.parametrize(
    "field",
    [
        {"sequence": 2**63},
        {"sequence": -1},
        {"ballot": 2**63},
        {"ballot": -1},
        {"version": 2**63},
        {"version": -1},
        {"next_index": 2**32 + 1},
        {"next_index": -1},
        {"indexes": {"a": 2**32}},
        {"indexes": {"a": 0}},
    ],
)
def test_numbers_that_no_store_has(field: dict[str, int]) -> None:
    """They are refused in heads, and in groups; the highest ones that a store has aren't."""
    assert decode_head(encode_group(GOOD)) == GOOD
    assert decode_groups(encode_groups([GOOD])) == [GOOD]
    bad = replace(GOOD, **field)
    with pytest.raises(BadRequest, match="numbers that a store can have"):
        decode_head(encode_group(bad))
    with pytest.raises(BadRequest, match="numbers that a store can have"):
        decode_groups(encode_groups([GOOD, bad]))


def test_a_head_has_no_changes() -> None:
    """What a copy has comes in its pages."""
    with pytest.raises(BadRequest, match="found 1 changes, expected none"):
        decode_head(encode_group(replace(GOOD, changes=[CHANGE])))


def test_the_most_changes() -> None:
    """So many are taken, in one group or in several, and not one more."""
    half = ChangeGroup(1, 0, 1, [CHANGE] * (MOST_CHANGES // 2))
    assert len(decode_groups(encode_groups([half, half]))) == 2
    with pytest.raises(BadRequest, match="found 262,145 changes"):
        decode_groups(encode_groups([half, half, ChangeGroup(2, 0, 1, [CHANGE])]))


def test_what_is_long_is_looked_at_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that are past the most aren't even read, whether they could be or not."""
    announced = (MOST_CHANGES + 1).to_bytes(4, "big")
    group = b"\x94\x01\x00\x01\xdd" + announced + b"\xc0" * (MOST_CHANGES + 1)
    padding = encode_groups([ChangeGroup(1, 0, 1, [], None, bytes(FEW))])[1:]
    with pytest.raises(BadRequest, match="found 262,145 changes"):
        decode_groups(b"\x92" + padding + group)
    with pytest.raises(BadRequest, match="found 1 changes"):
        decode_head(encode_group(ChangeGroup(1, 0, 1, [CHANGE], None, bytes(FEW))))


def test_indexes_and_ranges() -> None:
    """There are as many indexes as a cluster has, and bytes of ranges as one needs."""
    text = bytes(FEW)
    most = {f"{number}": number + 1 for number in range(settings.MAX_INDEXES)}
    assert decode_head(encode_group(ChangeGroup(1, 0, 1, [], most, text))).indexes == most
    with pytest.raises(BadRequest, match="1,001 indexes"):
        decode_head(encode_group(ChangeGroup(1, 0, 1, [], {**most, "one more": 2000}, text)))
    for number, fits in ((MOST_RANGES_BYTES // 11 - 10, True), (MOST_RANGES_BYTES // 10, False)):
        ranges = StoreRanges(tuple((place, place + 1) for place in range(70_000, 70_000 + number)))
        group = ChangeGroup(1, 0, 1, [], None, text, 0, ranges)
        if fits:
            assert decode_groups(encode_groups([group])) == [group]
        else:
            with pytest.raises(BadRequest, match="bytes of ranges or more"):
                decode_groups(encode_groups([group]))
