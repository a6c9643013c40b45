"""Whether the one that answers at a shard's address is the shard of the map, by value."""

from __future__ import annotations

import attrs
import pytest

from pyshard.client_core.shard_identity_check import check_greeting
from pyshard.errors import ForeignCluster, WrongIdentity
from pyshard.model.address_mapping import AddressMapping
from pyshard.model.shard_map import MapShard
from pyshard.protocol.greeting import Greeting

OWN = MapShard("low", ((0, 5_000_000),), 1024, "127.0.0.1", 5050, identity="1d")
GREETING = Greeting(1, "shard", "1d", "c1", "low", 7, True, "c1")


@pytest.mark.parametrize("cluster", ["c1", ""], ids=["configured", "not yet"])
def test_the_shard_of_the_map(cluster: str) -> None:
    """The shard is used, also when nobody has configured it yet."""
    check_greeting(attrs.evolve(GREETING, cluster=cluster), OWN, "c1")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"role": "bootstrap"}, WrongIdentity, "a bootstrap answers at 127.0.0.1:5050"),
        ({"cluster": "c2"}, ForeignCluster, "the shard at 127.0.0.1:5050 belongs to another cluster"),
        (
            {"identity": "2e"},
            WrongIdentity,
            "another store answers at 127.0.0.1:5050 than the one with the documents of shard 'low'; start it with its "
            "own data directory",
        ),
    ],
)
def test_somebody_else(change: dict[str, str], kind: type[Exception], message: str) -> None:
    """Another daemon, a shard of another cluster and another store are refused."""
    with pytest.raises(kind, match=f"^{message}$"):
        check_greeting(attrs.evolve(GREETING, **change), OWN, "c1")  # type: ignore[arg-type]  # strs all of them


def test_somebody_else_elsewhere() -> None:
    """Where the shard is dialed elsewhere than at its address in the map, the message names both."""
    addresses = AddressMapping(((("127.0.0.1", 5050), ("db", 15050)),))
    with pytest.raises(WrongIdentity, match=r"^a bootstrap answers at 127.0.0.1:5050 \(dialed at db:15050\)$"):
        check_greeting(attrs.evolve(GREETING, role="bootstrap"), OWN, "c1", addresses)
