"""Ports for tests that listen for real."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port that nobody listens on, outside of the range from which the system takes ports for dialing."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
