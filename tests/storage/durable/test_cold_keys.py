"""Batches for keys that aren't in memory: a batch does what takes a short time, and refuses the rest for now."""

from __future__ import annotations

from itertools import count

import pytest
from stores import PLENTY, Bench, at_once, prepared, task

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import PRESENT, Has, Pop, Read, Run, Touch, Write
from pyshard.storage import LmdbStore, PageBounds
from pyshard.storage.durable import copied_sizes, page_of_keys
from pyshard.storage.durable import store as store_module
from pyshard.storage.look_budget import FIRST

KEYS = [b"key%d" % number for number in range(500)]
OLD, NEW = [b"old"] * len(KEYS), [b"new"] * len(KEYS)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it is asked, a disk was read many times since."""
    reads = count(0, 40)
    for module in (store_module, copied_sizes, page_of_keys):
        monkeypatch.setattr(module, "disk_reads", lambda: next(reads))


def answer_of(bench: Bench, *runs: Run) -> list[Answer]:
    """What a batch is answered."""
    return bench.result(bench.store.apply([task(run) for run in runs], PLENTY, PLENTY))


@pytest.mark.parametrize(
    "run",
    [
        Has("", KEYS),
        Read("", KEYS),
        Write("", KEYS, NEW),
        Write("", [*KEYS, *KEYS], [*OLD, *NEW]),
        Write("", KEYS, NEW, [PRESENT] * len(KEYS)),
        Pop("", KEYS),
        Touch("", KEYS, [1000] * len(KEYS)),
    ],
    ids=lambda run: f"{type(run).__name__} {len(run.keys)}",
)
def test_the_rest_is_refused(run: Run, request: pytest.FixtureRequest) -> None:
    """Of a long run some are done at the front, all others have no effect; and what comes behind is refused as well."""
    with prepared("lmdb") as bench:
        answer_of(bench, Write("", KEYS, OLD))
        request.getfixturevalue("cold")
        first, second = answer_of(bench, run, Has("", KEYS[:1]))
        refused = {run.keys[position] for position in first.errors}
        done = [key for key in KEYS if key not in refused]
        assert 0 < len(done) <= 6 * FIRST
        assert done == KEYS[: len(done)]
        assert {code for code, _ in first.errors.values()} == {"ANSWER_FULL"}
        assert [first.results[position] for position in first.errors] == [None] * len(first.errors)
        assert all(first.results[position] for position, key in enumerate(run.keys) if key not in refused)
        assert list(second.errors) == [0]
        request.getfixturevalue("monkeypatch").undo()
        (after,) = answer_of(bench, Read("", KEYS))
        records = [None if result is None else bytes(result)[-3:] for result in after.results]
        changed = {Write: b"new", Pop: None}.get(type(run), b"old")
        assert records == [changed] * len(done) + [b"old"] * (len(KEYS) - len(done))


def test_it_is_all_done_in_the_end(cold: None) -> None:
    """Whoever asks again for what was refused comes to an end."""
    with prepared("lmdb") as bench:
        keys, asked = KEYS, 0
        while keys:
            (answer,) = answer_of(bench, Write("", keys, NEW[: len(keys)]))
            keys, asked = [keys[position] for position in answer.errors], asked + 1
        assert 1 < asked < len(KEYS) / FIRST + 2
        assert bench.store.documents == len(KEYS)


def test_pages_of_keys(cold: None) -> None:
    """A page ends early, with what it has; the walk gives all keys."""
    with prepared("lmdb") as bench:
        for begin in range(0, len(KEYS), FIRST):
            answer_of(bench, Write("", KEYS[begin : begin + FIRST], NEW[: len(KEYS[begin : begin + FIRST])]))
        page = at_once(bench.store.page(0, 0, None, SLOTS, PageBounds(1000, 1 << 20)))
        assert page.slot is not None
        assert page.slot < SLOTS
        assert 0 < len(page.keys) <= 6 * FIRST
        assert sorted(bench.scan()) == sorted(KEYS)


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("ttl", [0, 1000])
@pytest.mark.parametrize("long", [False, True])
def test_few_large_documents_are_looked_at(ttl: int, long: bool) -> None:
    """A batch, or a page, ends behind some of them whose pages had to be read, long before it has 32 keys."""
    keys = [key + b"." * 600 * long for key in KEYS[:20]]
    with prepared("lmdb") as bench:
        for key in keys:
            bench.fill({key: bytes(100_000)}, ttl=ttl)
        assert isinstance(bench.store, LmdbStore)
        bench.store._engine.flush_all()
        bench.clock.advance(2)
        (answer,) = answer_of(bench, Has("", keys))
        assert 0 < len(keys) - len(answer.errors) <= 6
        assert {code for code, _ in answer.errors.values()} == {"ANSWER_FULL"}
        page = bench.result(bench.store.page(0, 0, None, SLOTS, PageBounds(1000, PLENTY, PLENTY)))
        assert page.slot is not None
        assert len(page.keys) <= 6
