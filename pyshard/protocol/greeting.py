"""Who answered, as a daemon says it when a connection begins."""

from __future__ import annotations

import attrs

from pyshard.errors import of_peer
from pyshard.settings import settings


def _cut(text: str) -> str:
    return of_peer(text, settings.MAX_NAME)


@attrs.frozen
class Greeting:
    """Who answered, as `pyshard.protocol.commands.Hello` says it. Its texts are cut to what a name may have."""

    protocol: int
    role: str = attrs.field(converter=_cut)
    identity: str = attrs.field(converter=_cut)
    cluster: str = attrs.field(converter=_cut)
    name: str = attrs.field(converter=_cut)
    epoch: int
    ephemeral: bool
    connection: str = attrs.field(converter=_cut)
    incarnation: str = attrs.field(converter=_cut, default="")
