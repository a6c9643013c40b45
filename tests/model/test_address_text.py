"""The texts of addresses, by value."""

from __future__ import annotations

import pytest

from pyshard.model.address_text import host_and_port, split_endpoint, split_host_and_port, split_listening


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1:5050"), ("example.com", "example.com:5050"), ("::1", "[::1]:5050")],
)
def test_host_and_port(host: str, expected: str) -> None:
    """An IPv6 address has brackets, nothing else has."""
    assert host_and_port(host, 5050) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", ("a", 1)),
        ("a", ("a", None)),
        ("10.0.0.1:99999", ("10.0.0.1", 99999)),
        ("[::1]:1", ("::1", 1)),
        ("[::1]", ("::1", None)),
        ("", None),
        (":1", None),
        ("a:", None),
        ("a:x", None),
        ("a:123456", None),
        ("a:٣", None),
        ("::1", None),
        ("[]:1", None),
        ("[::1", None),
    ],
)
def test_split_host_and_port(text: str, expected: tuple[str, int | None] | None) -> None:
    """A host may have a port, and an IPv6 address needs its brackets; anything else is none."""
    assert split_host_and_port(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:5050", ("0.0.0.0", 5050)),
        ("localhost:5050", ("localhost", 5050)),
        ("[::]:5050", ("::", 5050)),
        ("0.0.0.0", None),
        ("tcp:5050", None),
        ("tcp6:5050", None),
        ("ssl:5050", None),
        ("unix:5050", None),
        ("tcp:5050:interface=127.0.0.1", None),
        ("unix:/run/shard", None),
        ("", None),
    ],
)
def test_split_listening(text: str, expected: tuple[str, int] | None) -> None:
    """Where to listen is a host and a port; what begins with a kind of endpoint strings is such a string."""
    assert split_listening(text) == expected


@pytest.mark.parametrize(
    ("description", "kind", "parts"),
    [
        ("tcp:5050", "tcp", [("", "5050")]),
        ("tcp:5050:interface=127.0.0.1", "tcp", [("", "5050"), ("interface", "127.0.0.1")]),
        (r"tcp6:port=5050:interface=\:\:1", "tcp6", [("port", "5050"), ("interface", "::1")]),
        (r"tls:h:1:ca=C\:\\files", "tls", [("", "h"), ("", "1"), ("ca", r"C:\files")]),
        ("unix:/a=b", "unix", [("/a", "b")]),
        ("systemd", "systemd", []),
        ("tcp::", "tcp", [("", ""), ("", "")]),
    ],
)
def test_split_endpoint(description: str, kind: str, parts: list[tuple[str, str]]) -> None:
    """Parts are separated by colons, names by an equals sign; a backslash takes the meaning from either."""
    assert split_endpoint(description) == (kind, parts)
