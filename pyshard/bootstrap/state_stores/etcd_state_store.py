"""A state store in etcd, for any number of bootstraps: one key, and transactions on its mod_revision.

Rules:

- Only a transaction on mod_revision decides. There are no leases, and a watch is a hint.
- Reads are linearizable: a majority of the members has what they tell.
"""

from __future__ import annotations

from math import inf

from twisted.internet.defer import Deferred

from pyshard.bootstrap.state_stores.etcd_gateway import EtcdGateway
from pyshard.bootstrap.state_stores.etcd_messages import (
    RANGE,
    range_request,
    read_range,
    read_txn,
    txn_request,
    watch_request,
)
from pyshard.bootstrap.state_stores.state_address import EtcdAddress
from pyshard.bootstrap.state_stores.state_store import Revision, StoredState, SwapOutcome
from pyshard.errors import BadRequest, ConfigError, OutcomeUnknown, Unavailable
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader


class EtcdStateStore:
    """Keeps a state in etcd.

    :param address: of the key.
    :param gateway: calls etcd.
    """

    kind = "etcd"
    shared = True
    most_bytes = 1536 * 1024  # etcd's default of `--max-request-bytes`

    def __init__(self, address: EtcdAddress, gateway: EtcdGateway) -> None:
        self.name = str(address)
        self._key = address.key
        self._gateway = gateway
        self._states = StateReader()

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        """See `StateStore`."""
        return Deferred.fromCoroutine(self._get(end))

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        """See `StateStore`."""
        return Deferred.fromCoroutine(self._swap(state, expected, write, end))

    def wait(self, after: Revision) -> Deferred[None]:
        """See `StateStore`."""
        return Deferred.fromCoroutine(self._gateway.watch(watch_request(self._key, after)))

    def close(self) -> Deferred[None]:
        """Close all connections."""
        return self._gateway.close()

    async def _get(self, end: float) -> StoredState | None:
        answer = await self._gateway.ask(RANGE, range_request(self._key), end)
        try:
            return read_range(answer, self._states)
        except BadRequest as error:
            raise Unavailable(f"{self.name}: etcd's answer can't be read: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None

    async def _swap(self, state: ClusterState, expected: Revision, write: str, end: float) -> SwapOutcome:
        answer = await self._gateway.transact(txn_request(self._key, expected, state, write), end)
        try:
            return read_txn(answer, write, self._states)
        except BadRequest as error:
            raise OutcomeUnknown(f"{self.name}: etcd's answer can't be read: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None
