"""The core mixes of YCSB, the Yahoo! Cloud Serving Benchmark, done by threads that share a blocking client.

Rules:

- the calls of a round are drawn from its number, before the clock starts;
- a document has ten fields of a hundred characters and is written as a whole;
- in mix D, which reads the newest documents most, a thread reads those of the start and those that it wrote itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random
from typing import TypeAlias

import attrs
import corpus
import zipf
from peers.interface import Blocking, Side, Timed
from threaded_calls import in_threads
from workload import SAMPLE, Workload, WrongValue, check, repeated

from pyshard import Document

#: How many numbers are reserved for the inserts of one thread in one round.
_RESERVED = 1_000_000


@attrs.frozen
class Mix:
    """The shares of the kinds of calls, from 0 to 1; the rest are reads.

    :param update: writes of an existing document.
    :param insert: writes of a new document.
    :param modify: a read and a write of the same document; counted as one operation, as YCSB does.
    :param latest: whether the newest documents are read most, instead of some that are spread over all.
    """

    letter: str
    title: str
    update: float = 0.0
    insert: float = 0.0
    modify: float = 0.0
    latest: bool = False


MIXES = (
    Mix("a", "YCSB A: half reads, half updates", update=0.5),
    Mix("b", "YCSB B: 95 % reads, 5 % updates", update=0.05),
    Mix("c", "YCSB C: reads only", update=0.0),
    Mix("d", "YCSB D: 95 % reads of the latest, 5 % inserts", insert=0.05, latest=True),
    Mix("f", "YCSB F: half reads, half read-modify-writes", modify=0.5),
)


@attrs.frozen
class Call:
    """One operation.

    :param number: the document's.
    :param reads: whether it is read; `writes`: whether it is written then.
    """

    number: int
    reads: bool
    writes: bool


def calls(mix: Mix, documents: int, count: int, random: Random, first_new: int) -> list[Call]:
    """The calls of one thread.

    :param documents: how many there are, numbered from 0.
    :param first_new: the number of its first insert; the others follow.
    """
    found = []
    ranks = zipf.Zipfian(documents, random)
    new = 0
    for _ in range(count):
        share = random.random()
        if share < mix.insert:
            found.append(Call(first_new + new, False, True))
            new += 1
            continue
        rank = ranks.draw()
        if not mix.latest:
            number = zipf.scattered(rank, documents)
        elif rank < new:
            number = first_new + new - 1 - rank
        else:
            number = documents - 1 - (rank - new)
        update = share < mix.insert + mix.update
        modify = not update and share < mix.insert + mix.update + mix.modify
        found.append(Call(number, not update, update or modify))
    return found


_Step: TypeAlias = tuple[str, bool, Document | None]


@attrs.frozen
class Ycsb(Workload[Blocking]):
    """One mix.

    :param least: seconds of a round, at the least.
    """

    mix: Mix
    documents: int
    count: int
    threads: int
    least: float = 0.0

    @property
    def name(self) -> str:  # type: ignore[override]  # it depends on the mix
        """See `Workload`."""
        return f"ycsb-{self.mix.letter}"

    @property
    def title(self) -> str:  # type: ignore[override]  # likewise
        """See `Workload`."""
        return self.mix.title

    def prepare(self, side: Side) -> None:
        """See `Workload`."""
        pairs = [(corpus.user_key(number), corpus.user(number, 0)) for number in range(self.documents)]
        side.fill(pairs[begin : begin + 100] for begin in range(0, self.documents, 100))

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        each = self.count // self.threads
        drawn = []
        for place in range(self.threads):
            random = Random(number * self.threads + place)
            first_new = self.documents + (number * self.threads + place) * _RESERVED
            drawn.append(calls(self.mix, self.documents, each, random, first_new))
        steps = [
            [
                (corpus.user_key(call.number), call.reads, corpus.user(call.number, number) if call.writes else None)
                for call in some
            ]
            for some in drawn
        ]
        times, timed = repeated(lambda: in_threads(lambda place: _loop(client, steps[place]), self.threads), self.least)
        check_read([call.number for some in drawn for call in some if call.reads], timed.values, number)
        written = sorted({call.number for some in drawn for call in some if call.writes})[::SAMPLE]
        keys = [corpus.user_key(document) for document in written]
        check(keys, [corpus.user(document, number) for document in written], client.read_many(keys) if keys else [])
        return times * each * self.threads, timed.seconds


def _loop(client: Blocking, steps: list[_Step]) -> Timed:
    read, write = client.read, client.write
    values: list[Document | None] = []
    begin = time.perf_counter()
    for key, reads, doc in steps:
        if reads:
            values.append(read(key))
        if doc is not None:
            write(key, doc)
    return Timed(time.perf_counter() - begin, values)


def check_read(numbers: Iterable[int], values: list[Document | None], newest: int) -> None:
    """Compare what was read with what can have been there: some version of the document, as a whole.

    :param newest: the newest version that anybody has written.
    :raises WrongValue: it names the first document that is none.
    """
    for number, value in zip(numbers, values, strict=True):
        version = value.get("version") if isinstance(value, dict) else None
        if type(version) is not int or not 0 <= version <= newest or value != corpus.user(number, version):
            raise WrongValue(f"{corpus.user_key(number)!r}: found {str(value)[:200]}, expected some version of it")
