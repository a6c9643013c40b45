"""The blocking client: the verbs of the Deferred client as calls that wait."""

from pyshard.blocking.index_handle import BlockingIndex
from pyshard.blocking.pyshard import Pyshard
from pyshard.blocking.typed_index import BlockingTypedIndex

__all__ = ["BlockingIndex", "BlockingTypedIndex", "Pyshard"]
