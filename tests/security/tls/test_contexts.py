"""OpenSSL's context for a side: made again when its files have changed, and where OpenSSL is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Certificates
from twisted.internet.task import Clock

from pyshard.clocks import wall_date
from pyshard.errors import ConfigError
from pyshard.net import client_endpoints
from pyshard.security import tls
from pyshard.security.tls.contexts import TlsContext


def test_files_are_read_again(made: Certificates, log_lines: list[str], logged_errors: Callable[[], object]) -> None:
    """New files make a new context. Files that can't be used leave the old one, with a single line in the log."""
    own = made.daemon
    found = TlsContext(own, True, wall_date)
    first = found.current()
    assert found.current() is first
    key, certificate = Path(str(own.key)), Path(str(own.certificate))
    old = certificate.read_bytes()
    certificate.write_bytes(Path(str(made.client.certificate)).read_bytes())
    assert found.current() is found.current() is first
    certificate.write_bytes(old)
    second = found.current()
    assert second is not first
    key.unlink()
    assert found.current() is second
    assert log_lines == [
        f"error: TLS key {key}: it isn't the key of the first certificate in {certificate}; what was read before stays "
        "in force",
        "info: TLS: the certificates were read again",
        f"error: TLS key {key}: it can't be read: no such file or directory; what was read before stays in force",
    ]
    logged_errors()


@pytest.mark.parametrize("missing", ["OpenSSL", "service_identity", "cryptography"])
def test_tls_is_not_installed(made: Certificates, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without the extra, a request for TLS fails and says what to install."""
    for name in [name for name in sys.modules if name.startswith("pyshard.security.tls.")]:
        if name.rpartition(".")[2] in ("certificate_checks", "contexts", "endpoints", "verification"):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(f"pyshard.security.tls.{name.rpartition('.')[2]}")
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    for function in (
        lambda: tls.check(made.daemon),
        lambda: tls.dialing(client_endpoints.dial_with(Clock(), Clock()), made.daemon, Clock()),
    ):
        with pytest.raises(ConfigError, match=r"^TLS isn't installed; expected pip install 'pyshard\[tls\]' before$"):
            function()
