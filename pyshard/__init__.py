"""pyshard: a key-value store on Twisted, sharded by key hash.

``from pyshard import connect`` is the Deferred client, ``from pyshard import Pyshard`` the blocking one, and
``from pyshard.aio import connect`` the one for asyncio.
"""

from pyshard.blocking import BlockingIndex, BlockingTypedIndex, Pyshard
from pyshard.client import Client, Index, Item, KeyPages, Record, TypedIndex, TypedItem, TypedRecord, connect
from pyshard.errors import PyshardError
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key
from pyshard.security.tls import Tls

__version__ = "0.3.0"

__all__ = [
    "BlockingIndex",
    "BlockingTypedIndex",
    "Client",
    "Document",
    "Index",
    "Item",
    "Key",
    "KeyPages",
    "Pyshard",
    "PyshardError",
    "Record",
    "Storable",
    "Tls",
    "TypedIndex",
    "TypedItem",
    "TypedRecord",
    "__version__",
    "connect",
]
