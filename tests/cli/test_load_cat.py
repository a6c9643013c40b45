"""`load` and `cat`: windows of writes and reads, and where and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.any_documents import any_document, same, texts
from hypothesis import given
from hypothesis import strategies as st
from in_process_command import Commands, Ended

from pyshard import Pyshard
from pyshard.blocking.raw_records import read_results
from pyshard.cli import load_cat
from pyshard.cli.load_cat import next_window
from pyshard.client_core.walked_records import WalkedRecords
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


def test_load(pyshard: Commands) -> None:
    """key|document lines from standard input are stored; empty ones are skipped, and the last needs no line end."""
    ended = pyshard("load", "-", text='1|test\n\n2|{"test": "test"}\r\n \n3|42')
    assert ended == Ended(0, "3 documents written\n", "")
    assert [pyshard("read", key).out for key in "123"] == ['"test"\n', '{"test": "test"}\n', "42\n"]


def test_load_of_a_file(pyshard: Commands, tmp_path: Path) -> None:
    """Lines of a file; a later one replaces an earlier one of the same key."""
    lines = [json.dumps({"key": number % 2500, "doc": number}) for number in range(3000)]
    (tmp_path / "many").write_text("\n".join(lines))
    assert pyshard("load", "--jsonl", str(tmp_path / "many")) == Ended(0, "3000 documents written\n", "")
    assert [pyshard("read", key).out for key in ("0", "499", "500", "2499")] == ["2500\n", "2999\n", "500\n", "2499\n"]
    assert len(pyshard("keys").out.split()) == 2500


def test_load_into_an_index(pyshard: Commands) -> None:
    """--create makes a missing index, and leaves an existing one as it is."""
    ended = pyshard("load", "--index", "pages", "-", text="1|a\n")
    assert (ended.code, ended.out) == (5, "")
    assert ended.error.startswith("pyshard: line 1: there is no index 'pages'")
    for _ in range(2):
        assert pyshard("load", "--index", "pages", "--create", "-", text="1|a\n") == Ended(
            0, "1 document written\n", ""
        )
    assert pyshard("cat", "--index", "pages").out == "1|a\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"1|a\n2|b\nthree\n4|d\n", "line 3: found no |, expected key|document (or --jsonl) (2 documents written)"),
        (b'1|a\n\n3|{"a" 1}\n', "line 3, column 8: text that starts with { must be JSON"),
        (
            b"1|a\n2\xff|b\n",
            "line 2, column 2: found bytes that are not UTF-8 (invalid start byte) (1 document written)",
        ),
        (b'1|"\\ud800"\n2|b\n', "line 1: document: a str with lone surrogates"),
    ],
)
def test_load_stops_at_a_bad_line(pyshard: Commands, text: bytes, error: str) -> None:
    """One line on standard error has the line's number and how many documents were written; exit code 2."""
    ended = pyshard("load", "-", text=text)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(f"pyshard: {error}")
    assert ended.error.count("\n") == 1


def test_load_writes_nothing_behind_a_bad_line(pyshard: Commands) -> None:
    """Lines before a bad one are written, lines behind it aren't."""
    lines = [f"{number}|x" for number in range(2500)]
    lines[1700] = "bad"
    ended = pyshard("load", "-", text="\n".join(lines))
    assert "line 1701: found no |" in ended.error
    assert "(1700 documents written)" in ended.error
    assert sorted(map(int, pyshard("keys").out.split())) == list(range(1700))


def test_load_into_a_full_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line that was refused is named, with how many of its window were too; exit code 5."""
    with MemoryCluster(1, size=1500) as cluster:
        pyshard = Commands(cluster, monkeypatch)
        ended = pyshard("load", "-", text="".join(f"{number}|x\n" for number in range(30)))
        written = len(pyshard("keys").out.split())
        assert 0 < written < 30
        assert ended.code == 5
        assert ended.error.startswith(f"pyshard: line {written + 1}: ")
        assert f"as did {29 - written} of the next {29 - written} ({written} documents written)" in ended.error


def test_load_without_a_shard(pyshard: Commands) -> None:
    """Lines that can't be stored are never skipped: exit code 3, and the written ones are counted."""
    pyshard.cluster.kill_shard("shard0")
    ended = pyshard("load", "--deadline", "2", "-", text="test1|a\ntest|b\n")
    assert (ended.code, ended.out) == (3, "")
    assert ended.error.startswith("pyshard: line 2: ")
    assert ended.error.endswith("(1 document written)\n")


