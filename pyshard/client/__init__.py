"""The Deferred client."""

from pyshard.client.bulk import Progress
from pyshard.client.bulk_input import Pairs
from pyshard.client.client import Client
from pyshard.client.connect import connect
from pyshard.client.index import Index
from pyshard.client.key_pages import KeyPages
from pyshard.client.records import Item, Record

__all__ = ["Client", "Index", "Item", "KeyPages", "Pairs", "Progress", "Record", "connect"]
