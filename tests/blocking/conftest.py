"""What tests of the blocking client and its runner share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blocking.connecting import Connector
from blocking.threads import apart
from twisted.internet.defer import succeed
from twisted.python import threadable

from pyshard import Pyshard
from pyshard.blocking import pyshard as blocking_module
from pyshard.blocking.leader_followers import ReactorRunner
from pyshard.testing import MemoryCluster


@pytest.fixture
def runner() -> Iterator[ReactorRunner]:
    """A runner, closed in the end."""
    made = ReactorRunner()
    yield made
    apart(lambda: made.close(lambda: succeed(None)))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocking calls work in the test's thread, though pytest-twisted's reactor runs there."""
    monkeypatch.setattr(threadable, "isInIOThread", lambda: False)


@pytest.fixture
def connector(cluster: MemoryCluster, elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> Connector:
    """Makes the clients of `app`."""
    made = Connector(cluster)
    monkeypatch.setattr(blocking_module, "connect", made)
    return made


@pytest.fixture
def app(connector: Connector) -> Iterator[Pyshard]:
    """A blocking client of `cluster`."""
    with Pyshard() as made:
        yield made
