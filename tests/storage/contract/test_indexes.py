"""The indexes of every store: apart, unknown, dropped and created again."""

from __future__ import annotations

from typing import Any

import pytest
from stores import INDEXES, NAMED, PLENTY, Bench, Outcome, outcomes, weight

from pyshard.errors import IndexNotFound
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Has, Pop, Read, Write
from pyshard.storage import PageBounds, Task


def test_indexes_are_apart(bench: Bench) -> None:
    """One key may be in several indexes, with a record in each."""
    bench.fill({b"a": b"default"})
    bench.fill({b"a": b"page", b"b": b""}, "pages")
    assert bench.answers(Read("", [b"a", b"b"]), Pop("pages", [b"a"]), Read("links", [b"a"]), Read("", [b"a"])) == [
        [b"default", None],
        [b"page"],
        [None],
        [b"default"],
    ]
    assert (bench.scan(), bench.scan(index="pages"), bench.scan(index="links")) == ([b"a"], [b"b"], [])
    assert bench.store.documents == 2


def test_unknown_index(bench: Bench) -> None:
    """Operations on an id that no index has are refused one by one, and the rest of the batch goes on."""
    assert bench.answers(
        Write("gone", [b"a", b"b"], [b"", b""]), Write("", [b"a"], [b"one"]), Read("gone", [b"a"]), Read("", [b"a"])
    ) == [["INDEX_NOT_FOUND", "INDEX_NOT_FOUND"], [True], ["INDEX_NOT_FOUND"], [b"one"]]
    assert bench.store.documents == 1


def test_page_of_unknown_index(bench: Bench) -> None:
    """A page of an id that no index has fails, in the Deferred."""
    asked = bench.store.page(INDEXES["gone"], 0, None, SLOTS, PageBounds(10, 10))
    with pytest.raises(IndexNotFound, match=r"id 3 "):
        bench.result(asked)


def test_dropped_index(bench: Bench) -> None:
    """An index that isn't named any more is gone with its documents; the others and the default one keep theirs."""
    for index in ("", "pages", "links"):
        bench.fill({b"a": index.encode()}, index)
    bench.result(bench.store.set_indexes({"links": 2}))
    assert bench.answers(Read("pages", [b"a"]), Read("links", [b"a"]), Read("", [b"a"])) == [
        ["INDEX_NOT_FOUND"],
        [b"links"],
        [b""],
    ]
    assert bench.store.documents == 2
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (2, weight(b"a", b"links") + weight(b"a", b""))
    assert sum(bench.store.histogram(0, SLOTS, 3)) == 2


def test_indexes_and_a_text(bench: Bench) -> None:
    """A text that comes with indexes is saved with them, in one change; also where these are known already."""
    before = bench.store.sequence
    bench.result(bench.store.set_indexes({"links": 2}, 7, b"with them"))
    assert (bench.store.recall(), bench.store.sequence) == (b"with them", before + 1)
    assert bench.answers(Read("pages", [b"a"]), Read("links", [b"a"])) == [["INDEX_NOT_FOUND"], [None]]
    bench.result(bench.store.set_indexes({"links": 2}, 7, b"alone"))
    assert (bench.store.recall(), bench.store.sequence) == (b"alone", before + 2)
    bench.result(bench.store.set_indexes({"links": 2}, 7))
    assert (bench.store.recall(), bench.store.sequence) == (b"alone", before + 2)


def test_index_created_again(bench: Bench) -> None:
    """A name that comes back with a new id is a new, empty index; the old id stays unknown."""
    bench.fill({b"a": b"old"}, "pages")
    bench.result(bench.store.set_indexes({"links": 2}))
    bench.result(bench.store.set_indexes({"links": 2, "pages": 3}))
    new = Task(Read("pages", [b"a"]), 3, [slot_of(b"a", b"pages")])
    old = Task(Read("pages", [b"a"]), 1, [slot_of(b"a", b"pages")])
    answered = bench.result(bench.store.apply([new, old], PLENTY, PLENTY))
    assert [outcomes(one) for one in answered] == [[None], ["INDEX_NOT_FOUND"]]
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_same_indexes_again(bench: Bench) -> None:
    """Naming the indexes that there are changes nothing."""
    bench.fill({b"a": b"page"}, "pages")
    bench.result(bench.store.set_indexes(NAMED))
    assert bench.answers(Read("pages", [b"a"])) == [[b"page"]]


def test_a_hundred_indexes(bench: Bench) -> None:
    """A hundred indexes hold one key each their own way; half of them go, and the others stay."""
    ids = {f"index{each}": each for each in range(1, 101)}
    bench.result(bench.store.set_indexes(ids))

    def ask(make: Any) -> list[list[Outcome]]:
        tasks = [Task(make(name), each, [slot_of(b"a", name.encode())]) for name, each in ids.items()]
        return [outcomes(one) for one in bench.result(bench.store.apply(tasks, PLENTY, PLENTY))]

    assert ask(lambda name: Write(name, [b"a"], [name.encode()])) == [[True]] * 100
    bench.result(bench.store.set_indexes({name: each for name, each in ids.items() if each % 2}))
    expected: list[list[Outcome]] = [[True] if each % 2 else ["INDEX_NOT_FOUND"] for each in ids.values()]
    assert ask(lambda name: Has(name, [b"a"])) == expected
    bench.sweep(7)
    assert ask(lambda name: Has(name, [b"a"])) == expected
    assert bench.store.documents == 50
