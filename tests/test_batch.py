"""Batches and answers on the wire: what arrives equals what was sent, and garbage is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard import documents
from pyshard.batch import (
    ABSENT,
    ALWAYS,
    HEAD_BYTES,
    ITEM,
    LONGEST_TTL,
    VERSION,
    Answer,
    Has,
    Increment,
    Item,
    Pop,
    Read,
    Remove,
    Result,
    Run,
    Touch,
    Write,
    columns,
    decode_answers,
    decode_keys,
    decode_runs,
    encode_answers,
    encode_keys,
    encode_runs,
    part,
    weight,
)
from pyshard.errors import BY_CODE, BadRequest, PyshardError, ShardFull, WrongShard
from pyshard.settings import settings

_T = TypeVar("_T")

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.lists(texts.map(str.encode))


@st.composite
def with_columns(draw: st.DrawFn) -> Run:
    """A run that has more for each key than the key."""
    index, keys = draw(texts), draw(st.lists(texts.map(str.encode), max_size=5))

    def column(values: st.SearchStrategy[_T]) -> list[_T]:
        return draw(st.lists(values, min_size=len(keys), max_size=len(keys)))

    verb = draw(st.sampled_from(["write", "pop", "remove", "touch", "increment"]))
    if verb == "increment":
        return Increment(index, keys, column(st.binary()), column(st.binary()))
    ttls = column(st.integers(0, LONGEST_TTL))
    if verb == "touch":
        return Touch(index, keys, ttls)
    conditions = draw(st.sampled_from([None, column(st.integers(-1, 2**64 - 1))]))
    if verb == "write":
        return Write(index, keys, column(st.binary()), conditions, draw(st.sampled_from([None, ttls])))
    return Pop(index, keys, conditions) if verb == "pop" else Remove(index, keys, conditions)


run_lists: st.SearchStrategy[list[Run]] = st.lists(
    with_columns() | st.builds(lambda kind, *rest: kind(*rest), st.sampled_from([Read, Has, Item]), texts, keys),
    max_size=8,
)


@st.composite
def answered(draw: st.DrawFn) -> tuple[list[Run], list[Answer]]:
    """Runs, with answers that fit."""
    runs = draw(run_lists)
    answers = []
    for run in runs:
        count = len(run.keys)
        kinds: st.SearchStrategy[Result] = st.booleans()
        if not isinstance(run, Has | Write | Touch):
            kinds = st.binary(min_size=ITEM.size)
        if isinstance(run, Read | Item | Pop | Remove):
            kinds |= st.none()
        results = draw(st.lists(kinds, min_size=count, max_size=count))
        positions = st.integers(0, count - 1) if count else st.nothing()
        answer = Answer(results)
        for position, error in draw(st.dictionaries(positions, st.tuples(texts, texts))).items():
            results[position], answer.errors[position] = None, error
        answers.append(answer)
    return runs, answers


#: A batch with each verb, with and without what may be left out.
RUNS: list[Run] = [
    Read("", [b"a", b"b"]),
    Has("pages", [b"a"]),
    Item("", [b"a"]),
    Write("", [b"a"], [b"\x01"]),
    Write("", [b"a", b"b"], [b"\x01", b""], [ABSENT, ALWAYS], [0, 1000]),
    Pop("", [b"a"]),
    Pop("", [b"a"], [7]),
    Remove("", []),
    Touch("", [b"a"], [5]),
    Increment("", [b"a"], [b"\x01"], [b"\x02"]),
]

#: `RUNS`, as every peer reads and writes them.
BYTES = (
    b"\x9a"
    b"\x93\xa4read\xa0\x92\xc4\x01a\xc4\x01b"
    b"\x93\xa3has\xa5pages\x91\xc4\x01a"
    b"\x93\xa4item\xa0\x91\xc4\x01a"
    b"\x96\xa5write\xa0\x91\xc4\x01a\x91\xc4\x01\x01\xc0\xc0"
    b"\x96\xa5write\xa0\x92\xc4\x01a\xc4\x01b\x92\xc4\x01\x01\xc4\x00\x92\x00\xff\x92\x00\xcd\x03\xe8"
    b"\x94\xa3pop\xa0\x91\xc4\x01a\xc0"
    b"\x94\xa3pop\xa0\x91\xc4\x01a\x91\x07"
    b"\x94\xa6remove\xa0\x90\xc0"
    b"\x94\xa5touch\xa0\x91\xc4\x01a\x91\x05"
    b"\x95\xa9increment\xa0\x91\xc4\x01a\x91\xc4\x01\x01\x91\xc4\x01\x02"
)


def test_runs_as_bytes() -> None:
    """Each run is one array: verb, index, keys and what else the verb wants for each key."""
    assert encode_runs(RUNS) == BYTES
    assert decode_runs(BYTES) == RUNS


@pytest.mark.parametrize(
    ("data", "run"),
    [
        (b"\x94\xa5write\xa0\x91\xc4\x01a\x91\xc4\x01\x01", Write("", [b"a"], [b"\x01"])),
        (b"\x95\xa5write\xa0\x91\xc4\x01a\x91\xc4\x01\x01\x91\x00", Write("", [b"a"], [b"\x01"], [ABSENT])),
        (b"\x93\xa3pop\xa0\x91\xc4\x01a", Pop("", [b"a"])),
        (b"\x93\xa6remove\xa0\x91\xc4\x01a", Remove("", [b"a"])),
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
        (Touch("", [b"a"], [5]), [[5]]),
        (Increment("", [b"a"], [b"1"], [b"2"]), [[b"1"], [b"2"]]),
    ],
)
def test_columns(run: Run, expected: list[Any]) -> None:
    """The columns of a run are its fields behind index and keys."""
    assert columns(run) == expected


@given(with_columns(), st.data())
def test_part(run: Run, data: st.DataObject) -> None:
    """A part of a run has, of every column, what stands at the positions, in their order."""
    positions = data.draw(st.lists(st.sampled_from(range(len(run.keys))), max_size=5)) if run.keys else []
    picked = part(run, positions)
    assert (type(picked), picked.index, picked.keys) == (type(run), run.index, [run.keys[one] for one in positions])
    assert columns(picked) == [
        None if column is None else [column[one] for one in positions] for column in columns(run)
    ]


def test_what_stands_before_a_record() -> None:
    """Versions, expiries and remaining times have 8 bytes each, big-endian."""
    assert VERSION.pack(1) == b"\0\0\0\0\0\0\0\1"
    assert ITEM.pack(1, 2, 3) == VERSION.pack(1) + VERSION.pack(2) + VERSION.pack(3)
    assert (ALWAYS, ABSENT) == (-1, 0)


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
    ("data", "found"),
    [
        pytest.param(b"\x91\x94\xa5write\xa0\x92\xc4\x01a\xc4\x01b\x91\xc4\x00", (2, 1), id="write, too few"),
        pytest.param(b"\x91\x94\xa5write\xa0\x90\x91\xc4\x00", (0, 1), id="write, too many"),
        pytest.param(
            b"\x92\x93\xa3has\xa0\x90\x94\xa5write\xa0\x91\xc4\x01a\x90", (1, 0), id="write, behind another run"
        ),
        pytest.param(b"\x91\x95\xa5write\xa0\x91\xc4\x01a\x91\xc4\x00\x90", (1, 0), id="write, conditions"),
        pytest.param(
            b"\x91\x96\xa5write\xa0\x91\xc4\x01a\x91\xc4\x00\xc0\x92\x00\x00", (1, 2), id="write, times to live"
        ),
        pytest.param(b"\x91\x94\xa3pop\xa0\x91\xc4\x01a\x92\x01\x02", (1, 2), id="pop, conditions"),
        pytest.param(b"\x91\x94\xa6remove\xa0\x91\xc4\x01a\x90", (1, 0), id="remove, conditions"),
        pytest.param(b"\x91\x94\xa5touch\xa0\x91\xc4\x01a\x90", (1, 0), id="touch, times to live"),
        pytest.param(b"\x91\x95\xa9increment\xa0\x91\xc4\x01a\x90\x91\xc4\x00", (1, 0), id="increment, amounts"),
        pytest.param(b"\x91\x95\xa9increment\xa0\x90\x90\x91\xc4\x00", (0, 1), id="increment, initials"),
    ],
)
def test_columns_are_as_long_as_the_keys(data: bytes, found: tuple[int, int]) -> None:
    """A run with a column of another length than its keys is refused."""
    with pytest.raises(BadRequest) as refused:
        decode_runs(data)
    assert str(refused.value) == f"the batch has a run of {found[0]} keys with a column of {found[1]}"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Read("pages", [b"a", b"bc"]), 3),
        (Write("", [b"a", b"bc"], [b"record", b""], [0, 0], [1, 1]), 9),
        (Increment("", [b"a"], [b"amount"], [b"initial"]), 14),
        (Pop("", [b"a"], [7]), 1),
    ],
)
def test_weight(run: Run, expected: int) -> None:
    """A run weighs what its keys and records have."""
    assert weight(run) == expected


@pytest.mark.parametrize("ttl", [-1, LONGEST_TTL + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", ["write", "touch"])
def test_times_to_live_have_bounds(kind: str, ttl: int) -> None:
    """A time to live is 0 to 100 years: no peer can store an expiry that isn't one."""
    for tried, fits in ((ttl, False), (0, True), (LONGEST_TTL, True)):
        run: Run = Touch("", [b"a"], [tried]) if kind == "touch" else Write("", [b"a"], [b""], None, [tried])
        if fits:
            assert decode_runs(encode_runs([run])) == [run]
        else:
            with pytest.raises(BadRequest, match="the batch can't be read: Expected `int`"):
                decode_runs(encode_runs([run]))


