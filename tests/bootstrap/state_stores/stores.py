"""The state stores, opened for tests of what each of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
from bootstrap.state_stores.fake_etcd import EtcdBench
from deferreds import result
from twisted.internet.defer import Deferred

from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.state_stores.state_store import StateStore

_T = TypeVar("_T")


@attrs.define
class OpenedStore:
    """A state store, and how to use it.

    :param pass_time: has what was asked be answered.
    :param again: opens it anew, as a next process does; None: it is gone with its process.
    """

    store: StateStore
    pass_time: Callable[[], object] = lambda: None
    again: Callable[[], StateStore] | None = None

    def run(self, work: Deferred[_T]) -> _T:
        """The result of what it was asked."""
        self.pass_time()
        return result(work)

    def reopen(self) -> None:
        """Have a next process open it."""
        assert self.again is not None
        self.store = self.again()


@contextmanager
def memory(request: pytest.FixtureRequest) -> Iterator[OpenedStore]:
    """In memory."""
    yield OpenedStore(MemoryStateStore())


@contextmanager
def file(request: pytest.FixtureRequest) -> Iterator[OpenedStore]:
    """In a file."""
    path: Path = request.getfixturevalue("tmp_path") / "shards.state"
    held = [FileStateStore(StateLock(path))]

    def again() -> StateStore:
        held.pop().close()
        held.append(FileStateStore(StateLock(path)))
        return held[0]

    yield OpenedStore(held[0], again=again)
    held.pop().close()


@contextmanager
def etcd(request: pytest.FixtureRequest) -> Iterator[OpenedStore]:
    """In a fake etcd, on a network in memory."""
    bench = EtcdBench()
    yield OpenedStore(bench.store, bench.network.settle, lambda: EtcdBench.joining(bench).store)
    bench.close()


#: Name → opens a store.
OPENERS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[OpenedStore]]] = {
    "memory": memory,
    "file": file,
    "etcd": etcd,
}
