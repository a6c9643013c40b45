"""How a durable store is opened, refused and closed."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from blocks import CHECKOUT
from storage.durable.store.opened import opened
from stores import PLENTY, START, at_once, task

from pyshard.errors import ConfigError
from pyshard.protocol.batch_operations import Read, Write
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.storage.slot_histogram import BUCKETS


def refusal(path: Path) -> str:
    """The line with which the data of a directory are refused."""
    with pytest.raises(ConfigError) as refused:
        opened(path)
    line = str(refused.value)
    assert line.startswith(f"{path}/records: the data can't be opened (")
    assert "\n" not in line
    return line


def test_versions_begin_with_the_time(path: Path) -> None:
    """The first version of new data is the time in microseconds, so that it is above those of data that were lost."""
    store = opened(path, lambda: 1234.5)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    assert answer.results == [(1_234_500_001).to_bytes(8, "big")]
    at_once(store.close())


def test_the_clock_does_not_lower_versions(path: Path) -> None:
    """Versions go on where they were, also when the clock is put back."""
    versions = []
    for now in (1000.0, 10.0):
        store = opened(path, lambda now=now: now)  # type: ignore[misc]  # bound now
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
        versions.append(answer.results[0])
        at_once(store.close())
    assert versions == [(1_000_000_001).to_bytes(8, "big"), (1_000_000_002).to_bytes(8, "big")]


def test_garbage_for_data(path: Path) -> None:
    """Data that LMDB can't open are refused in one line and left as they are, and the directory is unlocked."""
    at_once(opened(path).close())
    data = path / "records" / "data.mdb"
    data.write_bytes(b"garbage" * 5000)
    assert "not an LMDB file" in refusal(path)
    assert "not an LMDB file" in refusal(path)  # not that another process uses it
    assert data.read_bytes() == b"garbage" * 5000


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02\x80",
        msgspec.msgpack.encode([1, 2, {"a": 1}, [], bytes(4 * BUCKETS)]),
        msgspec.msgpack.encode([1, 2, {0: 1}, [], bytes(4 * BUCKETS - 4)]),
        msgspec.msgpack.encode([1, 2, {0: 1}, [], bytes(7)]),
    ],
)
def test_damaged_counters(path: Path, saved: bytes) -> None:
    """Counters that can't be read are refused in one line; nothing is counted anew in silence."""
    store = opened(path)
    with store._engine.environment.begin(write=True) as transaction:
        transaction.put(b"counters", saved, db=store._engine.databases.meta)
    at_once(store.close())
    refusal(path)


def test_check(path: Path) -> None:
    """`check` opens the data and closes them again, or refuses them."""
    directory = DataDirectory(path)
    LmdbStore.check(directory, lambda: START)
    store = LmdbStore(directory, lambda: START)
    assert store._engine.counters.version == START * 1_000_000  # also where the check has made the data
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    at_once(store.close())
    directory = DataDirectory(path)
    LmdbStore.check(directory, lambda: START)
    store = LmdbStore(directory, lambda: START)
    assert store.documents == 1
    at_once(store.close())
    (path / "records" / "data.mdb").write_bytes(b"garbage" * 5000)
    with pytest.raises(ConfigError, match="can't be opened"):
        LmdbStore.check(DataDirectory(path), lambda: START)


def test_closing_lets_go_of_the_directory(path: Path) -> None:
    """An open store locks its directory; a closed one leaves no file open."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    store = opened(path)
    with pytest.raises(ConfigError, match="another process uses"):
        DataDirectory(path)
    at_once(store.close())
    DataDirectory(path).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_refusals_in_the_documentation() -> None:
    """docs/storage.md says what to do about lines that are really said."""
    page = (CHECKOUT / "docs/storage.md").read_text(encoding="utf-8")
    section = page.partition("## When a shard refuses its data")[2].partition("\n## ")[0]
    quoted = [text for row in section.split("\n| ")[2:] for text in re.findall("`([^`]+)`", row.partition(" | ")[0])]
    modules = [*(CHECKOUT / "pyshard/storage/durable").glob("*.py"), CHECKOUT / "pyshard/security/refused_place.py"]
    said = "".join(path.read_text(encoding="utf-8") for path in modules)
    fragments = [part for text in quoted for part in re.split(r"…|the log can't be used|[()]", text) if part.strip()]
    assert len(fragments) > 8
    assert [part for part in fragments if part.strip() not in said] == []