def test_answers_as_bytes() -> None:
    """An answer is one array: the results, then position → code and message of what was refused."""
    answers = [Answer([b"12345678", None]), Answer([True, None, False], {1: ("SHARD_FULL", "why")})]
    data = b"\x92\x92\x92\xc4\x0812345678\xc0\x80\x92\x93\xc3\xc0\xc2\x81\x01\x92\xaaSHARD_FULL\xa3why"
    assert encode_answers(answers) == data
    assert decode_answers(data, [Read("", [b"a", b"b"]), Has("", [b"a", b"b", b"c"])]) == answers


@given(answered())
def test_answers_round_trip(pair: tuple[list[Run], list[Answer]]) -> None:
    """The answers that arrive are those that were sent, types of results included."""
    runs, answers = pair
    arrived = decode_answers(encode_answers(answers), runs)
    assert arrived == answers
    assert [[type(one) for one in answer.results] for answer in arrived] == [
        [type(one) for one in answer.results] for answer in answers
    ]


@pytest.mark.parametrize(
    ("answers", "sizes"),
    [
        ([], "[]"),
        ([Answer([True])], "[1]"),
        ([Answer([True, True]), Answer([True])], "[2, 1]"),
        ([Answer([]), Answer([True]), Answer([])], "[0, 1, 0]"),
        ([Answer([True]), Answer([])], "[1, 0]"),
    ],
)
def test_answers_fit_the_runs(answers: list[Answer], sizes: str) -> None:
    """Answers of another number, or with another number of results, are refused."""
    with pytest.raises(BadRequest) as refused:
        decode_answers(encode_answers(answers), [Has("", [b"a"]), Has("", [b"b", b"c"])])
    assert str(refused.value) == f"the answers' sizes are {sizes}, not those of the runs that were sent"


