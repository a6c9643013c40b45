"""The state store in a file: what isn't synced isn't there yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from bootstrap.states import STATE, fail_to_sync
from deferreds import result

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, StoredState, SwapApplied
from pyshard.errors import ConfigError, OutcomeUnknown

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
