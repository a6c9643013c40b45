"""Scans in a cluster in memory: what is to be found, all that is found, small pages and slow answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from twisted.internet.defer import gatherResults

from pyshard import Client
from pyshard.client.key_pages import KeyPages
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.shard import shard as shard_module
from pyshard.testing import MemoryCluster


def fill(cluster: MemoryCluster, client: Client, keys: Sequence[str], index: str | None = None) -> list[str]:
    """Write these keys; they come back in the order of a scan."""
    cluster.run(gatherResults([client.write(key, 1, index) for key in keys]))
    return in_order(keys, index or "")


def in_order(keys: Sequence[str], index: str = "") -> list[str]:
    """Keys in (slot, text) order."""
    return sorted(keys, key=lambda key: (slot_of(key.encode(), index.encode()), key.encode()))


def scan(cluster: MemoryCluster, pages: KeyPages) -> list[list[str]]:
    """All pages but the empty one at the end."""
    found = []
    while page := cluster.run(pages.next_page()):
        found.append(page)
    return found


def page_keys(monkeypatch: pytest.MonkeyPatch, number: int, size: int = settings.PAGE_BYTES) -> None:
    """Have shards give pages of this many keys, and about this many bytes."""
    changed = attrs.evolve(settings, PAGE_KEYS=number, PAGE_BYTES=size)
    monkeypatch.setattr(shard_module, "settings", changed)


def with_latency(cluster: MemoryCluster, seconds: float, goes_on: Callable[[], bool], most: float) -> None:
    """Let time pass, while every answer takes so many seconds."""
    addresses = [(one.host, one.port) for one in cluster.state.map.shards] + [("localhost", 9192)]
    end = cluster.clock.seconds() + most
    while goes_on() and cluster.clock.seconds() < end:
        for address in addresses:
            cluster.network.silence(*address)
        cluster.advance(max(seconds, 0.001))
        for address in addresses:
            cluster.network.unsilence(*address)
        cluster.advance(0)