@pytest.mark.parametrize("position", [-(2**63), -1, 2, 2**64 - 1])
def test_errors_have_a_position(position: int) -> None:
    """An error that names no key of the run is refused, also next to one that does."""
    answers = [Answer([None, None], {1: ("SHARD_FULL", "why"), position: ("SHARD_FULL", "why")})]
    with pytest.raises(BadRequest) as refused:
        decode_answers(encode_answers(answers), [Has("", [b"a", b"b"])])
    assert str(refused.value) == "the answers name a position that doesn't exist"


def test_errors_may_stand_at_both_ends() -> None:
    """The first and the last operation of a run can be refused."""
    answers = [Answer([None, True, None], {0: ("SHARD_FULL", "first"), 2: ("SHARD_FULL", "last")})]
    assert decode_answers(encode_answers(answers), [Has("", [b"a", b"b", b"c"])]) == answers


def test_refuse() -> None:
    """A refused operation is put down with its code and message."""
    answer = Answer([True, None])
    answer.refuse(1, ShardFull("no room"))
    assert answer.errors == {1: ("SHARD_FULL", "no room")}


def test_refusals_of_one_answer_are_its_own() -> None:
    """Answers made without errors don't share their errors."""
    Answer([None]).refuse(0, ShardFull("no room"))
    assert Answer([None]).errors == {}


