"""Daemons end and start again in every order: the others go on, and all reconnect by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import permutations

import pytest
from functional.cluster import PATIENCE, Cluster

from pyshard import Pyshard
from pyshard.errors import OutcomeUnknown, Unavailable

pytestmark = pytest.mark.functional

_INDEX = "pages"

#: Orders in which daemons end and start again: one in CI, all with PYSHARD_TEST_ORDERS=6.
_IN_CI = [("bootstrap", "b", "a")]
_ORDERS = [*_IN_CI, *sorted({*permutations(["a", "b", "bootstrap"])} - {*_IN_CI})]
_MOST = int(os.environ.get("PYSHARD_TEST_ORDERS", len(_IN_CI)))

#: Seconds given to calls that are to fail.
_SHORT = 0.5


def fails_in_time(error: type[Exception], call: Callable[[], object]) -> bool:
    """Whether a call with a short deadline fails with an error, far before any other deadline."""
    began = time.monotonic()
    with pytest.raises(error):
        call()
    return time.monotonic() - began < 10 * _SHORT


@pytest.mark.parametrize("order", _ORDERS[:_MOST], ids="-".join)
def test_every_order(cluster: Cluster, order: tuple[str, ...]) -> None:
    """Killed and restarted one by one, or stopped all and started, in any order: one client works through it all.

    A memory shard comes back empty and is a part of the cluster again, named index included; what the others have
    is not touched.
    """
    daemons = {daemon.name: daemon for daemon in cluster.daemons}
    keys = {one.name: (cluster.keys(at, 1)[0], cluster.keys(at, 1, _INDEX)[0]) for at, one in enumerate(cluster.shards)}
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        pages = app.index(_INDEX)
        pages.create()

        def fill(name: str) -> None:
            app.write(keys[name][0], name)
            pages.write(keys[name][1], [name])

        def held(name: str) -> list[object]:
            found = app.read(keys[name][0]), pages.read(keys[name][1])
            return [one and one["record"] for one in found]

        for name in keys:
            fill(name)
        for name in order:
            daemons[name].end(signal.SIGKILL)
            daemons[name].start()
            for each in keys:
                assert held(each) == ([None, None] if each == name else [each, [each]])
                fill(each)
            assert app.indexes() == [_INDEX]

        for name in order:
            daemons[name].end()
        for name in order:
            daemons[name].start()
            daemons[name].wait_listening()
        for name in keys:
            assert held(name) == [None, None]
            fill(name)
            assert held(name) == [name, [name]]
        assert app.indexes() == [_INDEX]
    cluster.wait_ready()


def test_killed_shard(cluster: Cluster) -> None:
    """While a shard is dead its keys fail by the deadline and the other's work; afterwards the same client does all."""
    (dead,), (living,) = cluster.keys(0, 1), cluster.keys(1, 1)
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        app.write(dead, "old")
        app.write(living, "old")
        cluster.shards[0].end(signal.SIGKILL)
        calls: list[Callable[[], object]] = [
            lambda: app.read(dead, deadline=_SHORT),
            lambda: app.write(dead, "new", deadline=_SHORT),
            lambda: app.pop(dead, deadline=_SHORT),
            lambda: list(app.keys(deadline=_SHORT)),
        ]
        for call in calls:
            assert fails_in_time(Unavailable, call)
            assert app.write(living, "new") == 52
            assert app.read(living) == {"hash_": pytest.approx(0.75, abs=0.25), "record": "new"}
        shards = app.stat(deadline=_SHORT)["shards"]
        assert isinstance(shards, list)
        assert ["error" in shard for shard in shards] == [True, False]
        cluster.wait_states("unreachable", "ready")

        cluster.shards[0].start()
        assert app.read(dead) is None
        assert app.write(dead, "again") == 54
        assert app.read(dead) == {"hash_": pytest.approx(0.25, abs=0.25), "record": "again"}
        assert sorted(app.keys()) == sorted([dead, living])


def test_dead_bootstrap(cluster: Cluster) -> None:
    """Without the bootstrap documents are read and written; only what it alone can do is unavailable."""
    (key,), (other,) = cluster.keys(0, 1), cluster.keys(1, 1)
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        cluster.bootstrap.end(signal.SIGKILL)
        for one in (key, other):
            assert app.write(one, 1) == 28
            assert app.read(one) is not None
        assert sorted(app.keys()) == sorted([key, other])
        assert fails_in_time(Unavailable, lambda: app.create_index(_INDEX, deadline=_SHORT))
        assert fails_in_time(Unavailable, lambda: app.readiness(deadline=_SHORT))
        cluster.bootstrap.start()
        app.create_index(_INDEX)
        assert app.write(key, 1, _INDEX) == 28


def test_stopped_shard(cluster: Cluster) -> None:
    """A shard that is stopped, not dead, holds up nobody: its calls end by their deadline, the others go on.

    A change that was sent is OutcomeUnknown; what could not be sent any more is Unavailable, and so is a read. It works
    again when the shard goes on.
    """
    (stopped, second), (living,) = cluster.keys(0, 2), cluster.keys(1, 1)
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        app.write(stopped, "old")
        cluster.shards[0].send(signal.SIGSTOP)
        assert fails_in_time(OutcomeUnknown, lambda: app.write(second, "new", deadline=_SHORT))
        assert fails_in_time(Unavailable, lambda: app.write(second, "new", deadline=_SHORT))
        assert fails_in_time(Unavailable, lambda: app.read(stopped, deadline=_SHORT))
        assert fails_in_time(Unavailable, lambda: list(app.keys(deadline=_SHORT)))
        assert app.write(living, "new") == 52
        assert app.read(living) is not None
        with Pyshard(cluster.server) as newcomer:  # the port accepts it, and nobody answers
            assert fails_in_time(Unavailable, lambda: newcomer.write(stopped, "x", deadline=_SHORT))
            assert newcomer.read(living) is not None
        cluster.shards[0].send(signal.SIGCONT)
        assert app.write(stopped, "again") == 54
        assert app.read(stopped) == {"hash_": pytest.approx(0.25, abs=0.25), "record": "again"}


def test_close_with_stopped_shard(cluster: Cluster) -> None:
    """Closing a client takes no longer because a shard doesn't read what was sent to it."""
    app = Pyshard(cluster.server, deadline=PATIENCE)
    keys = cluster.keys(0, 3)
    app.write(keys[0], 1)
    cluster.shards[0].send(signal.SIGSTOP)
    for key in keys:
        with pytest.raises((OutcomeUnknown, Unavailable)):
            app.write(key, b"x" * 10_000_000, deadline=_SHORT)
    began = time.monotonic()
    app.close()
    assert time.monotonic() - began < 5
