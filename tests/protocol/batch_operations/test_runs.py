"""Batches on the wire: the runs that arrive are those that were sent, and misshapen ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.batch_operations.samples import BYTES, NIL, RUNS, run_lists, with_columns

from pyshard.errors import BadRequest
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, decode_answers, encode_answers
from pyshard.protocol.batch_encoding import decode_readers_runs, decode_runs, encode_runs
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    HEAD_BYTES,
    KEEP,
    LONGEST_TTL,
    PRESENT,
    READING_RUNS,
    Has,
    Increment,
    Pop,
    Read,
    Remove,
    Run,
    Touch,
    Write,
    changes,
    columns,
    part,
    verb_of,
    weight,
)
from pyshard.settings import settings


def test_runs_as_bytes() -> None:
    """Each run is one array: verb, index, keys and what else the verb wants for each key."""
    assert encode_runs(RUNS) == BYTES
    assert decode_runs(BYTES) == RUNS


@pytest.mark.parametrize(
    ("data", "run"),
    [
        (b"\x94\xa5write\xa0\x91\xc4\x01a\x91\xc4\x06" + NIL, Write("", [b"a"], [NIL])),
        (b"\x95\xa5write\xa0\x91\xc4\x01a\x91\xc4\x06" + NIL + b"\x91\x00", Write("", [b"a"], [NIL], [ABSENT])),
        (b"\x93\xa3pop\xa0\x91\xc4\x01a", Pop("", [b"a"])),
        (b"\x93\xa6remove\xa0\x91\xc4\x01a", Remove("", [b"a"])),
        (b"\x94\xa5touch\xa0\x91\xc4\x01a\x91\x05", Touch("", [b"a"], [5])),
        (b"\x95\xa9increment\xa0\x91\xc4\x01a\x91\xc4\x011\x91\xc4\x012", Increment("", [b"a"], [b"1"], [b"2"])),
    ],
)
def test_conditions_and_ttls_may_be_left_out(data: bytes, run: Run) -> None:
    """A peer that wants no conditions and no times to live needn't send any."""
    assert decode_runs(b"\x91" + data) == [run]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Read("", [b"a"]), []),
        (Write("", [b"a"], [b"r"]), [[b"r"], None, None]),
        (Write("", [b"a"], [b"r"], [7], [5]), [[b"r"], [7], [5]]),
        (Pop("", [b"a"], [7]), [[7]]),
        (Touch("", [b"a"], [5]), [[5], None]),
        (Touch("", [b"a"], [5], [7]), [[5], [7]]),
        (Increment("", [b"a"], [b"1"], [b"2"]), [[b"1"], [b"2"], None]),
        (Increment("", [b"a"], [b"1"], [b"2"], [5]), [[b"1"], [b"2"], [5]]),
    ],
)
def test_columns(run: Run, expected: list[Any]) -> None:
    """The columns of a run are its fields after index and keys."""
    assert columns(run) == expected


@given(with_columns(), st.data())
def test_part(run: Run, data: st.DataObject) -> None:
    """A part of a run has the elements of every column at the positions, in their order."""
    positions = data.draw(st.lists(st.sampled_from(range(len(run.keys))), max_size=5)) if run.keys else []
    picked = part(run, positions)
    assert (type(picked), picked.index, picked.keys) == (
        type(run),
        run.index,
        [run.keys[position] for position in positions],
    )
    assert columns(picked) == [
        None if column is None else [column[position] for position in positions] for column in columns(run)
    ]


def test_what_stands_before_a_record() -> None:
    """Versions, expiries and remaining times have 8 bytes each, big-endian."""
    assert VERSION.pack(1) == b"\0\0\0\0\0\0\0\1"
    assert ITEM.pack(1, 2, 3) == VERSION.pack(1) + VERSION.pack(2) + VERSION.pack(3)
    assert (ALWAYS, ABSENT, PRESENT, KEEP) == (-1, 0, -2, -1)


@given(run_lists)
def test_runs_round_trip(runs: list[Run]) -> None:
    """The runs that arrive are those that were sent, in their order."""
    arrived = decode_runs(encode_runs(runs))
    assert arrived == runs
    assert [type(run) for run in arrived] == [type(run) for run in runs]


def test_runs_are_frozen() -> None:
    """Nobody changes a run on its way."""
    for run in RUNS:
        with pytest.raises(AttributeError):
            run.index = "links"  # type: ignore[misc]


def test_empty_batch() -> None:
    """A batch may be empty, and so is its answer."""
    assert decode_runs(encode_runs([])) == []
    assert decode_answers(encode_answers([]), []) == []