def test_outcomes() -> None:
    """Results and errors come in the order of the keys, and the results stay as they were."""
    answer = Answer([b"x", None, None, True], {2: ("WRONG_SHARD", "moved"), 1: ("FROM_THE_FUTURE", "why")})
    outcomes = [(type(one), str(one)) if isinstance(one, PyshardError) else one for one in answer.outcomes()]
    assert outcomes == [b"x", (PyshardError, "FROM_THE_FUTURE: why"), (WrongShard, "moved"), True]
    assert answer.results == [b"x", None, None, True]


@pytest.mark.parametrize("cls", BY_CODE.values())
def test_every_error_can_be_an_outcome(cls: type[PyshardError]) -> None:
    """An error that concerns one operation arrives as the class that it was."""
    answer = Answer([None])
    answer.refuse(0, cls("why"))
    (outcome,) = decode_answers(encode_answers([answer]), [Pop("", [b"a"])])[0].outcomes()
    assert (type(outcome), str(outcome)) == (cls, "why")


@given(keys)
def test_keys_round_trip(page: list[bytes]) -> None:
    """The keys of a page arrive as they were sent."""
    assert decode_keys(encode_keys(page)) == page


def test_keys_as_bytes() -> None:
    """A page of keys is one array of binaries."""
    assert encode_keys([b"a", b"bc"]) == b"\x92\xc4\x01a\xc4\x02bc"


def test_remove_answers_with_a_records_head() -> None:
    """What `remove` answers with is the part of a record that holds its size."""
    record, size = documents.encode("hello world")
    assert documents.HEAD.size == HEAD_BYTES
    assert documents.size_in(record[:HEAD_BYTES]) == size == 60


# -- garbage -------------------------------------------------------------------------------------------------------


def decode_one_answer(data: bytes) -> list[Answer]:
    """Answers to a batch of one run with one key."""
    return decode_answers(data, [Read("", [b"a"])])


Decoder = Callable[[bytes], Any]


@pytest.mark.parametrize(
    ("decode", "what"), [(decode_runs, "batch"), (decode_one_answer, "answers"), (decode_keys, "keys")]
)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\x01",
        b"\xa1a",
        b"\x90\x90",
        b"\x91",
        b"\x91\xc0",
        b"\x91\xa1a",
        b"\x91\xa1\xff",
        b"\x91\x90",
        b"\xdd\xff\xff\xff\xff",
        pytest.param(b"\x91" * 100_000, id="nested 100,000 deep"),
    ],
)
def test_nothing_at_all(decode: Decoder, what: str, data: bytes) -> None:
    """What is neither batch nor answer nor keys is refused by each of them."""
    with pytest.raises(BadRequest, match=rf"^the {what} can't be read: ."):
        decode(data)


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(b"\x93\xa4nope\xa0\x90", id="unknown verb"),
        pytest.param(b"\x93\xa4\xff\xff\xff\xff\xa0\x90", id="verb that is no UTF-8"),
        pytest.param(b"\x93\x01\xa0\x90", id="verb that is no text"),
        pytest.param(b"\x92\xa4read\xa0", id="no keys"),
        pytest.param(b"\x93\xa5write\xa0\x90", id="no records"),
        pytest.param(b"\x93\xa4read\xc0\x90", id="index that is no text"),
        pytest.param(b"\x93\xa4read\xa1\xff\x90", id="index that is no UTF-8"),
        pytest.param(b"\x93\xa4read\xa0\x91\xa1a", id="key that is no binary"),
        pytest.param(b"\x93\xa4read\xa0\xc4\x01a", id="keys that are no array"),
        pytest.param(b"\x94\xa5write\xa0\x91\xc4\x01a\x91\xc0", id="record that is no binary"),
        pytest.param(b"\x95\xa5write\xa0\x90\x90\x91\xa1a", id="condition that is no int"),
        pytest.param(b"\x94\xa3pop\xa0\x90\x91\xcb" + b"\0" * 8, id="condition that is a float"),
        pytest.param(b"\x93\xa5touch\xa0\x90", id="no times to live"),
        pytest.param(b"\x94\xa5touch\xa0\x91\xc4\x01a\xc0", id="times to live that are nil"),
        pytest.param(b"\x94\xa9increment\xa0\x90\x90", id="no initial values"),
        pytest.param(b"\x94\xa3add\xa0\x90\x90", id="verb of an older version"),
        pytest.param(b"\x94\xa4read\xa0\x90" + b"\x91" * 100_000, id="later field nested 100,000 deep"),
    ],
)
def test_broken_run(run: bytes) -> None:
    """A run that breaks the form is refused, also behind a good one."""
    for data in (b"\x91" + run, b"\x92\x93\xa3has\xa0\x90" + run):
        with pytest.raises(BadRequest, match=r"^the batch can't be read: ."):
            decode_runs(data)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x91\x91\x01", id="result that is an int"),
        pytest.param(b"\x91\x91\xa1a", id="result that is a text"),
        pytest.param(b"\x92\x91\xc0\x90", id="errors that are no map"),
        pytest.param(b"\x92\x91\xc0\x81\xa1a\x92\xa1a\xa1a", id="position that is no int"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x91\xa1a", id="error without a message"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x93\xa1a\xa1a\xa1a", id="error with more than a message"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x92\xa1\xff\xa1a", id="code that is no UTF-8"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x92\xa1a\xa1\xff", id="message that is no UTF-8"),
        pytest.param(b"\x93\x91\xc0\x80" + b"\x91" * 100_000, id="later field nested 100,000 deep"),
    ],
)
def test_broken_answer(answer: bytes) -> None:
    """An answer that breaks the form is refused."""
    with pytest.raises(BadRequest, match=r"^the answers can't be read: ."):
        decode_one_answer(b"\x91" + answer)


