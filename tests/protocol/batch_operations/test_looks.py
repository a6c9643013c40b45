"""How many bytes of records a store looks at for one batch: a durable one pays for each, wanted or not.

The binding of LMDB touches every page of a value that it finds, for `has` and for conditions as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest
from clusters import KINDS as CLUSTERS
from clusters import all_of, cluster_of
from storage.contract.samples import neighbors
from stores import KINDS, Bench, check_consistent, prepared

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import (
    ABSENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
    copies,
)
from pyshard.settings import settings
from pyshard.storage import Page, look_budget
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.store import LmdbStore

OPERATIONS = 50
MOST = 10  # records that may be looked at
BIG = b"r" * 5000  # LMDB has it on pages of its own
LONG = b"l" * (lmdb_encoding.LONGEST + 1)
VALUE = len(BIG) + 16  # bytes, with version and expiry
WHOLE = MOST * VALUE


class Looks:
    """How many bytes of values the merged view has given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        get, get_many, entries = MergedView.get, MergedView.get_many, MergedView.entries

        def counted_get(view: MergedView, db_key: bytes) -> Any:
            return self._counted(get(view, db_key))

        def counted_get_many(view: MergedView, db_keys: Sequence[bytes]) -> Any:
            return map(self._counted, get_many(view, db_keys))

        def counted_entries(view: MergedView, first: bytes, behind: bytes) -> Any:
            return ((db_key, self._counted(value)) for db_key, value in entries(view, first, behind))

        monkeypatch.setattr(MergedView, "get", counted_get)
        monkeypatch.setattr(MergedView, "get_many", counted_get_many)
        monkeypatch.setattr(MergedView, "entries", counted_entries)

    def _counted(self, value: Any) -> Any:
        self.bytes += 0 if value is None else len(value)
        return value


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A store of each kind whose batches and pages may look at `MOST` records of `BIG`."""
    monkeypatch.setattr(look_budget, "settings", attrs.evolve(settings, LOOKED_AT_ONCE=WHOLE))
    with prepared(request.param) as made:
        made.fill({b"k": BIG, LONG: BIG})
        made.fill({b"gone": BIG}, ttl=1)
        made.clock.advance(1)
        yield made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Counts what is looked at."""
    return Looks(monkeypatch)


