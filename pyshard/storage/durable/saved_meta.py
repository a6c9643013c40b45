"""What LMDB's database `meta` has: counters, the remembered text, what is kept of the log, incarnation, and replica.

A store gets another *incarnation* when it may have lost changes that it had acknowledged: it was in a mode that doesn't
sync each change, and wasn't closed. Whoever would go on where it was with the one before begins anew.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import lmdb
import msgspec

from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.log_retention import SavedLog
from pyshard.storage.durable.merged_view import Databases
from pyshard.storage.replicated_interface import Promise

_COUNTERS = b"counters"
_TEXT = b"assignment"
_LOG = b"log"
_INCARNATION = b"incarnation"
_REPLICA = b"replica"


class Incarnation(msgspec.Struct, array_like=True, frozen=True):
    """The incarnation of a store, as it is saved; docs/storage.md has the format.

    :param id: hex UUID.
    :param open: whether a store is open, or wasn't closed, that may lose acknowledged changes.
    """

    id: str
    open: bool

    @classmethod
    def unpacked(cls, saved: bytes | None) -> Incarnation | None:
        """What was saved.

        :raises ValueError: it is damaged.
        """
        return None if saved is None else msgspec.msgpack.decode(saved, type=cls)

    def packed(self) -> bytes:
        """The bytes to save."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def next(cls, saved: Incarnation | None, durability: Durability, new_id: Callable[[], str]) -> Incarnation:
        """That of a store that is opened.

        :param saved: what was saved last; None: nothing yet.
        :param durability: that of the store from here on.
        """
        kept = saved is not None and not saved.open
        return cls(saved.id if saved is not None and kept else new_id(), durability is not Durability.FSYNC)


class SavedReplica(msgspec.Struct, array_like=True, frozen=True):
    """What a store saves as one of several replicas; docs/storage.md has the format.

    :param promised: see `pyshard.storage.replicated_interface.Promise`.
    :param committed: all groups up to this number are committed. LMDB has nothing of others.
    :param starts: see `pyshard.protocol.log_positions.BallotHistory`; of the groups that LMDB has completely.
    :param incomplete: whether the store has a part of a copy.
    :param cut: groups of the log above this number are being cut off; None: none are.
    """

    promised: Promise = Promise()
    committed: int = 0
    starts: tuple[tuple[int, int], ...] = ()
    incomplete: bool = False
    cut: int | None = None

    @classmethod
    def unpacked(cls, saved: bytes | None) -> SavedReplica | None:
        """What was saved.

        :raises ValueError: it is damaged.
        """
        return None if saved is None else msgspec.msgpack.decode(saved, type=cls)

    def packed(self) -> bytes:
        """The bytes to save."""
        return msgspec.msgpack.encode(self)


@attrs.frozen
class Meta:
    """What is in `meta`.

    :param counters: packed; None: nothing was ever saved.
    :param text: what the shard remembers.
    :param log: what is kept of the log.
    :param incarnation: of the store.
    :param replica: what it saves as a replica; None: it never was one of several.
    """

    counters: bytes | None
    text: bytes | None
    log: SavedLog
    incarnation: Incarnation | None
    replica: SavedReplica | None = None

    @classmethod
    def read(cls, transaction: lmdb.Transaction, databases: Databases) -> Meta:
        """What is saved.

        :raises ValueError: it is damaged.
        """

        def value(name: bytes) -> bytes | None:
            found = transaction.get(name, db=databases.meta)
            return None if found is None else bytes(found)

        incarnation = value(_INCARNATION)
        return cls(
            value(_COUNTERS),
            value(_TEXT),
            SavedLog.unpacked(value(_LOG)),
            Incarnation.unpacked(incarnation),
            SavedReplica.unpacked(value(_REPLICA)),
        )

    def write(self, transaction: lmdb.Transaction, databases: Databases, before: Meta) -> None:
        """Save what differs from what is saved.

        :param before: that.
        """
        for name, value, saved in (
            (_COUNTERS, self.counters, before.counters),
            (_TEXT, self.text, before.text),
            (_LOG, self.log, before.log),
            (_INCARNATION, self.incarnation, before.incarnation),
            (_REPLICA, self.replica, before.replica),
        ):
            if value is None and saved is not None:
                transaction.delete(name, db=databases.meta)
            elif value is not None and value != saved:
                packed = value if isinstance(value, bytes) else value.packed()
                transaction.put(name, packed, db=databases.meta)
