"""A checkpoint: all records that the memtable has at one moment, on their way into LMDB.

Rules:

- records are flushed in the order of their database keys, so that a page of LMDB takes many of them;
- a flush has as many records as may change a given number of pages at the worst;
- a record that LMDB got in another way meanwhile (by a sweep, say) is left out;
- when all records are flushed, LMDB has the whole log up to the checkpoint's `sequence`.
"""

from __future__ import annotations

import attrs

from pyshard.storage.durable.memtable import Memtable

#: Bytes of a page of LMDB.
PAGE = 4096


@attrs.define
class Checkpoint:
    """The records of a checkpoint, and how far it is.

    :param keys: database keys of all its records, in order.
    :param sequence: the last group of the log that LMDB has completely when the checkpoint is done.
    :param done: how many of the keys are flushed.
    """

    keys: list[bytes]
    sequence: int
    done: int = 0

    def next_keys(self, memtable: Memtable, pages: int) -> tuple[list[bytes], int]:
        """What is to be flushed next. Changes nothing.

        :param pages: how many pages of LMDB the flush may change, at the worst.
        :return: the keys, and what `done` is when they are flushed.
        """
        keys: list[bytes] = []
        value_of = memtable.records.get
        for done in range(self.done, len(self.keys)):
            if pages <= 0:
                return keys, done
            db_key = self.keys[done]
            value = value_of(db_key)
            if value is not None:
                keys.append(db_key)
                pages -= 1 + len(value) // PAGE
        return keys, len(self.keys)