def test_load_keeps_one_window_in_flight(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window's writes are issued together, and never more than one window's."""
    issued: list[int] = []
    real = Pyshard.write_many

    def write_many(self: Pyshard, pairs: list[Any], index: str | None = None) -> list[int]:
        issued.append(len(pairs))
        return real(self, pairs, index)

    monkeypatch.setattr(Pyshard, "write_many", write_many)
    assert pyshard("load", "-", text="".join(f"{number}|x\n" for number in range(23_000))).code == 0
    assert issued == [10_000, 10_000, 3000]


def test_cat_and_load(pyshard: Commands) -> None:
    """What cat writes, load reads back."""
    pyshard("write", "a", '"42"')
    pyshard("write", "b", '{"$bytes": "AAH/"}')
    pyshard("write", "c", '"two\\nlines"')
    written = pyshard("cat")
    assert sorted(written.out.splitlines()) == ['a|"42"', 'b|{"$bytes": "AAH/"}', 'c|"two\\nlines"']
    pyshard("load", "--index", "copy", "--create", "-", text=written.out)
    assert sorted(pyshard("cat", "--index", "copy").out.splitlines()) == sorted(written.out.splitlines())


@given(st.dictionaries(texts, any_document, max_size=20))
def test_round_trip(content: dict[str, Any]) -> None:
    """Any documents under any keys go through cat and load unchanged."""
    with pytest.MonkeyPatch.context() as monkeypatch, MemoryCluster() as cluster:
        pyshard = Commands(cluster, monkeypatch)
        client = cluster.connect()
        for key, document in content.items():
            cluster.run(client.write(key, document))
        written = pyshard("cat", "--jsonl")
        assert written.code == 0
        assert pyshard("load", "--index", "copy", "--create", "--jsonl", "-", text=written.out).code == 0
        for key, document in content.items():
            found = cluster.run(client.read(key, "copy"))
            assert found is not None
            assert same(found["record"], document)
        cluster.run(client.close())


@pytest.mark.parametrize("key", ["a|b", "a\nb"])
def test_cat_refuses_keys_that_need_jsonl(pyshard: Commands, key: str) -> None:
    """A key that a line can't hold is an error that tells of --jsonl, which writes it."""
    pyshard("write", key, "1")
    shown = json.dumps(key)
    assert pyshard("cat") == Ended(2, "", f"pyshard: key {shown} can't be written as key|document; use --jsonl\n")
    assert pyshard("cat", "--jsonl") == Ended(0, f'{{"key": {shown}, "doc": 1}}\n', "")


def test_cat_passes_over_removed_keys(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is removed between its page and its read is left out."""
    for key in "abc":
        pyshard("write", key, "1")

    def remove_first(app: Pyshard, *arguments: Any) -> list[object]:
        app.remove("b")
        return read_results(app, *arguments)

    monkeypatch.setattr(load_cat, "read_results", remove_first)
    assert sorted(pyshard("cat").out.split()) == ["a|1", "c|1"]


def test_cat_without_a_shard(pyshard: Commands) -> None:
    """A shard that can't be reached is an error, not the end of the output."""
    pyshard("write", "test", "1")
    pyshard.cluster.kill_shard("shard1")
    assert pyshard("cat", "--deadline", "2").code == 3


@pytest.mark.parametrize(
    ("count", "length", "expected"), [(1, 10, 1000), (2000, 10, 2000), (2001, 10, 3000), (10_000, 1000, 2000)]
)
def test_windows_of_keys(count: int, length: int, expected: int) -> None:
    """A window has whole pages, until it has enough keys, or enough characters of them."""
    pages = iter([["x" * length] * 1000] * 5)
    assert len(next_window(pages, count)) == expected
    assert next_window(iter([]), count) == []


def test_cat_of_large_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small documents before large ones don't have it read more of these at once than there is room for."""
    with MemoryCluster(1) as cluster:
        keys = sorted((f"k{number}" for number in range(1060)), key=lambda key: slot_of(key.encode()))
        app = cluster.blocking()
        app.write_many([(key, "small") for key in keys[:1020]] + [(key, "x" * 2**20) for key in keys[1020:]])
        held: list[int] = []
        took = WalkedRecords.took

        def note(self: WalkedRecords, results: list[object]) -> None:
            held.append(sum(len(result) for result in results if isinstance(result, bytes)))
            took(self, results)

        monkeypatch.setattr(WalkedRecords, "took", note)
        printed = Commands(cluster, monkeypatch)("cat").out.splitlines()
        assert [line.partition("|")[0] for line in printed] == keys
        assert max(held) <= settings.WALK_BYTES + settings.BOXES_IN_FLIGHT * 2 * settings.ANSWER_BYTES
        assert sum(held) < 41 * 2**20  # nothing is read twice
