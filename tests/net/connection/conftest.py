"""What the tests of the wire share."""

from __future__ import annotations

import pytest
from net.connection.ends import Answering, Pair
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, connect

from pyshard.net.command_connection import BoundedAMP


@pytest.fixture
def pair() -> Pair:
    """A connected pair."""
    clock = Clock()
    asking, answering = BoundedAMP(clock), Answering(clock)
    pump = connect(answering, FakeTransport(answering, True), asking, FakeTransport(asking, False), clock=clock)
    return Pair(clock, asking, answering, pump.flush)
