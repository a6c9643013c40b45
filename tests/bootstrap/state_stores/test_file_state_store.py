"""The state store in a file: what isn't synced isn't there yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from bootstrap.states import STATE, fail_to_sync
from deferreds import result, watch
from twisted.internet.defer import Deferred, execute

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.state_store import (
    NOTHING,
    Revision,
    StoredState,
    SwapApplied,
    SwapRefused,
)
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model.cluster_state import ClusterState

_T = TypeVar("_T")

NEXT, OTHER = STATE.with_index("links"), STATE.with_index("others")


def test_a_swap_that_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the file, and doesn't count: it may be tried again, and so may another one in its place."""
    for second in (NEXT, OTHER):
        path = tmp_path / f"{len(second.indexes)}-{'links' in second.indexes}"
        with StateLock(path) as lock:
            store = FileStateStore(lock)
            first = result(store.swap(STATE, NOTHING, "a-1"))
            assert isinstance(first, SwapApplied)
            with monkeypatch.context() as patch:
                fail_to_sync(patch)
                with pytest.raises(OutcomeUnknown):
                    result(store.swap(NEXT, first.revision, "a-2"))
            assert state_file.load(path) == NEXT
            assert result(store.get()) == StoredState(STATE, first.revision, "a-1")
            assert isinstance(result(store.swap(second, first.revision, "a-2")), SwapApplied)
            assert state_file.load(path) == second


def test_what_is_found_is_synced_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that a power failure might take away again isn't told."""
    path = tmp_path / "state"
    state_file.save(path, STATE)
    with StateLock(path) as lock:
        store = FileStateStore(lock)
        with monkeypatch.context() as patch:
            fail_to_sync(patch)
            with pytest.raises(OutcomeUnknown):
                result(store.get())
        assert result(store.get()) == StoredState(STATE, Revision(1))


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    """It stays as it is."""
    path = tmp_path / "state"
    path.write_bytes(b"something else")
    with StateLock(path) as lock:
        store = FileStateStore(lock)
        with pytest.raises(ConfigError, match="this is no cluster state"):
            result(store.get())
        with pytest.raises(ConfigError, match="this is no cluster state"):
            result(store.swap(STATE, NOTHING, "a-1"))
    assert path.read_bytes() == b"something else"


class Elsewhere:
    """Another thread, of which a test says when it works.

    :ivar works: what it is to do.
    """

    def __init__(self) -> None:
        self.works: list[Callable[[], object]] = []

    def run(self, function: Callable[[], _T], /) -> Deferred[_T]:
        """Have a function called there."""
        done: Deferred[_T] = Deferred()
        self.works.append(lambda: execute(function).chainDeferred(done))
        return done

    def work(self) -> None:
        """Do all of it, in another thread."""
        works, self.works = self.works, []
        for each in works:
            thread = threading.Thread(target=each)
            thread.start()
            thread.join()


def test_the_disk_holds_up_nobody(tmp_path: Path) -> None:
    """What is read and written elsewhere is told when it is there, and not before."""
    elsewhere = Elsewhere()
    with StateLock(tmp_path / "state") as lock:
        store = FileStateStore(lock)
        store.work_in(elsewhere.run)
        swapped = watch(store.swap(STATE, NOTHING, "a-1"))
        assert (swapped, state_file.load(lock.path)) == ([], None)
        elsewhere.work()
        assert swapped == [SwapApplied(Revision(1))]
        assert state_file.load(lock.path) == STATE
        found = watch(store.get())
        assert found == []
        elsewhere.work()
        assert found == [StoredState(STATE, Revision(1), "a-1")]


def test_writes_of_several_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is over before the next one begins: a late one that nobody waits for is seen, and refuses the other."""
    begun, goes_on, saved = threading.Event(), threading.Event(), list[object]()
    save = state_file.save

    def slow(path: Path, state: ClusterState) -> None:
        begun.set()
        assert goes_on.wait(30)
        save(path, state)
        saved.append(state)

    with StateLock(tmp_path / "state") as lock:
        store = FileStateStore(lock)
        first = store.write(STATE, NOTHING, "a-1")
        assert isinstance(first, SwapApplied)
        monkeypatch.setattr(state_file, "save", slow)
        outcomes: dict[str, object] = {}

        def write(state: ClusterState, name: str) -> None:
            outcomes[name] = store.write(state, first.revision, name)

        late = threading.Thread(target=write, args=(NEXT, "a-2"))
        late.start()
        assert begun.wait(30)
        other = threading.Thread(target=write, args=(OTHER, "a-3"))
        other.start()
        goes_on.set()
        for thread in (late, other):
            thread.join()
        assert saved == [NEXT]
        assert outcomes == {
            "a-2": SwapApplied(Revision(2)),
            "a-3": SwapRefused(StoredState(NEXT, Revision(2), "a-2")),
        }
