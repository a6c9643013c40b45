"""Real bootstraps over real etcd servers: members that go, all of them away for a while, compaction, logins and TLS."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, TypeVar

import attrs
import pytest
from bootstrap.state_stores.stores import OpenedStore
from bootstrap.state_stores.test_contract import (  # noqa: F401  # they are run here, too
    test_a_swap_against_another_revision_is_refused,
    test_a_swap_may_be_tried_again,
    test_it_has_a_name,
    test_it_outlives_who_opened_it,
    test_nothing_at_first,
    test_of_two_swaps_one_is_applied,
    test_what_was_put_there_is_there,
    test_who_waits_is_told,
)
from bootstrap.states import STATE
from certificates import Certificates
from deferreds import watch
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster, run, until
from functional.etcd_servers import EtcdServers, needs_etcd
from ports import free_port
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor

from pyshard import Pyshard
from pyshard.bootstrap.state_changes import StateChanges
from pyshard.bootstrap.state_options import StatePlace, open_etcd
from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore
from pyshard.bootstrap.state_stores.state_address import state_address
from pyshard.bootstrap.state_stores.state_store import NOTHING, StateStore
from pyshard.errors import BadRequest, IndexExists, OutcomeUnknown, StaleEpoch, Unavailable
from pyshard.model.cluster_state import ClusterState
from pyshard.model.move_requests import changed_move
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.range_plan import Transfer

pytestmark = [pytest.mark.functional, needs_etcd]

_T = TypeVar("_T")
A, B = StoreId("1d", "x"), StoreId("2e", "y")
MOVE = Transfer("low", "high", ((0, 10),))
_USER, _PASSWORD = "pyshard", "not in any log"


class RealStore(OpenedStore):
    """A state store over real sockets, with a reactor that runs while something is waited for."""

    def __init__(self, address: str) -> None:
        self.reactor = EPollReactor()
        self._place = StatePlace(state_address(address))
        self.stores: list[EtcdStateStore] = []
        super().__init__(self.open(), lambda: self.pass_seconds(0.2), self.open)

    def open(self) -> StateStore:
        """Open it, as a process does."""
        self.stores.append(open_etcd(self._place, self.reactor))
        return self.stores[-1]

    def run(self, work: Deferred[_T]) -> _T:
        found = watch(work)
        end = time.monotonic() + PATIENCE
        while not found and time.monotonic() < end:
            self.reactor.iterate(0.02)
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    def pass_seconds(self, seconds: float) -> None:
        """Have what was begun go on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.reactor.iterate(0.02)

    def close(self) -> None:
        """Close all connections."""
        for store in self.stores:
            self.run(store.close())
        self.reactor.removeAll()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServers]:
    """One server, which isn't started."""
    yield from _servers(EtcdServers(tmp_path), start=False)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[EtcdServers]:
    """Three servers."""
    yield from _servers(EtcdServers(tmp_path, 3))


def _servers(made: EtcdServers, start: bool = True) -> Iterator[EtcdServers]:
    try:
        if start:
            made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServers]:
    """One server for all tests that leave it alone."""
    yield from _servers(EtcdServers(tmp_path_factory.mktemp("etcd")))


@pytest.fixture
def opened(lasting: EtcdServers, request: pytest.FixtureRequest) -> Iterator[OpenedStore]:
    """The contract's state store, in a real etcd."""
    made = RealStore(f"{lasting.address}/{request.node.name}")
    yield made
    made.close()


