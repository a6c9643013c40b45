"""An exception that comes while a call ends for another reason: nothing that is in flight is forgotten."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from random import Random

import pytest

from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.errors import OutcomeUnknown
from pyshard.net.connection_parameters import connection_parameters
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySockets

LOW = ("127.0.0.1", 5050)  # the shard that has "test"


class Struck(BaseException):
    """What a signal's handler raises."""


class StrikingSockets(MemorySockets):
    """Sockets in memory whose thread is struck once, where it asks for the time.

    :ivar after: how many times it asks for the time before that; None: it isn't struck.
    """

    after: int | None = None

    def now(self) -> float:
        """See `Network`."""
        if self.after is not None:
            self.after -= 1
            if self.after < 0:
                self.after = None
                raise Struck
        return super().now()


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """What refers to itself stays, as it may for long."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("after", range(2, 14))
def test_a_change_that_is_cut_short_at_its_deadline(cluster: MemoryCluster, after: int) -> None:
    """It never takes effect after a later change, wherever it was cut short, and though the error is kept."""
    sockets = StrikingSockets(cluster.network)
    parameters = connection_parameters(deadline=10, token_file="", tls=False)
    with over(Connector(parameters, lambda: sockets, Random(0))) as app:
        app.write("test", 0)
        cluster.network.strand(*LOW)
        sockets.after = after
        with pytest.raises((Struck, OutcomeUnknown)) as kept:
            app.write("test", 1, deadline=0.2)
        sockets.after = None
        app.write("test", 2)
        cluster.network.unstrand(*LOW)
        cluster.advance(1)
        assert app.get("test") == 2
        assert kept.tb is not None  # as a debugger or a log may keep it
