"""The documents of a walk over an index: which are read next, and which are decoded and given out next. Pure.

Others may have stored documents of any size behind the keys, and of any number of elements. Rules:

- A read has room for a number of bytes (`pyshard.client_core.read_room`). Keys for which there was none are read later.
- After such a read fewer keys are asked for, after another one twice as many.
- Records are decoded in portions, when they are wanted, and outside of any read: the time that it takes counts for no
  deadline. A portion has 1 MiB of records, or one that is larger. An element has a byte or more, so a portion has about
  as many as one document may have.
- Everything comes in the order of the keys. What was read behind a key that wasn't is kept; only the keys before it are
  read then.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import cast

from pyshard.client_core.everyday_verbs import MISSING
from pyshard.client_core.partial_failure import partial_failure
from pyshard.client_core.read_room import UNREAD, ReadRoom
from pyshard.client_core.result_decoding import Record, outcomes_of
from pyshard.compiled import IN_USE, document_leaves
from pyshard.errors import PartialFailure, PyshardError
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import slots_of
from pyshard.model.strict_messagepack import quick_document
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.batch_operations import Read, Run
from pyshard.settings import settings


class WalkedRecords:
    """Keys of a walk, and what was read for them.

    :param most: keys that a read has, at the most.
    :param first: keys that the first one has; default: as many.
    :ivar count: keys that the next one has, at the most.
    """

    def __init__(self, most: int = settings.PAGE_KEYS, first: int | None = None) -> None:
        self._most = most
        self.count = most if first is None else first
        self._keys: list[str] = []
        self._results: list[object] = []
        self._given = 0  # keys whose results were given out
        self._asked: list[int] = []  # the places of those that are being read

    @property
    def ready(self) -> bool:
        """Whether there is a portion."""
        return self._given < len(self._results) and self._results[self._given] is not UNREAD

    def add(self, keys: list[str]) -> None:
        """Take further keys, once everything was given out."""
        self._keys, self._results, self._given = keys, [UNREAD] * len(keys), 0

    def next_keys(self) -> list[str]:
        """The keys to be read next, once no portion is left; none: everything was given out."""
        results = self._results
        end = self._given
        while end < len(results) and end - self._given < self.count and results[end] is UNREAD:
            end += 1
        self._asked = list(range(self._given, end))
        return self._keys[self._given : end]

    def took(self, results: Sequence[object]) -> None:
        """Take what a read gave for the keys that were to be read.

        :param results: a version and a record, as a shard answers; None: it is missing; an error; or `UNREAD`.
        """
        unread = 0
        for place, result in zip(self._asked, results, strict=True):
            self._results[place] = result
            unread += result is UNREAD
        self.count = max(1, len(results) - unread) if unread else min(2 * self.count, self._most)

    def next_portion(self) -> tuple[list[str], list[object]] | None:
        """The next keys with their results, without `UNREAD`; None: there are none before something is read."""
        begin, size = self._given, 0
        for result in islice(self._results, begin, None):
            if result is UNREAD:
                break
            if isinstance(result, bytes):
                size += len(result)
                if size > settings.ANSWER_BYTES and self._given > begin:
                    break
            self._given += 1
        if self._given == begin:
            return None
        portion = self._keys[begin : self._given], self._results[begin : self._given]
        self._results[begin : self._given] = [None] * (self._given - begin)  # so that they go when they are decoded
        return portion


def room_for_records() -> ReadRoom:
    """The room that a read of a walk has."""
    return ReadRoom(settings.WALK_BYTES)


def as_answered(_: Run, __: Sequence[int], ___: Sequence[int], results: list[Result]) -> list[object]:
    """What a shard answers to reads, not decoded: see `pyshard.client_core.result_decoding.Decode`."""
    return list(results)


def results_in(failure: PartialFailure) -> list[object]:
    """What `WalkedRecords.took` takes of a read that failed for some keys."""
    return [outcome for _, outcome in failure.outcomes]


def pairs_in(index: str, keys: list[str], results: list[object]) -> list[tuple[str, Document]]:
    """The pairs of a portion: those keys whose document is still there.

    :param index: its name; empty for the default one.
    :raises PartialFailure: some of them couldn't be read, or can't be decoded. It has an outcome for each key.
    """
    if IN_USE:
        found = document_leaves.found_documents(results, MISSING, VERSION.size, quick_document, settings.MAX_ELEMENTS)
        if found is not None:
            pairs = [pair for pair in zip(keys, found, strict=True) if pair[1] is not MISSING]
            return cast("list[tuple[str, Document]]", pairs)
    outcomes = _outcomes(index, keys, results)
    if any(isinstance(outcome, PyshardError) for outcome in outcomes):
        raise partial_failure(list(zip(keys, outcomes, strict=True)))
    records = cast("list[Record | None]", outcomes)
    return [(key, record["record"]) for key, record in zip(keys, records, strict=True) if record is not None]


def _outcomes(index: str, keys: list[str], results: list[object]) -> list[object]:
    """What `read` gives for each key of a portion, or the error."""
    outcomes = list(results)
    places = [place for place, result in enumerate(results) if not isinstance(result, PyshardError)]
    texts = [keys[place].encode() for place in places]
    given = cast("list[Result]", [results[place] for place in places])
    decoded = outcomes_of(Read(index, texts), slots_of(texts, index.encode()), (), given)
    for place, outcome in zip(places, decoded, strict=True):
        outcomes[place] = outcome
    return outcomes
