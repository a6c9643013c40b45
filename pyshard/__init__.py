"""pyshard: a key-value store on Twisted, sharded by key hash.

``from pyshard import connect`` is the Deferred client, ``from pyshard import Pyshard`` the blocking one, and
``from pyshard.aio import connect`` the one for asyncio.

Each name is imported when it is first asked for: a program with one client doesn't load the others, and one with the
blocking client loads nothing of Twisted.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from pyshard.errors import PyshardError

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

if TYPE_CHECKING:
    from pyshard.blocking import BlockingIndex, BlockingTypedIndex, Pyshard
    from pyshard.client import Client, Index, KeyPages, TypedIndex
    from pyshard.client.connect import connect
    from pyshard.client_core.result_decoding import Item, Record
    from pyshard.client_core.typed_documents import TypedItem, TypedRecord
    from pyshard.model.document_encoding import Document, Storable
    from pyshard.model.key_slots import Key
    from pyshard.security.tls import Tls
else:
    #: Where the names above come from that aren't here yet.
    _HOMES = {
        "pyshard.blocking": ("BlockingIndex", "BlockingTypedIndex", "Pyshard"),
        "pyshard.client": ("Client", "Index", "KeyPages", "TypedIndex"),
        "pyshard.client.connect": ("connect",),
        "pyshard.client_core.result_decoding": ("Item", "Record"),
        "pyshard.client_core.typed_documents": ("TypedItem", "TypedRecord"),
        "pyshard.model.document_encoding": ("Document", "Storable"),
        "pyshard.model.key_slots": ("Key",),
        "pyshard.security.tls": ("Tls",),
    }

    #: Packages and modules that are there without an import of their own, as ``pyshard.settings``.
    _MODULES = (
        *("aio", "backup", "blocking", "client", "client_core", "clocks", "model", "net", "protocol", "security"),
        *("settings", "storage", "testing"),
    )

    def __getattr__(name):
        if name in _MODULES:
            return import_module(f"pyshard.{name}")
        for home, names in _HOMES.items():
            if name in names:
                found = globals()[name] = getattr(import_module(home), name)
                return found
        raise AttributeError(f"module 'pyshard' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__, *_MODULES})
