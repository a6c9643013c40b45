"""The client for programs on asyncio: ``from pyshard.aio import connect``.

It is the Deferred client with another clock and another way to dial, both of the event loop. From below: `loop_clock`
(time and later calls), `stream_transport` (a connection), `loop_connections` (how connections are made, and where they
all are), `verb_futures` and `page_items` (what verbs give), `loop_bound` (a client belongs to its loop), `client`,
`index_handle` and `typed_index` (the verbs), `connect`. No reactor is installed, made or imported.
"""

from pyshard.aio.client import AioClient
from pyshard.aio.connect import connect
from pyshard.aio.index_handle import AioIndex
from pyshard.aio.typed_index import AioTypedIndex

__all__ = ["AioClient", "AioIndex", "AioTypedIndex", "connect"]
