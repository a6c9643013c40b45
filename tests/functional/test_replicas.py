"""Replicas in real processes that are killed and stopped: nothing acknowledged is lost, and nobody reads stale.

Clients of all three faces are at work, as in `test_histories`, while the primary is killed, again and again. How long
it takes until writes go on is printed, and asserted nowhere: a machine may be slow.

By hand, for longer: PYSHARD_TEST_FAILOVERS, PYSHARD_TEST_LEASE and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import random as chance
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pytest_twisted
from functional.cluster import PATIENCE, until
from functional.failover_round import FailoverRound, FailoverTimes
from functional.history_round import Programs
from functional.pulse import Pulse
from functional.replicated_cluster import NewReplicatedCluster, ReplicatedCluster
from histories import Tally, total
from history_calls import PAGES
from twisted.internet.threads import deferToThread

from pyshard import Pyshard
from pyshard.errors import Unavailable

pytestmark = pytest.mark.functional

FAILOVERS = int(os.environ.get("PYSHARD_TEST_FAILOVERS", "1"))
LEASE = float(os.environ.get("PYSHARD_TEST_LEASE", "1"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
ROUND = 5  # failovers of one round, whose history is checked then
SECONDS = 2.0  # of a failover's load, when none takes longer

DOCUMENTS = {f"document {number}": number for number in range(200)}


def filled(cluster: ReplicatedCluster) -> ReplicatedCluster:
    """Start a cluster, and write some documents."""
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.create_index(PAGES)
        app.write_many(DOCUMENTS)
    return cluster


def check_documents(app: Pyshard) -> None:
    """All documents that were written first are there."""
    assert app.get_many(list(DOCUMENTS), deadline=PATIENCE) == list(DOCUMENTS.values())


def say(*what: object) -> None:
    """Print figures, for whoever runs it by hand."""
    print("\n", *what)  # noqa: T201  # see above


@pytest.mark.parametrize(
    ("replicas", "durable"),
    [pytest.param(2, True, id="durable"), pytest.param(3, False, id="in memory", marks=pytest.mark.long)],
)
@pytest_twisted.ensureDeferred
async def test_failovers(
    new_replicated_cluster: NewReplicatedCluster,
    impatient: None,
    programs: list[Programs],
    replicas: int,
    durable: bool,
) -> None:
    """The primary is killed under load, and comes back: all histories are linearizable, and all replicas equal."""
    cluster = new_replicated_cluster(replicas, lease=LEASE, durable=durable)
    await deferToThread(filled, cluster)
    made = Programs(cluster, cluster.server, SEED)
    programs.append(made)
    times, tallies = FailoverTimes(), list[Tally]()
    while len(times.whole) < FAILOVERS:
        now = min(ROUND, FAILOVERS - len(times.whole))
        round_ = FailoverRound(cluster, made, SEED, len(tallies), times, now)
        try:
            tallies.append(await round_.run(SECONDS * now * max(1.0, LEASE)))
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, round {len(tallies)}: {error}") from error
        say(f"seed {SEED}: {times}; {tallies[-1]}")
    await deferToThread(made.end)
    await deferToThread(check_equal, cluster)
    say(f"seed {SEED}, {replicas} replicas, lease {LEASE:g} s: {times}; {total(tallies)}")


def check_equal(cluster: ReplicatedCluster) -> None:
    """All replicas have the same: durable ones on disk, those in memory when they lead, one after the other."""
    time.sleep(LEASE)  # so that all members know what is committed
    if cluster.durable:
        cluster.end_all()
        (first, *others) = cluster.contents().values()
        assert first.rows >= len(DOCUMENTS)
        assert others == [first] * len(others)
        return
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        before = items(app)
        assert len(before) >= len(DOCUMENTS)
        for _ in cluster.replicas[1:]:
            former = cluster.primary()
            former.kill()
            cluster.wait_led_by_another(former)
            assert items(app) == before


def items(app: Pyshard) -> dict[tuple[str, str], Any]:
    """All documents, with their versions and expiries."""
    keys = [(index, key) for index in ("", PAGES) for key in app.keys(index=index or None)]
    found = {}
    for index, key in keys:
        item = app.item(key, index=index or None)
        assert item is not None
        found[index, key] = item["record"], item["version"], item["expiry"]
    return found


@pytest.mark.long
def test_a_member_is_lost(new_replicated_cluster: NewReplicatedCluster) -> None:
    """A member is killed: writes stand still until the group goes on without it, and it joins again."""
    cluster = filled(new_replicated_cluster(3, lease=LEASE))
    with Pulse(cluster.server) as pulse, Pyshard(cluster.server, deadline=PATIENCE) as app:
        (victim, _) = cluster.members()
        app.write("before", 1)
        killed = time.monotonic()
        victim.kill()
        app.write("after", 2)
        until(lambda: pulse.first_after(killed) is not None, "writes go on")
        until(lambda: len(cluster.group().members) == 2, "the group goes on without it")
        victim.start()
        cluster.wait_whole()
        check_documents(app)
    say(f"a member was lost: the shard stood still for {pulse.longest():.2f} s")


def test_a_stopped_primary_gives_nothing_stale(new_replicated_cluster: NewReplicatedCluster) -> None:
    """A primary is stopped past its lease, and another one leads: when it wakes, it answers no read by itself."""
    cluster = filled(new_replicated_cluster(2, lease=LEASE))
    with Pyshard(cluster.server, deadline=PATIENCE) as old, ThreadPoolExecutor(1) as pool:
        old.write("key", "old")
        stopped = cluster.primary()
        stopped.send(signal.SIGSTOP)
        cluster.wait_led_by_another(stopped)
        with Pyshard(cluster.server, deadline=PATIENCE) as new:
            new.write("key", "new")
            read = pool.submit(old.get, "key")  # it goes to the stopped one, and waits there
            time.sleep(0.2)
            stopped.send(signal.SIGCONT)
            assert read.result(PATIENCE) == "new"
            assert old.get("key") == "new"
        cluster.wait_whole()


@pytest.mark.parametrize(
    "durable", [pytest.param(True, id="durable"), pytest.param(False, id="in memory", marks=pytest.mark.long)]
)
def test_all_are_killed_at_once(new_replicated_cluster: NewReplicatedCluster, durable: bool) -> None:
    """All daemons are killed and started: a durable shard has everything, one in memory begins anew, empty."""
    cluster = filled(new_replicated_cluster(2, lease=LEASE, durable=durable))
    before = cluster.group().ballot
    cluster.end_all(signal.SIGKILL)
    cluster.start()
    until(lambda: cluster.group().ballot > before, "the primary has a new ballot")
    cluster.wait_whole()
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        if durable:
            check_documents(app)
        else:
            assert list(app.keys()) == []
        app.write("key", 1)
        assert app.get("key") == 1


@pytest.mark.long
def test_no_bootstrap_meanwhile(new_replicated_cluster: NewReplicatedCluster) -> None:
    """Without a bootstrap data goes on, but nobody leads in a lost primary's place until one is there again."""
    cluster = filled(new_replicated_cluster(2, lease=LEASE))
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        cluster.bootstrap.kill()
        app.write("key", 1)
        time.sleep(2 * LEASE)
        app.write("key", 2)
        assert app.get("key") == 2
        lost = cluster.primary()
        lost.kill()
        with pytest.raises(Unavailable):
            app.get("key", deadline=3 * LEASE)
        cluster.bootstrap.start()
        assert app.get("key") == 2
        app.write("key", 3)
        lost.start()
        cluster.wait_whole()
        check_documents(app)


@pytest.mark.long
def test_a_third_one_is_added(new_replicated_cluster: NewReplicatedCluster) -> None:
    """A changed config and a restarted bootstrap give a shard one more replica, while it is written to."""
    cluster = filled(new_replicated_cluster(2, lease=LEASE))
    with Pulse(cluster.server):
        cluster.add_replica().start()
        cluster.bootstrap.end()
        cluster.bootstrap.start()
        cluster.wait_whole()
    assert len(cluster.group().members) == 3
    check_equal(cluster)
