"""The rows that the target of a move takes from its source."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from shard.pulling import INDEXES as PULLED_INDEXES
from shard.pulling import KEYS, MOVING, Pulling, records
from shard.states import STATE

from pyshard.errors import BadRequest, ShardBehind
from pyshard.model.document_encoding import encode
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import Change
from pyshard.settings import settings
from pyshard.shard.pulled_rows import refuse_odd_rows, row_check

RECORD = encode({"a": 1})[0]
GOOD = Change(0, slot_of(b"k"), b"k", 7, 0, RECORD)
NAMED = Change(3, slot_of(b"k", b"pages"), b"k", 7, 0, RECORD)
INDEXES = {"pages": 3}
INSIDE = next(key for key in KEYS if in_ranges(slot_of(key), MOVING))


@pytest.mark.parametrize("number", [1, 100])
def test_what_clients_store(number: int) -> None:
    """Records and removals of every index, with long keys, or letters that are no ASCII."""
    keys = ["k", "ä" * 20, "k" * settings.MAX_KEY_BYTES, *(f"{each}" for each in range(number))]
    texts = [key.encode() for key in keys]
    changes = [replace(GOOD, key=key, slot=slot_of(key)) for key in texts]
    changes += [replace(NAMED, key=key, slot=slot_of(key, b"pages"), record=None, version=0) for key in texts]
    refuse_odd_rows(changes, INDEXES, 4)


ODD = {
    "another slot": (replace(GOOD, slot=GOOD.slot + 1), "found for key 'k' slot"),
    "the slot of another index": (replace(NAMED, slot=GOOD.slot), "found for key 'k' of index 'pages' slot"),
    "a removal in another slot": (replace(GOOD, slot=0, record=None), "found for key 'k' slot 0"),
    "no UTF-8": (replace(GOOD, key=b"\xff", slot=slot_of(b"\xff")), "not UTF-8, at byte 0"),
    "a removal of no UTF-8": (replace(GOOD, key=b"a\xff", record=None, slot=slot_of(b"a\xff")), "not UTF-8, at byte 1"),
    "a long key": (replace(GOOD, key=bytes(65_537), slot=slot_of(bytes(65_537))), "a key of 65,537 bytes"),
    "no record": (replace(GOOD, record=b"text"), "no record, but 4 bytes"),
    "a long record": (replace(GOOD, record=RECORD + bytes(settings.MAX_DOCUMENT_BYTES)), "a record of 16,777,"),
    "two halves of a letter": (replace(GOOD, key=b"\xc3", slot=slot_of(b"\xc3")), "not UTF-8"),
}


@pytest.mark.parametrize(("change", "why"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("others", [0, 20])
def test_what_no_client_stores(change: Change, why: str, others: int) -> None:
    """It is refused, wherever among others it stands."""
    for place in {0, others // 2, others}:
        changes = [GOOD] * place + [change] + [NAMED] * (others - place)
        with pytest.raises(BadRequest, match=why):
            refuse_odd_rows(changes, INDEXES, 4)


def test_indexes() -> None:
    """What is of a dropped index isn't looked at, and one that is not known yet is waited for."""
    refuse_odd_rows([replace(NAMED, index=2, slot=0)], INDEXES, 4)
    with pytest.raises(ShardBehind):
        refuse_odd_rows([replace(NAMED, index=4)], INDEXES, 4)
    row_check(lambda: STATE)([GOOD])


def test_an_odd_row_is_not_stored(pulling: Pulling) -> None:
    """The pull ends with why, in its copy as well as behind it, and the target has nothing of it."""
    pulling.check_rows = lambda changes: refuse_odd_rows(changes, PULLED_INDEXES, 2)
    pulling.new_pull()
    pulling.source.fill({INSIDE: b"odd"})

    def refused() -> None:
        pulling.run()
        for _ in range(100):
            pulling.step()
        (found,) = pulling.outcome
        assert found.check(BadRequest)

    refused()
    assert records(pulling.target, MOVING) == []
    pulling.source.fill({INSIDE: RECORD})
    pulling.run()
    pulling.catch_up()
    before = pulling.pull.progress.sequence
    pulling.interrupt()
    pulling.source.fill({INSIDE: b"odd"})
    refused()
    assert [change.record for change in records(pulling.target, MOVING)] == [RECORD]
    assert pulling.pull.progress.sequence == before
