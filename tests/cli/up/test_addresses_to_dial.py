"""Where this machine reaches the daemons of a cluster that announces other addresses."""

from __future__ import annotations

import attrs
import pytest
from cli.up.configured import HOST, cluster

from pyshard.cli.up.addresses_to_dial import bootstrap_here, shards_here

PLAIN = cluster(1001, 1002, bootstrap=1003)


def test_as_announced() -> None:
    """Daemons that listen where they are announced are reached there."""
    assert shards_here(PLAIN).pairs == ()
    assert shards_here(attrs.evolve(PLAIN, listen={"a": f"tcp:1001:interface={HOST}"})).pairs == ()
    assert bootstrap_here(PLAIN) == (HOST, 1003)


@pytest.mark.parametrize(
    ("where", "here"),
    [
        ("0.0.0.0:2001", (HOST, 2001)),
        ("localhost:2001", ("localhost", 2001)),
        ("tcp:2001", (HOST, 2001)),
        ("unix:/run/shard", None),
    ],
)
def test_elsewhere(where: str, here: tuple[str, int] | None) -> None:
    """A daemon that listens elsewhere is reached there, unless nobody can tell: then at its announced address."""
    assert shards_here(attrs.evolve(PLAIN, listen={"b": where})).pairs == ((((HOST, 1002), here),) if here else ())
    assert bootstrap_here(attrs.evolve(PLAIN, bootstrap_listen=where)) == (here or (HOST, 1003))
