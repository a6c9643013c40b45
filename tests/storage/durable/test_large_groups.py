"""Large groups by value: whom they leave time, and what is held."""

from __future__ import annotations

from pyshard.storage.durable.large_groups import LargeGroups
from pyshard.storage.interface import ITSELF, Sender

BUSY, OTHER = Sender("busy", "1"), Sender("other", "1")


def test_time_is_left_to_others() -> None:
    """The next one waits while others ask for small things, not for what its own sender asks."""
    groups = LargeGroups()
    groups.ask(OTHER)
    assert groups.begin(BUSY)
    groups.end(1.0, 1.01)
    groups.ask(BUSY)
    assert groups.remaining(BUSY, 1.01) == 0
    groups.ask(OTHER)
    assert groups.remaining(BUSY, 1.01) > 0
    assert groups.remaining(BUSY, 1.1) == 0
    assert groups.begin(BUSY)
    assert not groups.begin(BUSY)


def test_what_is_held() -> None:
    """Those of others wait until then; what the store has for itself is begun, and comes before all that waits."""
    groups = LargeGroups()
    groups.hold(2.0)
    assert (groups.is_held(BUSY, 1.0), groups.is_held(ITSELF, 1.0)) == (True, False)
    assert (groups.remaining(BUSY, 1.0), groups.remaining(ITSELF, 1.0)) == (1.0, 0.0)
    assert groups.comes_first(1000, 100, 1.0)
    assert not groups.is_held(BUSY, 2.0)
    assert (groups.comes_first(1000, 100, 2.0), groups.comes_first(100, 100, 2.0)) == (False, True)