class TwoBootstraps:
    """A cluster of two shards whose state is in etcd, with two bootstraps; nothing is started.

    :param options: of the bootstraps.
    """

    def __init__(self, cluster: Cluster, etcd: EtcdServers, daemons: list[Daemon], *options: str) -> None:
        self.cluster = cluster
        self.etcd = etcd
        port = free_port()
        self.second = Daemon(
            cluster.folder,
            "second",
            port,
            cluster.environment,
            "pyshard-bootstrap",
            "--config=etc/shards.json",
            f"--listen={HOST}:{port}",
        )
        daemons.append(self.second)
        self.both = [cluster.bootstrap, self.second]
        self._pages = {daemon.name: free_port() for daemon in self.both}
        for daemon in self.both:
            page = f"--http={HOST}:{self._pages[daemon.name]}"
            for option in (f"--state={etcd.address}", page, *options):
                daemon.add_option(option)

    def start(self) -> None:
        """Start everything, and wait until all is ready."""
        self.second.start()
        self.cluster.start()
        self.second.wait_listening()
        for daemon in self.both:
            with self.client(daemon) as app:
                until(partial(self.ready, app), f"{daemon.name} finds all shards ready")

    def ready(self, app: Pyshard) -> bool:
        """Whether a bootstrap finds all shards ready."""
        try:
            return [one["state"] for one in app.readiness()] == ["ready", "ready"]
        except Unavailable:
            return False

    def client(self, daemon: Daemon | None = None, deadline: float = PATIENCE) -> Pyshard:
        """A client of one of the bootstraps; default: the first one."""
        return Pyshard(f"{HOST}:{(daemon or self.cluster.bootstrap).port}", deadline=deadline)

    def stat(self, daemon: Daemon) -> dict[str, Any]:
        """What a bootstrap tells of its state store."""
        told: dict[str, Any] = json.loads(self.page(daemon, "stat.json")[1])["state_store"]
        return told

    def is_away(self, daemon: Daemon) -> bool:
        """Whether a bootstrap says that etcd is away."""
        return bool(self.stat(daemon)["away"] > 0)

    def is_at_hand(self, daemon: Daemon) -> bool:
        """Whether it says that it isn't."""
        return not self.is_away(daemon)

    def page(self, daemon: Daemon, name: str) -> tuple[int, str]:
        """Status and text of a page of a bootstrap."""
        connection = HTTPConnection(HOST, self._pages[daemon.name], timeout=PATIENCE)
        try:
            connection.request("GET", f"/{name}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def create(self, daemon: Daemon, name: str) -> None:
        """Create an index at one bootstrap, as soon as that can be, and see it at the other one."""
        (other,) = (each for each in self.both if each is not daemon)

        def created(app: Pyshard) -> bool:
            try:
                app.create_index(name)
            except (Unavailable, OutcomeUnknown):
                return name in app.indexes()
            except IndexExists:
                return True
            return True

        with self.client(daemon, 10) as app, self.client(other) as there:
            until(partial(created, app), f"{daemon.name} creates {name}")
            until(lambda: name in there.indexes(), f"{other.name} knows of {name}")


@pytest.fixture
def bootstraps(
    new_cluster: NewCluster, etcd: EtcdServers, daemons: list[Daemon], request: pytest.FixtureRequest
) -> Iterator[TwoBootstraps]:
    """Two of them over one etcd."""
    yield from _with_two(new_cluster(durable=True), etcd, daemons)


def _with_two(cluster: Cluster, etcd: EtcdServers, daemons: list[Daemon], *options: str) -> Iterator[TwoBootstraps]:
    made = TwoBootstraps(cluster, etcd, daemons, *options)
    yield made
    made.second.kill()


DOCS = {f"key {number}": number for number in range(100)}


def test_two_bootstraps(bootstraps: TwoBootstraps) -> None:
    """Each serves and changes; when one is killed the other one goes on, and it finds all when it is back."""
    bootstraps.etcd.start()
    bootstraps.start()
    one, two = bootstraps.both
    with bootstraps.client() as app:
        app.write_many(DOCS)
    bootstraps.create(one, "first")
    bootstraps.create(two, "second")
    one.kill()
    with bootstraps.client(two) as app:
        app.create_index("third")
        assert app.get_many(list(DOCS)) == list(DOCS.values())
    one.start()
    one.wait_listening()
    with bootstraps.client(one) as app:
        until(lambda: bootstraps.ready(app), "it is back")
        assert app.indexes() == ["first", "second", "third"]
    for daemon in bootstraps.both:
        assert bootstraps.stat(daemon)["away"] == 0
        assert "other shards or ranges" not in daemon.log()


def test_etcd_is_away(bootstraps: TwoBootstraps) -> None:
    """Data and map are served, and the cluster can't be changed; then it goes on. The log and `stat` tell."""
    bootstraps.etcd.start()
    bootstraps.start()
    one, two = bootstraps.both
    bootstraps.etcd.kill()
    with bootstraps.client() as app:
        app.write_many(DOCS)
        with pytest.raises((Unavailable, OutcomeUnknown)):
            app.create_index("refused", deadline=3)
        assert app.get_many(list(DOCS)) == list(DOCS.values())
        assert [one["state"] for one in app.readiness()] == ["ready", "ready"]
    for daemon in bootstraps.both:
        until(partial(bootstraps.is_away, daemon), f"{daemon.name} tells")
        assert "connection refused" in bootstraps.stat(daemon)["error"]
        assert bootstraps.page(daemon, "readyz") == (200, "ok\n")
        assert "changes of the cluster wait" in daemon.log()
    bootstraps.etcd.start()
    for daemon in bootstraps.both:
        until(partial(bootstraps.is_at_hand, daemon), f"{daemon.name} has etcd again")
    bootstraps.create(one, "later")
    bootstraps.create(two, "latest")


def test_etcd_is_away_at_the_start(bootstraps: TwoBootstraps) -> None:
    """A bootstrap waits for it, and its clients hear so; then one of two makes the cluster, and both have it."""
    for daemon in (*bootstraps.both, *bootstraps.cluster.shards):
        daemon.start()
        daemon.wait_listening()
    with pytest.raises(Unavailable, match="waits for it: etcd at"), bootstraps.client(deadline=2) as app:
        app.read("key")
    assert bootstraps.page(bootstraps.cluster.bootstrap, "readyz")[0] == 503
    assert "it waits for a cluster state" in bootstraps.cluster.bootstrap.log()
    bootstraps.etcd.start()
    for daemon in bootstraps.both:
        with bootstraps.client(daemon) as app:
            until(partial(bootstraps.ready, app), f"{daemon.name} finds all shards ready")
            app.write("key", 1)


def test_at_odds(opened: RealStore) -> None:
    """One commits a move while the other one cancels it, again and again: one of them wins each time, and no more."""
    opened.run(opened.store.swap(STATE, NOTHING, "first"))
    both = [StateChanges(opened.open(), opened.reactor, name, None, lambda: None) for name in ("a", "b")]
    for each in both:
        opened.run(each.look())
    phases = Counter[Phase]()
    for number in range(1, 41):
        committing, cancelling = both[:: 1 if number % 2 else -1]
        opened.run(committing.change(lambda state: state.with_moves([MOVE])))
        for step in (lambda move: move.begun(A, B), RangeMove.sealing):
            opened.run(committing.change(partial(stepped, step)))
        opened.run(cancelling.look())
        commit = watch(committing.change(partial(stepped, RangeMove.committed)))
        cancel = watch(cancelling.change(partial(cancelled, number)))
        until_both = time.monotonic() + PATIENCE
        while not (commit and cancel) and time.monotonic() < until_both:
            opened.pass_seconds(0.01)
        refused = [each for each in (*commit, *cancel) if isinstance(each, (BadRequest, StaleEpoch))]
        assert len(refused) == 1
        opened.run(committing.look())
        (move,) = committing.state.moves
        assert move.phase is (Phase.CANCELLED if refused == commit else Phase.COMMITTED)
        phases[move.phase] += 1
        opened.run(committing.change(forgotten))
    assert min(phases[Phase.COMMITTED], phases[Phase.CANCELLED]) > 0


def cancelled(number: int, state: ClusterState) -> ClusterState:
    """The next state, in which the move is cancelled."""
    return state.with_move(changed_move(state.moves, number, "cancel"))


def forgotten(state: ClusterState) -> ClusterState:
    """The next state, without the move, and with the ranges as they were."""
    return attrs.evolve(state.without_move(state.moves[0].number), map=STATE.map)


def stepped(step: Callable[[RangeMove], RangeMove], state: ClusterState) -> ClusterState:
    """The next state, in which the move is one step further.

    :raises StaleEpoch: it can't be.
    """
    try:
        return state.with_move(step(state.moves[0]))
    except ValueError as error:
        raise StaleEpoch(str(error)) from None


@pytest.fixture
def over_three(new_cluster: NewCluster, three: EtcdServers, daemons: list[Daemon]) -> Iterator[TwoBootstraps]:
    """Two bootstraps over three servers."""
    yield from _with_two(new_cluster(durable=True), three, daemons)


def test_the_leader_is_gone(over_three: TwoBootstraps) -> None:
    """Changes go on, by whichever bootstrap."""
    over_three.start()
    one, two = over_three.both
    over_three.etcd.kill(over_three.etcd.leader())
    over_three.create(one, "first")
    over_three.create(two, "second")


@pytest.mark.long
def test_members_come_and_go(over_three: TwoBootstraps) -> None:
    """One stands still, one after the other is gone, old revisions are forgotten, and all are away for a minute."""
    etcd = over_three.etcd
    over_three.start()
    one, two = over_three.both
    for number in range(3):
        etcd.compact()
        etcd.freeze(number)
        over_three.create(one, f"a{number}")
        over_three.create(two, f"b{number}")
        etcd.freeze(number, False)
        etcd.kill(number)
        over_three.create(two, f"c{number}")
        etcd.start(number)
    etcd.kill()
    with over_three.client() as app:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            app.write_many(DOCS)
            assert app.get_many(list(DOCS)) == list(DOCS.values())
    etcd.start()
    over_three.create(one, "last")
    with over_three.client(two) as app:
        assert len(app.indexes()) == 10


def test_login_and_tls(new_cluster: NewCluster, daemons: list[Daemon], tmp_path: Path) -> None:
    """Both by files. The password is in no log and on no command line; a wrong one is told."""
    certificates = Certificates(tmp_path)
    servers = EtcdServers(tmp_path, 1, certificates.daemon)
    login = tmp_path / "etcd-login"
    login.touch(0o600)
    login.write_text(f"{_USER}:wrong\n")
    client = certificates.client
    options = [
        f"--state-tls-ca={client.ca}",
        f"--state-tls-certificate={client.certificate}",
        f"--state-tls-key={client.key}",
        f"--state-credentials={login}",
    ]
    try:
        plain = EtcdServers(tmp_path, 1)
        plain.start()
        plain.want_login(_USER, _PASSWORD)
        plain.close()
        servers = EtcdServers(tmp_path, 1, certificates.daemon, peers=plain.peers)
        servers.start()
        made = TwoBootstraps(new_cluster(), servers, daemons, *options)
        made.second.start()
        made.second.wait_listening()
        until(lambda: "authentication failed" in made.second.log(), "it is told")
        login.write_text(f"{_USER}:{_PASSWORD}\n")
        made.second.kill()
        made.start()
        made.create(made.second, "pages")
        for daemon in made.both:
            assert _PASSWORD not in daemon.log()
    finally:
        servers.close()


def test_copy_of_a_state(bootstraps: TwoBootstraps) -> None:
    """A cluster goes on in etcd where it was in a file; and its state comes back into a file."""
    cluster, state = bootstraps.cluster, "etc/shards.state"
    one = cluster.bootstrap
    in_file = Daemon(
        cluster.folder, "alone", one.port, cluster.environment, "pyshard-bootstrap", "--config=etc/shards.json"
    )
    in_file.start()
    in_file.wait_listening()
    for daemon in cluster.shards:
        daemon.start()
    cluster.wait_ready()
    with bootstraps.client() as app:
        app.create_index("pages")
        app.write_many(DOCS)
    place = bootstraps.etcd.address
    bootstraps.etcd.start()
    assert "another bootstrap uses" in pyshard(cluster, "copy", state, place).stderr
    assert in_file.end() == 0
    assert in_file.complaints() == []
    copied = pyshard(cluster, "copy", state, place)
    assert (copied.returncode, copied.stdout.startswith(place)) == (0, True), copied.stderr
    bootstraps.start()
    with bootstraps.client() as app:
        assert app.indexes() == ["pages"]
        assert app.get_many(list(DOCS)) == list(DOCS.values())
        app.create_index("more")
    assert "is no later one" in pyshard(cluster, "copy", state, place).stderr
    assert pyshard(cluster, "copy", place, "etc/back.state").returncode == 0
    shown = [pyshard(cluster, "show", where, "--json") for where in (place, "etc/back.state")]
    assert shown[0].stdout == shown[1].stdout
    assert json.loads(shown[0].stdout)["indexes"].keys() == {"pages", "more"}


def pyshard(cluster: Cluster, *words: str) -> CompletedProcess[str]:
    """`pyshard state`, in the cluster's folder."""
    return run(cluster.folder, cluster.environment, sys.executable, "-m", "pyshard", "state", *words)
