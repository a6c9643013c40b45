"""How much one batch may have a shard do: what is small on the wire can't keep it busy for long."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import attrs
import msgspec
import pytest
from clusters import KINDS, all_of, cluster_of
from stores import FAST_KINDS, Bench, prepared

from pyshard.errors import NotANumber, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.model.document_encoding import FORMAT, HEAD
from pyshard.protocol.batch_operations import ABSENT, Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write
from pyshard.settings import settings
from pyshard.storage import batch_executor

ONE = document_encoding.encode(1)[0]
OPERATIONS = 50
BIG = b"r" * 1000

#: Runs of `OPERATIONS` operations on one key, each of which has the shard copy its record; an int counts four times.
RUNS: list[Run] = [
    Touch("", [b"k"] * OPERATIONS, [0] * OPERATIONS),
    Increment("", [b"k"] * OPERATIONS, [ONE] * OPERATIONS, [ONE] * OPERATIONS),
]

#: Runs of as many operations whose condition isn't met.
UNMET: list[Run] = [
    Write("", [b"k"] * OPERATIONS, [b"r"] * OPERATIONS, [ABSENT] * OPERATIONS),
    Pop("", [b"k"] * OPERATIONS, [7] * OPERATIONS),
    Remove("", [b"k"] * OPERATIONS, [7] * OPERATIONS),
    Touch("", [b"k"] * OPERATIONS, [0] * OPERATIONS, [7] * OPERATIONS),
]


@pytest.fixture(params=FAST_KINDS)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A store of each kind whose batches may look at 10 records of `BIG`."""
    monkeypatch.setattr(batch_executor, "settings", attrs.evolve(settings, BATCH_WORK=10 * len(BIG)))
    with prepared(request.param) as made:
        made.fill({b"k": BIG})
        yield made


@pytest.mark.parametrize("run", RUNS, ids=lambda run: type(run).__name__)
def test_records_that_are_copied(bench: Bench, run: Run) -> None:
    """After so many bytes of records the rest of a batch is refused; the next batch begins with nothing counted."""
    most = 3 if isinstance(run, Increment) else 10
    for _ in range(2):
        (found,) = bench.answers(run)
        assert found.index("ANSWER_FULL") == most
        assert set(found[most:]) == {"ANSWER_FULL"}
    assert bench.answers(Has("", [b"k"]), run)[1].count("ANSWER_FULL") == OPERATIONS - most