@pytest.mark.parametrize(
    "run",
    [
        Has("", [b"k"] * OPERATIONS),
        Has("", [LONG] * OPERATIONS),
        Has("", [b"gone"] * OPERATIONS),
        Read("", [b"gone"] * OPERATIONS),
        Read("", [b"gone", LONG + b"l"] * (OPERATIONS // 2)),
        ReadItem("", [b"gone"] * OPERATIONS),
        Write("", [b"k"] * OPERATIONS, [b"r"] * OPERATIONS, [ABSENT] * OPERATIONS),
        Pop("", [b"k"] * OPERATIONS, [7] * OPERATIONS),
        Remove("", [b"k"] * OPERATIONS, [7] * OPERATIONS),
        Touch("", [b"k"] * OPERATIONS, [0] * OPERATIONS, [7] * OPERATIONS),
        Increment("", [b"k"] * OPERATIONS, [b""] * OPERATIONS, [b""] * OPERATIONS),
    ],
    ids=lambda run: f"{type(run).__name__}-{run.keys[0][:4].decode()}",
)
def test_of_one_run(bench: Bench, looks: Looks, run: Run) -> None:
    """A durable store looks at so many bytes, and refuses the rest of the batch; the next one begins anew.

    At what a batch copies it has looked before, within the same bound.
    """
    times = 2 if copies(run) else 1
    there = sum(key != LONG + b"l" for key in run.keys)
    for _ in range(2):
        looks.bytes = 0
        found, behind = bench.answers(run, Has("", [b"none"]))
        if not bench.durable:
            assert "ANSWER_FULL" not in found + behind
            continue
        assert looks.bytes <= times * (WHOLE + VALUE) + len(LONG)
        done = found.index("ANSWER_FULL")
        assert MOST - 1 <= done * there // OPERATIONS <= MOST
        assert set(found[done:]) == {"ANSWER_FULL"}
        assert len(found) == OPERATIONS
        assert behind == ["ANSWER_FULL"]


def test_over_all_runs_of_a_batch(bench: Bench, looks: Looks) -> None:
    """The limit is on the whole batch, however its operations are parted into runs."""
    runs: list[Run] = [Has("", [b"k"] * 3), Remove("", [b"k"], [7])] * 5
    found = bench.answers(*runs)
    full = sum(outcomes.count("ANSWER_FULL") for outcomes in found)
    assert full == (20 - MOST if bench.durable else 0)
    assert looks.bytes <= WHOLE


def test_one_record_always_passes(bench: Bench, looks: Looks) -> None:
    """A record that is larger than all that may be looked at is looked at, if it comes first."""
    bench.fill({b"huge": b"h" * (2 * WHOLE)})
    full = "ANSWER_FULL" if bench.durable else True
    assert bench.answers(Has("", [b"huge", b"k"])) == [[True, full]]
    assert bench.answers(Write("", [b"huge"], [b""], [7]), Has("", [b"k"])) == [[False], [full]]


def test_records_that_are_replaced(bench: Bench, looks: Looks) -> None:
    """What plain writes replace counts for the runs behind them; each of these records was once written itself."""
    keys = [b"%d" % number for number in range(MOST + 2)]
    bench.fill(dict.fromkeys(keys[:6], BIG))
    bench.fill(dict.fromkeys(keys[6:], BIG))
    looks.bytes = 0
    found = bench.answers(
        *[Write("", keys[begin : begin + 4], [b"new"] * 4) for begin in (0, 4, 8)], Has("", [b"none"])
    )
    assert found == [[True] * 4] * 3 + [["ANSWER_FULL"] if bench.durable else [False]]
    assert looks.bytes == (12 * VALUE if bench.durable else 0)
    if isinstance(bench.store, LmdbStore):
        check_consistent(bench.store)


def test_small_records_need_not_be_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the largest batch can look at in a store of small records is within the bound, so `has` counts nothing."""
    assert settings.LOOKED_AT_ONCE // settings.MAX_BATCH > lmdb_encoding.LONGEST + 4096
    with prepared(bench.kind) as small:
        small.fill({b"k": b"r"})
        monkeypatch.setattr(look_budget, "settings", settings)
        assert small.answers(Has("", [b"k"] * settings.MAX_BATCH)) == [[True] * settings.MAX_BATCH]


def test_pages_of_keys(bench: Bench, looks: Looks) -> None:
    """A page of keys ends when it has looked at so many bytes, and says where the next one begins: none is left out."""
    for begin in range(0, 60, 10):
        bench.fill({b"%d" % number: BIG for number in range(begin, begin + 10)})
    keys, pages = [], 0
    looks.bytes = 0
    for page in bench.pages(0, SLOTS, 1000, 1 << 40, ""):
        assert looks.bytes <= WHOLE + 3 * VALUE  # and those that it begins behind and ends before
        looks.bytes = 0
        keys += page.keys
        pages += 1
    assert sorted(keys) == sorted([b"k", LONG, *(b"%d" % number for number in range(60))])
    assert pages >= (60 // MOST if bench.durable else 1)


@pytest.mark.parametrize("size", [WHOLE // 2, WHOLE])
def test_pages_of_one_slot(bench: Bench, size: int) -> None:
    """Within a slot a page ends only where that alone has as many bytes again, and the next one begins there."""
    first, second, third = neighbors()
    for key in (first, second, third):
        bench.fill({key: b"r" * size})
    slot = slot_of(first)
    if bench.durable and size == WHOLE:
        assert bench.page(slot, None, slot + 1) == Page([first], False, slot, first)
        assert bench.page(slot, first, slot + 1) == Page([second], False, slot, second)
        assert bench.page(slot, second, slot + 1) == Page([third], False)
    else:
        assert bench.page(slot, None, slot + 1) == Page([first, second, third], False)


@pytest.mark.parametrize("kind", CLUSTERS)
def test_clients_ask_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client notices nothing of it."""
    monkeypatch.setattr(look_budget, "settings", attrs.evolve(settings, LOOKED_AT_ONCE=WHOLE))
    with cluster_of(kind) as cluster:
        client = cluster.connect()
        keys = [f"key{number}" for number in range(100)]
        all_of(cluster, [client.write(key, "x" * 5000) for key in keys])
        assert all_of(cluster, [client.has(key) for key in keys]) == [True] * 100
        assert all_of(cluster, [client.write(key, "y", if_absent=True) for key in keys]) == [False] * 100
