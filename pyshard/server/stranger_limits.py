"""What a daemon takes from a stranger: a peer that has presented no token yet, or that is refused. Pure.

A stranger is to send a token, and no more. So it can't have a daemon hold, parse or read much.
"""

from __future__ import annotations

from pyshard.protocol.boxes import Limits
from pyshard.settings import settings

#: Bytes that are read at a time: all that a stranger is to send, and more.
READ_FROM_STRANGER = 4096

#: What a box may be, and how many may come.
STRANGER = Limits(
    settings.STRANGER_BOX_KEYS,
    settings.STRANGER_BOX_BYTES,
    settings.STRANGER_UNFINISHED_BOX,
    settings.STRANGER_BOXES,
)
