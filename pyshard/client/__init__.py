"""The Deferred client."""

from pyshard.client.bulk import Progress
from pyshard.client.bulksteps import Pairs
from pyshard.client.client import Client
from pyshard.client.index import Index
from pyshard.client.opening import connect
from pyshard.client.pages import KeyPages
from pyshard.client.records import Item, Record

__all__ = ["Client", "Index", "Item", "KeyPages", "Pairs", "Progress", "Record", "connect"]