def test_later_fields_are_skipped() -> None:
    """A newer peer may append fields to a run and to an answer."""
    assert decode_runs(b"\x91\x94\xa3has\xa0\x91\xc4\x01a\xa3new") == [Has("", [b"a"])]
    assert decode_runs(b"\x91\x97\xa5write\xa0\x90\x90\xc0\xc0\xa3new") == [Write("", [], [])]
    assert decode_answers(b"\x91\x93\x91\xc3\x80\xa3new", [Has("", [b"a"])]) == [Answer([True])]


@pytest.mark.parametrize(
    ("data", "place", "found"),
    [
        pytest.param(
            b"\x91\x94\xa5write\xa0\x92\xc4\x01a\xc4\x01b\x91\xc4\x00",
            "run 0 (write), records",
            (2, 1),
            id="write, too few",
        ),
        pytest.param(b"\x91\x94\xa5write\xa0\x90\x91\xc4\x00", "run 0 (write), records", (0, 1), id="write, too many"),
        pytest.param(
            b"\x92\x93\xa3has\xa0\x90\x94\xa5write\xa0\x91\xc4\x01a\x90",
            "run 1 (write), records",
            (1, 0),
            id="write, behind another run",
        ),
        pytest.param(
            b"\x91\x95\xa5write\xa0\x91\xc4\x01a\x91\xc4\x00\x90",
            "run 0 (write), conditions",
            (1, 0),
            id="write, conditions",
        ),
        pytest.param(
            b"\x91\x96\xa5write\xa0\x91\xc4\x01a\x91\xc4\x00\xc0\x92\x00\x00",
            "run 0 (write), ttls",
            (1, 2),
            id="write, times to live",
        ),
        pytest.param(
            b"\x91\x94\xa3pop\xa0\x91\xc4\x01a\x92\x01\x02", "run 0 (pop), conditions", (1, 2), id="pop, conditions"
        ),
        pytest.param(
            b"\x91\x94\xa6remove\xa0\x91\xc4\x01a\x90", "run 0 (remove), conditions", (1, 0), id="remove, conditions"
        ),
        pytest.param(
            b"\x91\x94\xa5touch\xa0\x91\xc4\x01a\x90", "run 0 (touch), ttls", (1, 0), id="touch, times to live"
        ),
        pytest.param(
            b"\x91\x95\xa5touch\xa0\x91\xc4\x01a\x91\x05\x90",
            "run 0 (touch), conditions",
            (1, 0),
            id="touch, conditions",
        ),
        pytest.param(
            b"\x91\x95\xa9increment\xa0\x91\xc4\x01a\x90\x91\xc4\x00",
            "run 0 (increment), amounts",
            (1, 0),
            id="increment, amounts",
        ),
        pytest.param(
            b"\x91\x95\xa9increment\xa0\x90\x90\x91\xc4\x00",
            "run 0 (increment), initials",
            (0, 1),
            id="increment, initials",
        ),
        pytest.param(
            b"\x91\x96\xa9increment\xa0\x90\x90\x90\x91\x05",
            "run 0 (increment), ttls",
            (0, 1),
            id="increment, times to live",
        ),
    ],
)
def test_columns_are_as_long_as_the_keys(data: bytes, place: str, found: tuple[int, int]) -> None:
    """A run with a column of another length than its keys is refused."""
    with pytest.raises(BadRequest) as refused:
        decode_runs(data)
    assert str(refused.value) == (
        f"the batch can't be read: {place}: found {found[1]} elements, expected {found[0]}, as many as there are keys"
    )


@given(run_lists)
def test_a_readers_runs(runs: list[Run]) -> None:
    """What a peer that may only read sends is what anyone sends, but that changing runs are given by their length."""
    expected = [len(run.keys) if changes(run) else run for run in runs]
    assert decode_readers_runs(encode_runs(runs)) == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Read("pages", [b"a", b"bc"]), 3),
        (Write("", [b"a", b"bc"], [b"record", b""], [0, 0], [1, 1]), 9),
        (Touch("", [b"a"], [5], [7]), 1),
        (Increment("", [b"a"], [b"amount"], [b"initial"], [5]), 14),
        (Pop("", [b"a"], [7]), 1),
    ],
)
def test_weight(run: Run, expected: int) -> None:
    """The weight of a run is the bytes of its keys and records."""
    assert weight(run) == expected


@given(run_lists)
def test_weight_of_any_run(runs: list[Run]) -> None:
    """The weight of any run is the lengths of its keys and records, added up."""
    for run in runs:
        records = [*run.records] if isinstance(run, Write) else []
        records += [*run.amounts, *run.initials] if isinstance(run, Increment) else []
        assert weight(run) == sum(len(text) for text in [*run.keys, *records])