@pytest.mark.parametrize(
    ("run", "most"),
    [
        (Write("", [b"k"] * OPERATIONS, [b"r"] * OPERATIONS, [ABSENT] * OPERATIONS), 12),
        (Write("", [b"k"] * OPERATIONS, [b"r"] * OPERATIONS, None, [9] * OPERATIONS), 6),
        (Pop("", [b"none"] * OPERATIONS), 12),
        (ReadItem("", [b"none"] * OPERATIONS), 12),
        (Touch("", [b"none"] * OPERATIONS, [9] * OPERATIONS), 6),
        (Increment("", [b"n"] * OPERATIONS, [ONE] * OPERATIONS, [ONE] * OPERATIONS), 6),
        (Increment("", [b"n"] * OPERATIONS, [ONE] * OPERATIONS, [ONE] * OPERATIONS, [9] * OPERATIONS), 4),
        (Read("", [b"none"] * OPERATIONS), OPERATIONS),
        (Has("", [b"none"] * OPERATIONS), OPERATIONS),
        (Write("", [b"k"] * OPERATIONS, [b"r"] * OPERATIONS), OPERATIONS),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Run) else "",
)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_operations_one_by_one(kind: str, run: Run, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many operations are applied one by one; the rest of the batch is refused, whatever it is."""
    monkeypatch.setattr(batch_executor, "settings", attrs.evolve(settings, BATCH_ONE_BY_ONE=12))
    with prepared(kind) as bench:
        found, last = bench.answers(run, Has("", [b"k"]))
    assert found.count("ANSWER_FULL") == OPERATIONS - most
    assert "ANSWER_FULL" not in found[:most]
    assert last == (["ANSWER_FULL"] if most < OPERATIONS else [isinstance(run, Write)])


@pytest.mark.parametrize("run", UNMET, ids=lambda run: type(run).__name__)
def test_conditions_look_at_no_record(bench: Bench, run: Run) -> None:
    """A condition that isn't met has the shard copy nothing, however large the record is; so nothing counts."""
    (found,) = bench.answers(run, Touch("", [b"k"], [0]))[:1]
    assert found == [None if isinstance(run, Pop | Remove) else False] * OPERATIONS


@pytest.mark.parametrize("kind", FAST_KINDS)
@pytest.mark.parametrize(
    "run",
    [
        Write("", [b"k"] * 20, [b"r"] * 20, [ABSENT] * 20),
        Pop("", [b"k"] * 20, [7] * 20),
        Remove("", [b"k"] * 20, [7] * 20),
        Touch("", [b"k"] * 20, [0] * 20, [7] * 20),
        Increment("", [b"k"] * 20, [ONE] * 20, [ONE] * 20),
    ],
    ids=lambda run: type(run).__name__,
)
def test_what_is_not_wanted_is_not_copied(kind: str, run: Run) -> None:
    """The memory that a batch takes for operations that change nothing is far less than one record's."""
    size = 8 * 1024 * 1024
    with prepared(kind) as bench:
        bench.fill({b"k": document_encoding.encode("x" * size)[0]})
        bench.answers(run)
        tracemalloc.start()
        try:
            bench.answers(run)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < size / 8


def test_over_all_runs_of_a_batch(bench: Bench) -> None:
    """The limit is on the whole batch, not on each of its runs."""
    found = bench.answers(*[Touch("", [b"k"] * 4, [0] * 4)] * 3, ReadItem("", [b"none"]))
    assert [outcomes.count("ANSWER_FULL") for outcomes in found] == [0, 0, 2, 1]


@pytest.mark.parametrize("filler", RUNS, ids=lambda run: type(run).__name__)
def test_nothing_overtakes_what_was_refused(bench: Bench, filler: Run) -> None:
    """Once a batch has looked at too much, no later run of it is applied, whatever its verb: it would overtake."""
    full = "ANSWER_FULL"
    later: list[Run] = [
        Write("", [b"k"], [b"new"]),
        Has("", [b"k"]),
        Read("", [b"k"]),
        Write("", [b"x"], [b"new"], [ABSENT]),
    ]
    assert bench.answers(filler, *later)[1:] == [[full]] * len(later)
    assert bench.answers(Read("", [b"k"]), Has("", [b"x"])) == [[BIG], [False]]


@pytest.mark.parametrize("kind", KINDS)
def test_clients_ask_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client notices nothing of it."""
    monkeypatch.setattr(batch_executor, "settings", attrs.evolve(settings, BATCH_WORK=200))
    with cluster_of(kind) as cluster:
        client = cluster.connect()
        keys = [f"key{number}" for number in range(100)]
        all_of(cluster, [client.write(key, "x" * 100) for key in keys])
        assert all_of(cluster, [client.touch(key, 60) for key in keys]) == [True] * 100
        assert all_of(cluster, [client.increment("n") for _ in range(100)]) == list(range(1, 101))


@pytest.mark.parametrize("document", [None, True, False, 1.5, "", "é" * 300, b"", b"1" * 70_000, [], {}, [1] * 70_000])
def test_what_a_document_is_by_its_first_byte(document: document_encoding.Document) -> None:
    """A document that is no int is recognized without decoding it, and its type is named."""
    record, _ = document_encoding.encode(document)
    for cut in (record, record[: HEAD.size + 1]):
        with pytest.raises(NotANumber, match=f"of type {type(document).__name__};"):
            document_encoding.decode_int(cut)


@pytest.mark.parametrize("value", [0, 127, 128, -1, -32, -33, 2**16, 2**32, 2**64 - 1, -(2**63), 2**64, -(10**1000)])
def test_ints(value: int) -> None:
    """Ints of any size are read."""
    assert document_encoding.decode_int(document_encoding.encode(value)[0]) == value


@pytest.mark.parametrize("record", [b"", b"\x01", ONE[:-1], b"\x02" + ONE[1:], ONE[:-1] + b"\xc1", ONE + b"\x01"])
def test_damaged_records(record: bytes) -> None:
    """Bytes that are no record are refused."""
    with pytest.raises(UnreadableRecord):
        document_encoding.decode_int(record)


def test_an_extension_that_is_no_int() -> None:
    """An extension that is no int is refused."""
    stamp = HEAD.pack(FORMAT, 0) + msgspec.msgpack.encode(msgspec.msgpack.Ext(-1, bytes(4)))
    with pytest.raises(UnreadableRecord, match="a timestamp of MessagePack"):
        document_encoding.decode_int(stamp)
