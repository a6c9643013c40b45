"""What tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blocking.threads import apart
from twisted.internet.defer import succeed

from pyshard.blocking.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine, closed in the end."""
    made = Engine()
    yield made
    apart(lambda: made.close(lambda: succeed(None)))
