"""Who answered, as a daemon says it when a connection begins."""

from __future__ import annotations

import attrs


@attrs.frozen
class Greeting:
    """Who answered, as `pyshard.protocol.commands.Hello` says it."""

    protocol: int
    role: str
    identity: str
    cluster: str
    name: str
    epoch: int
    ephemeral: bool
    connection: str
