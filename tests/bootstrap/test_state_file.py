"""The bootstrap's file: what is saved is loaded, and a save that fails leaves what was there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bootstrap.states import fail_to_sync

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_file import StateLock
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap

OLD = ClusterState("c1", 7, ShardMap([MapShard("all", ((0, SLOTS),), 1000, "127.0.0.1", 5050)]), {"pages": 1}, 2)
NEW = OLD.with_index("links")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a state is to be kept."""
    return tmp_path / "shards.state"


class Crash(BaseException):
    """The machine stops."""


def test_default_path() -> None:
    """The state is kept beside the config file, under its name."""
    assert state_file.default_path(Path("etc/shards.json")) == Path("etc/shards.state")
    assert state_file.default_path(Path("/a/shards.old.json")) == Path("/a/shards.old.state")
    assert state_file.default_path(Path("shards")) == Path("shards.state")


def test_load_nothing(path: Path) -> None:
    """Without a file there is no state yet."""
    assert state_file.load(path) is None


def test_round_trip(path: Path) -> None:
    """What was saved is loaded, in place of what was there before, and nothing else is left behind."""
    for state in (OLD, NEW, OLD):
        state_file.save(path, state)
        assert state_file.load(path) == state
    assert path.read_bytes() == to_json(OLD)
    assert [one.name for one in path.parent.iterdir()] == ["shards.state"]


def test_saved_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it takes the old one's place, and its folder after that."""
    done: list[str] = []
    descriptors: list[int] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        descriptors.append(descriptor)
        if len(descriptors) == 1:
            assert path.with_name("shards.state.new").read_bytes() == to_json(OLD), "all of it is synced"
        folder = path.parent
        done.extend(f"sync {one.name}" for one in (folder, *folder.iterdir()) if one.stat().st_ino == number)
        sync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        done.append(f"{self.name} to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    state_file.save(path, OLD)
    assert done == ["sync shards.state.new", "shards.state.new to shards.state", f"sync {path.parent.name}"]
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize("stops_at", ["fsync", "replace"])
def test_crash_before_the_rename(path: Path, monkeypatch: pytest.MonkeyPatch, stops_at: str) -> None:
    """A machine that stops before the new file took its place finds the old one, and can save again."""
    state_file.save(path, OLD)

    def stop(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", stop) if stops_at == "fsync" else (Path, "replace", stop)))
        with pytest.raises(Crash):
            state_file.save(path, NEW)
    assert state_file.load(path) == OLD
    state_file.save(path, NEW)
    assert state_file.load(path) == NEW
    assert [one.name for one in path.parent.iterdir()] == ["shards.state"]


def test_half_written_leftover(path: Path) -> None:
    """What a crash left of a save disturbs neither loading nor saving, however long it is."""
    state_file.save(path, OLD)
    path.with_name("shards.state.new").write_bytes(b"half" * 10_000)
    assert state_file.load(path) == OLD
    state_file.save(path, NEW)
    assert path.read_bytes() == to_json(NEW)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["folder", "loop"],
)
def test_load_unreadable(path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    """A file that can't be read is an error that says why, never a new cluster."""
    spoil(path)
    with pytest.raises(ConfigError) as refused:
        state_file.load(path)
    assert str(refused.value) == f"{path}: the cluster's state can't be read ({reason}); name its file with --state"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "this is no cluster state: Input data was truncated"),
        (to_json(OLD)[:-10], "this is no cluster state: Input data was truncated"),
        (b"\0" * 100, "this is no cluster state: JSON is malformed: invalid character (byte 0)"),
        (
            to_json(OLD).replace(b'"format":4', b'"format":1'),
            "the cluster state is of format 1; this version knows format 4",
        ),
    ],
    ids=["empty", "cut", "zeros", "another format"],
)
def test_load_something_else(path: Path, text: bytes, reason: str) -> None:
    """A file with something else in it is an error that says what to do, and the file stays."""
    path.write_bytes(text)
    with pytest.raises(ConfigError) as refused:
        state_file.load(path)
    assert str(refused.value) == f"{path}: {reason}; restore the file, or move it away to start a new cluster"
    assert path.read_bytes() == text


def test_save_where_no_file_can_be(path: Path) -> None:
    """A save that can't be made says so, and what to do."""
    nowhere = path.parent / "none" / "shards.state"
    with pytest.raises(ConfigError) as refused:
        state_file.save(nowhere, OLD)
    assert str(refused.value) == (
        f"{nowhere}: the cluster's state can't be written (No such file or directory); "
        "name a place that can with --state"
    )


def test_directory_that_can_not_be_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the new file is there, and nobody knows for how long: that is neither a success nor a failure."""
    state_file.save(path, OLD)
    with monkeypatch.context() as patch:
        fail_to_sync(patch)
        with pytest.raises(OutcomeUnknown) as unknown:
            state_file.save(path, NEW)
    assert str(unknown.value) == (
        f"{path}: the cluster's state was written, but its directory can't be synced (Input/output error), so the "
        "change may or may not be there after a restart; try it again when the disk works"
    )
    assert state_file.load(path) == NEW
    state_file.save(path, OLD)
    assert state_file.load(path) == OLD


# -- the lock -------------------------------------------------------------------------------------------------------


def test_one_process_at_a_time(path: Path) -> None:
    """A second bootstrap is refused, in one line, until the first one lets go, or forgets it."""
    with StateLock(path) as lock:
        lock.save(OLD)
        with pytest.raises(ConfigError) as refused:
            StateLock(path)
    assert str(refused.value) == (
        f"{path}: another bootstrap uses this cluster state; a cluster has one, so stop that one first"
    )
    kept = [StateLock(path)]
    with pytest.raises(ConfigError):
        StateLock(path)
    kept.clear()
    StateLock(path).close()
    assert state_file.load(path) == OLD
    assert path.with_name("shards.state.lock").stat().st_mode & 0o777 == 0o600


def test_lock_outlives_its_parent(path: Path) -> None:
    """A child that daemonizing forked has it as long as it lives, also when its parent has let go."""
    lock, (read, write) = StateLock(path), os.pipe()
    child = os.fork()
    if not child:  # it lives until the parent closes the pipe
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    lock.close()
    with pytest.raises(ConfigError, match="another bootstrap uses"):
        StateLock(path)
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)
    StateLock(path).close()


def test_lock_where_no_file_can_be(path: Path) -> None:
    """A place that can't be written is told as such."""
    path.with_name("shards.state.lock").symlink_to(path)
    with pytest.raises(ConfigError, match=r"can't be written \(Too many levels of symbolic links\); name a place"):
        StateLock(path)
    assert not path.exists()


def test_lock_that_the_disk_does_not_have(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks is told as such, and not used."""

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match=r"can't be locked \(No locks available\)"):
        StateLock(path)


@pytest.mark.parametrize("fails_at", ["open", "fsync", "replace"])
def test_save_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    """A disk that is full, or fails otherwise, leaves the old file."""
    state_file.save(path, OLD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if fails_at == "replace" else os, fails_at, full)
        with pytest.raises(ConfigError, match=r"can't be written \(No space left on device\)"):
            state_file.save(path, NEW)
    assert state_file.load(path) == OLD
