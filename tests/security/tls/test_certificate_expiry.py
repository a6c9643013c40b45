"""An endpoint with TLS tells when its certificate expires, the one that is in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import Certificates
from twisted.internet.task import Clock

from pyshard.security import tls
from pyshard.testing import MemoryNetwork


def test_expiry(tmp_path: Path) -> None:
    """It is that of the daemon's own certificate; an endpoint without TLS tells nothing."""
    clock = Clock()
    plain = MemoryNetwork(clock).listen("localhost", 5050)
    made = Certificates(tmp_path).issue("short", "localhost", until=timedelta(hours=3))
    expiry = tls.certificate_expiry(tls.listening(plain, made, False, clock))()
    assert expiry == pytest.approx((datetime.now(UTC) + timedelta(hours=3)).timestamp(), abs=600)
    assert tls.certificate_expiry(plain)() is None
