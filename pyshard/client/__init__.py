"""The Deferred client.

The way of a call, from the top: `client` (or `index_handle`) checks the arguments; `router` finds the link to the shard
that owns the key; `operation_queue` holds the operation until it may go; `shard_link` sends a batch of them and gets
the answers; `result_decoding` makes of them what the caller is given. Bulk verbs go the same way in columns: `bulk`
cuts its input (`bulk_input`) into parts (`bulk_operation`). What isn't an operation on keys is an RPC (`rpc_channel`).
Where the map comes from is found out by `map_servers`, with hedged requests.
"""

from pyshard.client.client import Client
from pyshard.client.connect import connect
from pyshard.client.index_handle import Index
from pyshard.client.key_pages import KeyPages
from pyshard.client.typed_index import TypedIndex
from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.result_decoding import Item, Record
from pyshard.client_core.typed_documents import TypedItem, TypedPairs, TypedRecord

__all__ = [
    "Client",
    "Index",
    "Item",
    "KeyPages",
    "Pairs",
    "Progress",
    "Record",
    "TypedIndex",
    "TypedItem",
    "TypedPairs",
    "TypedRecord",
    "connect",
]
