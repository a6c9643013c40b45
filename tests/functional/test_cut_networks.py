"""A replicated shard over real processes whose network is cut, in one direction or both, for longer than the lease.

Each process is on a machine of its own (`network_namespaces`). Clients are at work meanwhile: in the end their
histories are linearizable, nothing acknowledged is lost, all replicas have the same, and one of them leads.
docs/availability.md says what goes on meanwhile, and what stops. Figures are printed.

By hand, for all: see CONTRIBUTING.md. PYSHARD_TEST_CUT has the seconds of a cut, PYSHARD_TEST_LEASE those of a lease.
"""

from __future__ import annotations

import os
import random as chance
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from functional.cluster import Daemon
from functional.cut_round import BOTH, CUTS, INCOMING, OUTGOING, CutRound, check_equal
from functional.etcd_servers import needs_etcd
from functional.network_namespaces import Network, network_or_skip
from functional.networked_cluster import MACHINES, OPERATOR, NetworkedCluster
from history_calls import PAGES

from pyshard.errors import PyshardError

pytestmark = [pytest.mark.functional, needs_etcd]

SECONDS = float(os.environ.get("PYSHARD_TEST_CUT", "5"))
LEASE = float(os.environ.get("PYSHARD_TEST_LEASE", "1"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))

#: The one case that CI has.
_IN_CI = "all but clients", OUTGOING

_CASES = [
    pytest.param(name, way, id=f"{name}, {way}", marks=() if (name, way) == _IN_CI else pytest.mark.long)
    for name in CUTS
    for way in (OUTGOING, INCOMING, BOTH)
]


@pytest.fixture
def network() -> Iterator[Network]:
    """All machines, nothing of which is cut."""
    with network_or_skip(MACHINES) as made:
        yield made


@pytest.mark.parametrize(("name", "way"), _CASES)
def test_cut(
    network: Network,
    environment: Mapping[str, str],
    daemons: list[Daemon],
    no_complaints: None,
    tmp_path: Path,
    name: str,
    way: str,
) -> None:
    """What is to go on goes on, what can't be safe isn't acknowledged, and all is whole when the network is healed."""
    network.enter(OPERATOR)  # each test has a thread of its own
    cut = CUTS[name]
    cluster = NetworkedCluster(tmp_path, environment, network, LEASE, cut.least)
    daemons.extend(cluster.daemons)
    round_ = CutRound(cluster, cut, way, SECONDS, SEED)
    try:
        cluster.start()
        cluster.index(PAGES)
        tally = round_.run()
        check_equal(cluster)
    except (AssertionError, PyshardError) as error:
        for daemon in cluster.daemons:
            print(f"---- {daemon.name} on {daemon.machine.host}\n{daemon.log()}")  # noqa: T201  # pytest shows it
        raise AssertionError(f"seed {SEED}, {round_.times}: {error}") from error
    finally:
        round_.close()
        cluster.close()
    print(f"\n{name}, {way}: {round_.times}; {tally}")  # noqa: T201  # for whoever runs it by hand
