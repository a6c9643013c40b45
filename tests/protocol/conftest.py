"""What the tests of the protocol share with those of connections."""

from __future__ import annotations

from net.connection.conftest import pair

__all__ = ["pair"]
