"""The bootstrap as a Twisted service: listens, and reconciles every shard of its map with the cluster state."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.bootstrap.bootstrap_stat import bootstrap_stat, unready
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.bootstrap.group_driver import GroupDriver
from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.bootstrap.push_rests import PushRests
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.bootstrap.replica_changes import ReplicaChanges
from pyshard.bootstrap.shard_reconcilers import ShardReconcilers
from pyshard.bootstrap.state_telling import StateTelling
from pyshard.bootstrap.state_watch import StateWatch
from pyshard.metrics.bootstrap_families import BOOTSTRAP_FAMILIES
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.model.address_text import host_and_port
from pyshard.model.cluster_state import ClusterState
from pyshard.net.client_endpoints import Dial
from pyshard.security import tls
from pyshard.security.tokens_and_roles import Tokens
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.server.counted_dials import counted_dial
from pyshard.server.described_service import DescribedService
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener


class BootstrapService(DescribedService):
    """Everything that a bootstrap runs.

    :param bootstrap: the state's keeper.
    :param clock: a reactor, or a Clock.
    :param endpoint: where to listen.
    :param dial: leads to the shards.
    :param random: jitter.
    :param tokens: gives the tokens that are valid now; None: whoever connects may do everything.
    :param connections: how many there may be.
    :param addresses: where shards are dialed in place of where the map says.
    :param first: gives the state of a new cluster, where the state store is shared with other bootstraps; None: nobody
        else changes the state.
    :ivar rests: are taken between what shards are told.
    :ivar telling: tells shards the state.
    :ivar reconcilers: of the shards.
    :ivar driver: of moves.
    :ivar groups: drives the groups of replicas.
    """

    families = BOOTSTRAP_FAMILIES

    def __init__(
        self,
        bootstrap: Bootstrap,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        dial: Dial,
        random: Random,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
        addresses: AddressMapping = AS_ANNOUNCED,
        first: Callable[[], ClusterState] | None = None,
    ) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        if first is not None:
            StateWatch(bootstrap.store, bootstrap.changes, clock, first).setServiceParent(self)
        self.rests = PushRests(clock.seconds, lambda: self.factory.turns.asked)
        counted = counted_dial(dial, self.rests.counted)
        self.telling = telling = StateTelling(bootstrap, clock, self.rests)
        self.reconcilers = ShardReconcilers(
            bootstrap,
            lambda name, host, port, longest: ShardReconciler(
                bootstrap,
                name,
                host_and_port(host, port),
                clock,
                counted(*addresses.dialed(host, port)),
                random,
                telling,
                addresses.detour(host, port),
                longest,
            ),
            clock,
        )
        self.driver = driver = MoveDriver(bootstrap, clock, self.reconcilers.named)
        self.groups = groups = GroupDriver(bootstrap, clock, self.reconcilers.at)
        replicas = ReplicaChanges(bootstrap, clock, groups, self.reconcilers.at)
        application = ConfigApplication(bootstrap, clock, self.reconcilers.named)
        self.factory = ServerFactory(
            lambda made: BootstrapProtocol(bootstrap, self.settle, application, driver, replicas, made, clock),
            clock,
            tokens=tokens,
            connections=connections,
        )
        self.factory.certificate_expiry = tls.certificate_expiry(endpoint)
        self.listener = Listener(clock, endpoint, self.factory)
        self.listener.setServiceParent(self)
        self.reconcilers.setServiceParent(self)
        driver.setServiceParent(self)
        groups.setServiceParent(self)

    def stopService(self) -> Deferred[object]:
        self.bootstrap.changes.close()
        return maybeDeferred(super().stopService)

    def status(self) -> str:
        """See `DescribedService`."""
        if not self.bootstrap.has_state:
            return "waits for its state store"
        found = self.bootstrap.readiness()
        ready = sum(each.condition is Condition.READY for each in found)
        return f"epoch {self.bootstrap.state.epoch}, {ready} of {len(found)} shards ready"

    def stat(self) -> dict[str, object]:
        """See `ReportedDaemon`."""
        return bootstrap_stat(self.bootstrap, self.factory)

    def unhealthy(self) -> str:
        """See `ReportedDaemon`: a bootstrap that answers is healthy."""
        return ""

    def unready(self) -> str:
        """See `ReportedDaemon`."""
        return unready(self.bootstrap, self.factory)

    def settle(self) -> Deferred[None]:
        """See `StateTelling.settle`."""
        return self.telling.settle()
