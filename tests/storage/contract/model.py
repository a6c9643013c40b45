"""The model that `test_model` compares each kind of store with."""

from __future__ import annotations

import attrs
from storage.contract.samples import number
from stores import Outcome, weight

from pyshard.errors import UnreadableRecord
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    KEEP,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
)


@attrs.frozen
class Stored:
    """A record of the model.

    :param order: rises with every write of the machine, as versions do.
    """

    order: int
    expires: int
    record: bytes


class Model:
    """What a store is, said as plainly as can be: a dict of records for each index.

    :ivar versions: order → version, of the writes of which a version was seen.
    """

    def __init__(self) -> None:
        self.indexes: dict[str, dict[bytes, Stored]] = {"": {}}
        self.dropped: list[dict[bytes, Stored]] = []
        self.order = 0
        self.versions: dict[int, int] = {}

    @property
    def used(self) -> int:
        held = [*self.indexes.values(), *self.dropped]
        return sum(weight(key, stored.record, stored.expires) for index in held for key, stored in index.items())

    @property
    def documents(self) -> int:
        return sum(map(len, self.indexes.values()))

    def live(self, name: str, now: int) -> dict[bytes, Stored]:
        """What can be seen of an index."""
        return {key: one for key, one in self.indexes[name].items() if not 0 < one.expires <= now}

    def sweep(self, now: int) -> None:
        """Forget what nobody can see."""
        self.dropped = []
        self.indexes = {name: self.live(name, now) for name in self.indexes}

    def saw(self, stored: Stored, version: int) -> None:
        """Compare a version that the store gave with those that it gave before."""
        assert self.versions.setdefault(stored.order, version) == version
        in_order = [self.versions[order] for order in sorted(self.versions)]
        assert in_order == sorted(set(in_order))

    def apply(self, run: Run, found: list[Outcome], limit: int, room: int, now: int) -> int:
        """Compare the outcomes of a run with what they must be; what room is left for others."""
        for position, (key, outcome) in enumerate(zip(run.keys, found, strict=True)):
            if room <= 0:
                assert outcome == "ANSWER_FULL"
                continue
            self._one(run, position, key, outcome, limit, now)
            room -= len(outcome) if isinstance(outcome, bytes) else 0
        return room

    def _one(self, run: Run, position: int, key: bytes, outcome: Outcome, limit: int, now: int) -> None:
        index = self.indexes[run.index]
        old = self.live(run.index, now).get(key)
        if isinstance(run, Has):
            assert outcome is (old is not None)
        elif isinstance(run, Read):
            self._check_record(outcome, old, VERSION.size, b"")
        elif isinstance(run, ReadItem):
            expires = old.expires if old else 0
            tail = VERSION.pack(expires) + VERSION.pack(max(0, expires - now))
            self._check_record(outcome, old, VERSION.size, tail)
        elif isinstance(run, Touch):
            met = old is not None and self._met(run.conditions, position, old)
            expires = now + run.ttls[position] if run.ttls[position] else 0
            if old is not None and met and self._is_full(index, key, old.record, expires, limit):
                assert outcome == "SHARD_FULL"
                return
            assert outcome is met
            if old is not None and met:
                index[key] = attrs.evolve(old, expires=expires)
        elif isinstance(run, Pop | Remove):
            met = old is not None and self._met(run.conditions, position, old)
            if isinstance(run, Pop):
                self._check_record(outcome, old if met else None, VERSION.size, b"")
            else:
                assert outcome == (old.record[:5] if old and met else None)
            if met:
                del index[key]
        elif isinstance(run, Write):
            if self._met(run.conditions, position, old):
                ttl = run.ttls[position] if run.ttls else 0
                expires = now + ttl if ttl > 0 else old.expires if old and ttl == KEEP else 0
                self._store(index, key, run.records[position], expires, outcome, True, limit)
            else:
                assert outcome is False
        else:
            assert isinstance(run, Increment)
            try:
                values = [
                    document_encoding.decode(one)
                    for one in (old.record if old else run.initials[position], run.amounts[position])
                ]
            except UnreadableRecord:
                values = [None]
            if any(type(one) is not int for one in values):
                assert outcome == "NOT_A_NUMBER"
            else:
                record = number(sum(values))  # type: ignore[arg-type]  # ints, as was just seen
                ttl = run.ttls[position] if run.ttls else 0
                expires = old.expires if old else now + ttl if ttl else 0
                self._store(index, key, record, expires, outcome, record, limit)

    def _check_record(self, outcome: Outcome, stored: Stored | None, version_size: int, between: bytes) -> None:
        if stored is None:
            assert outcome is None
            return
        assert isinstance(outcome, bytes)
        assert outcome[version_size:] == between + stored.record
        self.saw(stored, VERSION.unpack_from(outcome)[0])

    def _met(self, conditions: list[int] | None, position: int, old: Stored | None) -> bool:
        wanted = ALWAYS if conditions is None else conditions[position]
        if wanted in (ALWAYS, ABSENT):
            return wanted == ALWAYS or old is None
        return old is not None and wanted in (PRESENT, self.versions.get(old.order))

    def _store(
        self,
        index: dict[bytes, Stored],
        key: bytes,
        record: bytes,
        expires: int,
        outcome: Outcome,
        expected: Outcome,
        limit: int,
    ) -> None:
        if self._is_full(index, key, record, expires, limit):
            assert outcome == "SHARD_FULL"
            return
        assert outcome == expected
        self.order += 1
        index[key] = Stored(self.order, expires, record)

    def _is_full(self, index: dict[bytes, Stored], key: bytes, record: bytes, expires: int, limit: int) -> bool:
        there = index.get(key)
        grows = weight(key, record, expires)
        grows -= 0 if there is None else weight(key, there.record, there.expires)
        return grows > 0 and self.used + grows > limit
