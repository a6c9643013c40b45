"""Who a dialed peer must be."""

from __future__ import annotations

import pytest

from pyshard.security.tls.verification import name_of


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Example.com", "b'example.com'"),
        ("example.com.", "b'example.com'"),
        ("xn--bcher-kva.example", "b'xn--bcher-kva.example'"),
        ("bücher.example", "b'xn--bcher-kva.example'"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_names(host: str, expected: str) -> None:
    """A host as it stands in a certificate."""
    name = name_of(host)
    assert str(getattr(name, "hostname", None) or getattr(name, "ip", None)) == expected
