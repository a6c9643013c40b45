"""Document ⇄ bytes as the peers' own users have it: msgspec's MessagePack, called directly. Pure.

No faster codec for plain values is known for Python. It doesn't check or measure what it encodes: a peer needs neither,
and pyshard's own codec, which does both, would slow it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pyshard import Document

encode: Callable[[Document], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Document] = msgspec.msgpack.Decoder().decode
