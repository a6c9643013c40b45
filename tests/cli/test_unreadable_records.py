"""Records that can't be read, as the command meets them: one line for each, exit code 7, and nothing is lost."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from in_process_command import Commands, Ended
from stores import at_once

from pyshard.cli import standard_output
from pyshard.model.document_encoding import HEAD, encode
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.storage import Task

STAMP = HEAD.pack(1, 24) + b"\x81\xa1a\xd6\xff" + bytes(4)
WHY = 'the record of 14 bytes can\'t be read: document["a"]: a timestamp of MessagePack, which no document holds'
BAD_HEAD = b"\x02" + encode("x")[0][1:]
WHY_BAD_HEAD = "the record can't be read: it begins with the byte 2; this version reads format 1 only"


def put(pyshard: Commands, records: dict[str, bytes]) -> None:
    """Put records of the default index into their shards, as another program did."""
    for key, record in records.items():
        own = pyshard.cluster.state.map.lookup(slot_of(key.encode()))
        task = Task(Write("", [key.encode()], [record]), 0, [slot_of(key.encode())])
        at_once(pyshard.cluster.services[own.name].shard.store.apply([task], 1 << 40, 1 << 20))


@pytest.mark.parametrize(("command", "verb"), [("read", "read"), ("get", "read"), ("item", "item")])
def test_reading(pyshard: Commands, command: str, verb: str) -> None:
    """One line says which key and why; nothing is printed, and the record stays."""
    put(pyshard, {"k": STAMP})
    for _ in range(2):
        assert pyshard(command, "k") == Ended(7, "", f"pyshard: {verb} of key 'k': {WHY}\n")


def test_pop(pyshard: Commands) -> None:
    """It was removed, and says so; what is nowhere else any more is printed."""
    put(pyshard, {"k": STAMP})
    ended = pyshard("pop", "k")
    assert (ended.code, ended.error) == (7, f"pyshard: pop of key 'k': {WHY}; it was removed\n")
    assert b64decode(json.loads(ended.out)["$record"]) == STAMP
    assert pyshard("pop", "k").code == 1


def test_remove(pyshard: Commands) -> None:
    """The size is that in the record's head. Where there is none, the record is printed, as by `pop`."""
    put(pyshard, {"k": STAMP, "head": BAD_HEAD})
    assert pyshard("remove", "k") == Ended(0, "24\n", "")
    ended = pyshard("remove", "head")
    assert (ended.code, ended.error) == (7, f"pyshard: pop of key 'head': {WHY_BAD_HEAD}; it was removed\n")
    assert b64decode(json.loads(ended.out)["$record"]) == BAD_HEAD
    assert pyshard("count").out == "0\n"


def test_incr(pyshard: Commands) -> None:
    """It is no integer; the key is named, and the record stays."""
    put(pyshard, {"k": STAMP, "head": BAD_HEAD})
    assert pyshard("incr", "head") == Ended(5, "", f"pyshard: increment of key 'head': {WHY_BAD_HEAD}\n")
    assert pyshard("incr", "k").code == 5
    assert pyshard("count").out == "2\n"


def test_raw(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """--raw prints the bytes of any record, and nothing else; to a terminal, in hexadecimal."""
    put(pyshard, {"head": b"\x02\x1b[31m", "good": encode(7)[0]})
    assert pyshard("read", "--raw", "head") == Ended(0, "\x02\x1b[31m", "")
    assert pyshard("read", "--raw", "good") == Ended(0, "\x01\x00\x00\x00\x1c\x07", "")
    assert pyshard("read", "--raw", "none") == Ended(1, "", 'pyshard: there is no key "none"\n')
    assert pyshard("read", "--raw", "--index", "none", "k").code == 5
    monkeypatch.setattr(standard_output, "is_terminal", lambda: True)
    assert pyshard("read", "--raw", "head") == Ended(0, "02 1b 5b 33 31 6d\n", "")


@pytest.mark.parametrize("options", [[], ["--jsonl"]])
def test_cat(pyshard: Commands, options: list[str]) -> None:
    """It goes on behind them, counts all and names some, and ends with exit code 7."""
    put(pyshard, {str(number): encode(number)[0] for number in range(50)})
    put(pyshard, {f"bad{number}": STAMP for number in range(20)})
    ended = pyshard("cat", *options)
    assert ended.code == 7
    assert len(ended.out.splitlines()) == 50
    *lines, last = ended.error.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("pyshard: read of key 'bad") and WHY in line for line in lines)
    assert last == "pyshard: 20 records can't be read; the others were written"
    assert pyshard("load", "-", *options, text=ended.out).code == 0


def test_backup_and_restore(pyshard: Commands, tmp_path: Path) -> None:
    """A backup has them as they are. A restore leaves out those that no shard takes, and says so."""
    put(pyshard, {"k": STAMP, "head": BAD_HEAD, "good": encode(1)[0]})
    directory = str(tmp_path / "backup")
    assert pyshard("backup", directory) == Ended(0, "3 documents backed up\n", "")
    assert pyshard("clear", "--yes") == Ended(0, "3 documents removed\n", "")
    ended = pyshard("restore", directory)
    assert ended.code == 7
    assert ended.out == "2 documents restored\n"
    assert ended.error == (
        f"pyshard: key 'head': {WHY_BAD_HEAD}\n"
        "pyshard: 1 record can't be read; the backup still has it, and the others were restored\n"
    )
    assert pyshard("read", "k").code == 7