def test_verbs() -> None:
    """A run's verb is its word on the wire. The verbs of the table only read; all others may change something."""
    assert [verb_of(run) for run in RUNS] == [
        "read", "has", "item", "write", "write", "pop", "pop", "remove", "touch", "touch", "increment", "increment",
    ]  # fmt: skip
    assert {verb_of(run) for run in RUNS if not changes(run)} == set(READING_RUNS)
    assert [type(run) for run in RUNS if not changes(run)] == list(READING_RUNS.values())


@pytest.mark.parametrize("ttl", [-2, KEEP, LONGEST_TTL + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", ["write", "touch", "increment"])
def test_times_to_live_have_bounds(kind: str, ttl: int) -> None:
    """A time to live is 0 to 100 years, or of a write `KEEP`: no peer can store an expiry that isn't one."""
    for tried, fits in ((ttl, ttl == KEEP and kind == "write"), (0, True), (LONGEST_TTL, True)):
        made: dict[str, Run] = {
            "write": Write("", [b"a"], [NIL], None, [tried]),
            "touch": Touch("", [b"a"], [tried]),
            "increment": Increment("", [b"a"], [b""], [b""], [tried]),
        }
        run = made[kind]
        if fits:
            assert decode_runs(encode_runs([run])) == [run]
        else:
            with pytest.raises(
                BadRequest, match=rf"^the batch can't be read: run 0 \({kind}\), ttls, element 0: expected int "
            ):
                decode_runs(encode_runs([run]))


@pytest.mark.parametrize(
    "run",
    [
        Write("", [b"\xff"], [NIL]),
        Write("", [b"k" * (settings.MAX_KEY_BYTES + 1)], [NIL]),
        Write("", [b"key"], [NIL + b"r" * settings.MAX_DOCUMENT_BYTES]),
        Write("", [b"one", b"k" * (settings.MAX_KEY_BYTES + 1)], [NIL] * 2),
        Write("", [b"one", b"two"], [NIL, NIL + b"r" * settings.MAX_DOCUMENT_BYTES]),
        Write("", [b"\xc3", b"\xa9"], [NIL] * 2),  # which together are a letter
        Increment("", [b"\xc3"], [b"amount"], [b"initial"]),
        Increment("", [b"a"], [b"amount"], [b"r" * (settings.MAX_DOCUMENT_BYTES + HEAD_BYTES + 1)]),
    ],
)
def test_what_others_could_not_read_is_refused(run: Run) -> None:
    """A shard takes no key that isn't text or is too long, and no record past the limit: they would break readers."""
    with pytest.raises(BadRequest):
        decode_runs(encode_runs([run]))


@pytest.mark.parametrize("others", [0, 1, 100])
def test_what_is_no_record_is_refused(others: int) -> None:
    """The batch is refused, and the key is named; of a few records as of many."""
    keys, records = [b"fine"] * others, [NIL] * others
    for index, shown in (("", ""), ("pages", " of index 'pages'")):
        for bad, why in (
            (b"text", "4 bytes"),
            (NIL[:-1] + b"\xc1", "the byte 0xc1"),
            (NIL[:1] + bytes(5), "a size of 0"),
        ):
            run = Write(index, [*keys, b"a key", *keys], [*records, bad, *records])
            with pytest.raises(BadRequest) as refused:
                decode_runs(encode_runs([run]))
            assert str(refused.value).startswith(f"the batch has no record for key 'a key'{shown}: found ")
            assert why in str(refused.value)


def is_text(key: bytes) -> bool:
    """Whether a key is UTF-8."""
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(st.text(max_size=2).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=2)))
def test_keys_that_are_stored_are_text(keys: list[bytes]) -> None:
    """A batch is taken exactly when each of its keys by itself is UTF-8, though they are looked at together first."""
    run = Write("", keys, [NIL] * len(keys))
    if all(map(is_text, keys)):
        assert decode_runs(encode_runs([run])) == [run]
    else:
        with pytest.raises(BadRequest, match=r"^the batch has a key that is not UTF-8, at byte [0-9]: ."):
            decode_runs(encode_runs([run]))


def test_largest_things_pass() -> None:
    """Keys and records at their limits are accepted. Many keys together have no limit but the box's."""
    run = Write("", [b"k" * settings.MAX_KEY_BYTES], [NIL + b"r" * (settings.MAX_DOCUMENT_BYTES - 1)])
    assert decode_runs(encode_runs([run])) == [run]
    many = Write("", [b"k" * settings.MAX_KEY_BYTES, "é".encode()], [NIL + b"r" * (9 * 1024 * 1024)] * 2)
    assert decode_runs(encode_runs([many])) == [many]
