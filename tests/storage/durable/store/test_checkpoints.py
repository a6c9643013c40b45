"""How changes go from the log into LMDB: in rounds, in parts, in the order of their keys, and by turns of two files."""

from __future__ import annotations

from pathlib import Path

from stores import PLENTY, START, at_once, check_consistent, task

from pyshard.protocol.batches import Write
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.storage.durable.engine import Round
from pyshard.storage.durable.memtable import Changes


def changed(**sizes: int) -> Changes:
    """Changes of records of these sizes."""
    changes = Changes()
    for name, size in sizes.items():
        changes.put(name.encode(), bytes(size), 0)
    return changes


def test_a_part_is_so_many_pages() -> None:
    """Each record may cost a page, and a large one as many more as it fills."""
    changes = changed(a=20, b=4095, c=4096, d=20, e=100_000, f=20)
    going = Round(sorted(changes.records), 7)
    parts = []
    for pages in (1, 1, 1, 1, 25, 1):
        part, going.done = going.part(changes, pages)
        parts.append(part)
    assert parts == [[b"a"], [b"b"], [b"c"], [b"d"], [b"e"], [b"f"]]
    assert going.done == len(going.keys)
    assert Round(going.keys, 7).part(changes, 4) == ([b"a", b"b", b"c"], 3)
    assert Round(going.keys, 7).part(changes, 1000) == (going.keys, 6)
    assert Round(going.keys, 7).part(changes, 0) == ([], 0)


def test_what_is_there_already_is_left_out() -> None:
    """Something else may have brought a record into LMDB meanwhile."""
    changes = changed(a=20, b=20, c=20)
    going = Round(sorted(changes.records), 7)
    changes.forget({b"a": changes.records[b"a"], b"c": changes.records[b"c"]})
    assert going.part(changes, 1) == ([b"b"], 2)
    assert going.part(changes, 5) == ([b"b"], 3)


def test_rounds(path: Path) -> None:
    """A round begins when many records were changed, takes two for each new one, and frees the file of the log."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=50)
    data = store._data
    waiting, sequences, files = [], [], []
    for each in range(200):
        at_once(store.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
        waiting.append(len(data.changes.records))
        sequences.append(data._stored.sequence)
        files.append(data.logs._now)
    assert waiting[:50] == list(range(1, 51))
    assert waiting[50:76] == [51, *range(50, 25, -1)]  # one more each time, and two less
    assert max(waiting) == 51
    assert sequences[:75] == [1] * 75
    assert sequences[76] == 51  # all that was there when the round began
    turns = [one for one in range(1, 200) if files[one] is not files[one - 1]]
    assert turns == [50, 100, 150]
    assert len(set(map(id, files))) == 2
    check_consistent(store)
    at_once(store.close())
    again = LmdbStore(DataDirectory(path), lambda: START)
    assert (again.documents, again._data.changes.records) == (200, {})
    at_once(again.close())


def test_a_large_change_takes_its_share(path: Path) -> None:
    """What goes into LMDB with a change is in proportion to it, so that changes can't come faster than they go."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=100)
    keys = [b"%d" % each for each in range(1000)]
    for begin in range(0, 1000, 50):
        run = Write("", keys[begin : begin + 50], [b"x" * 20] * 50)
        at_once(store.apply([task(run)], PLENTY, PLENTY))
        assert len(store._data.changes.records) <= 150
    check_consistent(store)
    at_once(store.close())


def test_a_round_goes_on_after_a_restart(path: Path) -> None:
    """What a start finds in the log goes into LMDB as the next changes come, and both files come into use again."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=10)
    for each in range(12):
        at_once(store.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
    store._data.close()  # without settling, as a killed process does
    store._directory.close()
    again = LmdbStore(DataDirectory(path), lambda: START, most_changed=10)
    assert len(again._data.changes.records) > 8
    before = again._data._stored.sequence
    for each in range(12, 24):
        at_once(again.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
    assert again._data._stored.sequence > before
    check_consistent(again)
    assert again.documents == 24
    at_once(again.close())