anything: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(0, 3), inner),
    max_leaves=10,
)
damaged = st.builds(
    lambda at, some: BYTES[:at] + some + BYTES[at + len(some) :], st.integers(0, len(BYTES)), st.binary(max_size=4)
)


@given(st.binary() | st.builds(msgspec.msgpack.encode, anything) | damaged)
def test_garbage_is_a_bad_request(data: bytes) -> None:
    """Whatever the bytes are, decoding them raises nothing but BadRequest."""
    decoders: list[Decoder] = [decode_runs, decode_one_answer, decode_keys]
    for decode in decoders:
        with suppress(BadRequest):
            decode(data)


@given(st.lists(st.none() | st.booleans() | st.binary()))
def test_outcomes_without_errors_are_the_results(results: list[Result]) -> None:
    """Without errors, the outcomes are the results."""
    assert Answer(results).outcomes() == results


@pytest.mark.parametrize(
    "run",
    [
        Write("", [b"\xff"], [b"record"]),
        Write("", [b"k" * (settings.MAX_KEY_BYTES + 1)], [b"record"]),
        Write("", [b"key"], [b"r" * (settings.MAX_DOCUMENT_BYTES + HEAD_BYTES + 1)]),
        Increment("", [b"\xc3"], [b"amount"], [b"initial"]),
    ],
)
def test_what_others_could_not_read_is_refused(run: Run) -> None:
    """A shard takes no key that isn't text or is too long, and no record past the limit: they would break readers."""
    with pytest.raises(BadRequest):
        decode_runs(encode_runs([run]))


def test_largest_things_pass() -> None:
    """At the limits all is well."""
    run = Write("", [b"k" * settings.MAX_KEY_BYTES], [b"r" * (settings.MAX_DOCUMENT_BYTES + HEAD_BYTES)])
    assert decode_runs(encode_runs([run])) == [run]


def test_a_refusal_is_one_line() -> None:
    """What a refusal quotes of the peer's bytes doesn't break a log's lines, nor reach a terminal as it is."""
    with pytest.raises(BadRequest) as refused:
        decode_runs(msgspec.msgpack.encode([["re\n\x1b[31mad", "", []]]))
    assert str(refused.value) == r"the batch can't be read: Invalid value 're\n\x1b[31mad' - at `$[0][0]`"
