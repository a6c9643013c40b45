"""Clients that a program forgets without closing them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pyshard.blocking.weak_method_calls import weakly
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.testing import MemoryCluster


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """What leads back to itself stays, as it may for long."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("read_from", ["primary", "nearest"])
def test_they_are_gone_at_once(cluster: MemoryCluster, read_from: ReadFrom) -> None:
    """With their connections: nothing in them leads back to itself, whatever they have done."""
    app = cluster.blocking(read_from=read_from)
    app.write("test", 1)
    app.write_many({"a": 1, "b": 2})
    assert app.get("test") == 1
    assert len(app.read_many(["a", "b"])) == 2
    assert sorted(app.keys()) == ["a", "b", "test"]
    assert app.stat()["indexes"] == []
    client = app._cluster()
    parts: list[Callable[[], object]] = [weakref.ref(client), *map(weakref.ref, client.view.pools)]
    del app, client
    assert [part() for part in parts] == [None] * 3


class _Owner:
    def double(self, number: int) -> int:
        return 2 * number


def test_a_method_whose_object_is_gone() -> None:
    """It is called as long as there is one; then something else stands for what it gives."""
    owner = _Owner()
    call = weakly(owner.double, partial(int, "7"))
    assert call(4) == 8
    del owner
    assert call(4) == 7
