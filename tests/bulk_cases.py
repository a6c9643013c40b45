"""What the tests of the bulk verbs share."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from clusters import outcome
from twisted.internet.defer import Deferred

from pyshard.client import bulk, router
from pyshard.client_core import bulk_input
from pyshard.errors import PartialFailure
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


def owner(cluster: MemoryCluster, key: object) -> str:
    """The shard of a key."""
    return cluster.map.lookup(slot_of(str(key).encode())).name


def failure(cluster: MemoryCluster, work: Deferred[Any]) -> PartialFailure:
    """The failure that a bulk verb ends with."""
    found = outcome(cluster, work)
    assert isinstance(found, PartialFailure), found
    return found


def small(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Have bulk verbs go by other limits."""
    for module in (bulk, bulk_input, router):
        monkeypatch.setattr(module, "settings", attrs.evolve(settings, **changed))
