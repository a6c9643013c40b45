"""Recorded histories over real sockets while ranges move to and fro: nothing is lost, doubled, stuck, or out of order.

Clients of all three faces are at work, as in `test_histories`. Meanwhile source, target and bootstrap are killed and
started again, or stopped for a while; or the network between two of them, or to clients, is cut. Moves are cancelled
and paused. When that is over, each move ends, and a full count is what shards count.

By hand, for longer: PYSHARD_TEST_SECONDS and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import math
import os
import random as chance
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import pytest_twisted
from functional.cluster import Cluster, NewCluster
from functional.history_round import Programs
from functional.moving_round import Cables, CutRound, Happened, MovingRound
from functional.replicated_pair import NewReplicatedPair
from histories import Tally, total
from history_calls import PAGES
from twisted.internet.threads import deferToThread

from pyshard import Pyshard
from pyshard.model.address_mapping import VARIABLE
from pyshard.model.range_moves import Phase

pytestmark = pytest.mark.functional

SECONDS = float(os.environ.get("PYSHARD_TEST_SECONDS", "2"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
PART = 60.0  # seconds of one test, of which there are as many as it takes
ROUND = 10.0  # seconds of a round at the most
MORE = 10  # rounds that a run may take beyond its time until it has had a move

PARTS = pytest.mark.parametrize("part", range(math.ceil(SECONDS / PART)))


async def started(cluster: Cluster, programs: list[Programs], seed: int) -> Programs:
    """Start a cluster, and what makes calls to it."""
    await deferToThread(cluster.start)

    def create() -> None:
        with Pyshard(cluster.server) as app:
            app.create_index(PAGES)
            app.write_many({f"document {number}": number for number in range(100)})

    await deferToThread(create)
    made = Programs(cluster, cluster.server, seed)
    programs.append(made)
    return made


async def run(seed: int, made: Callable[[int], MovingRound], happened: Happened, programs: Programs) -> None:
    """Run one round after another, and check what came of all of them."""
    tallies: list[Tally] = []
    seconds = min(SECONDS, PART)
    end, most = time.monotonic() + seconds, math.ceil(seconds / ROUND) + MORE
    while time.monotonic() < end or (not happened.moves.count(Phase.COMMITTED) and len(tallies) < most):
        try:
            tallies.append(await made(len(tallies)).run(min(ROUND, seconds)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, round {len(tallies)}: {error}") from error
    await deferToThread(programs.end)
    print(f"\nseed {seed}: {total(tallies)}; {happened}")  # noqa: T201  # the figures, as in the crash tests
    assert happened.moves.count(Phase.COMMITTED)


@PARTS
@pytest_twisted.ensureDeferred
async def test_killed_and_stopped(
    new_cluster: NewCluster, impatient: None, programs: list[Programs], part: int
) -> None:
    """Whoever of durable shards and bootstrap is killed or stopped at whatever moment."""
    cluster = new_cluster(3, durable=True)
    made, happened, seed = await started(cluster, programs, SEED + part), Happened(), SEED + part
    daemons = [*cluster.daemons, cluster.bootstrap]
    await run(seed, lambda number: MovingRound(cluster, made, seed, number, happened, daemons, daemons), happened, made)
    assert happened.kills or happened.stops


@pytest.mark.long
@PARTS
@pytest_twisted.ensureDeferred
async def test_in_memory(new_cluster: NewCluster, impatient: None, programs: list[Programs], part: int) -> None:
    """Shards in memory, which may be stopped, and a bootstrap that may be killed."""
    cluster = new_cluster(3)
    made, happened, seed = await started(cluster, programs, SEED + part), Happened(), SEED + part
    await run(
        seed,
        lambda number: MovingRound(cluster, made, seed, number, happened, [cluster.bootstrap], cluster.daemons),
        happened,
        made,
    )


@pytest.mark.long
@PARTS
@pytest_twisted.ensureDeferred
async def test_replicas_killed_and_stopped(
    new_replicated_pair: NewReplicatedPair, impatient: None, programs: list[Programs], part: int
) -> None:
    """Shards with two replicas each, any of which is killed or stopped at whatever moment; so is the bootstrap."""
    cluster = new_replicated_pair()
    made, happened, seed = await started(cluster, programs, SEED + part), Happened(), SEED + part
    daemons = cluster.daemons
    await run(seed, lambda number: MovingRound(cluster, made, seed, number, happened, daemons, daemons), happened, made)
    assert happened.kills or happened.stops
    await deferToThread(cluster.check_equal)


@PARTS
@pytest_twisted.ensureDeferred
async def test_cut_networks(
    new_cluster: NewCluster,
    impatient: None,
    programs: list[Programs],
    part: int,
    environment: Mapping[str, str],
) -> None:
    """The network is cut between any two of source, target, bootstrap and clients, in any phase."""
    from twisted.internet import reactor

    cluster = new_cluster(3, durable=True, environment=environment)
    cables = Cables(reactor, cluster)
    addresses: Any = ",".join(f"{announced}={dialed}" for announced, dialed in cables.addresses.items())
    cluster.environment = {**environment, VARIABLE: addresses}
    made, happened, seed = await started(cluster, programs, SEED + part), Happened(), SEED + part
    await run(seed, lambda number: CutRound(cluster, made, seed, number, happened, cables), happened, made)
    for cable in cables.all:
        await cable.close()
    assert happened.cuts
