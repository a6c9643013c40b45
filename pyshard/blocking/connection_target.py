"""Where a connection of the blocking client leads, and what it takes to be let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pyshard.security.tls.byte_filter import TlsFilter


@attrs.frozen
class ConnectionTarget:
    """Where a connection leads, and what it takes to be let in.

    :param secret: gives that of the token to present, anew for each connection; None: there is none.
    :param tls: given the host, makes the TLS of a connection; None: plain TCP.
    """

    host: str
    port: int
    secret: Callable[[], bytes] | None = None
    tls: Callable[[str], TlsFilter] | None = None
