"""What an iterator yields to a bulk verb is stored as it was then."""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import attrs
import pytest
from client_core.shard_keys import keys_by_shard
from clusters import cluster_of, outcome

from pyshard.client_core import bulk_input
from pyshard.client_core.bulk_input import encoded, pairs_of, writes
from pyshard.errors import InvalidDocument, PartialFailure
from pyshard.model.document_encoding import decode, encode
from pyshard.settings import settings


def one_again_and_again(make: Callable[[], Any], change: Callable[[Any, int], object], count: int) -> Iterator[Any]:
    """Pairs with one document, which is changed between them, and is left in another state at the end."""
    document = make()
    for number in range(count):
        change(document, number)
        yield str(number), document
    change(document, -1)


def listed(document: Any, number: int) -> None:
    """Change a list in the document, not the document itself."""
    document["list"][:] = [number] * (abs(number) % 3)


SHAPES: dict[str, tuple[Callable[[], Any], Callable[[Any, int], object]]] = {
    "flat": (dict, lambda document, number: document.update(n=number, text="x" * (abs(number) % 5))),
    "growing": (dict, lambda document, number: document.update({str(number): None})),
    "sometimes nested": (dict, lambda document, number: document.update(n=number if number % 3 else [number])),
    "sometimes none": (dict, lambda document, number: document.update(n={number} if number % 3 == 1 else number)),
    "a list in it": (lambda: {"list": []}, listed),
    "list": (list, lambda document, number: document.append(number)),
    "OrderedDict": (OrderedDict, lambda document, number: document.update(n=number)),
    "shrinking": (lambda: list(range(50)), lambda document, _: document.pop()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_yielded_is_stored_as_it_was_then(shape: str) -> None:
    """Of one document that a generator yields again and again, changed between, each state is encoded."""
    make, change = SHAPES[shape]
    expected = [(key, copy.deepcopy(document)) for key, document in one_again_and_again(make, change, 20)]
    found: list[object] = []
    for bulk_slice in writes(pairs_of(one_again_and_again(make, change, 20)), "", 0, 7):
        numbers: Sequence[int] = range(len(bulk_slice.run.keys))
        outcomes: dict[int, object] = {}
        while numbers:
            part = encoded(bulk_slice, numbers)
            outcomes.update(zip(part.numbers, zip(part.run.records, part.sizes, strict=True), strict=True))
            outcomes.update({number: str(error) for number, error in part.refused.items()})
            numbers = numbers[len(part) :]
        found += [outcomes[number] for number in range(len(bulk_slice.run.keys))]
    assert found == [encoded_or_refused(document) for _, document in expected]


def encoded_or_refused(document: object) -> object:
    """What a document is stored as, with its size, or why it isn't."""
    try:
        return encode(document)
    except InvalidDocument as error:
        return str(error)


@pytest.mark.parametrize(
    "collection",
    [
        lambda pairs: pairs,
        tuple,
        deque,
        dict,
        lambda pairs: dict(pairs).items(),
        OrderedDict,
    ],
)
def test_what_exists_as_a_whole_is_encoded_later(collection: Callable[[Any], Any]) -> None:
    """The documents of a list, tuple, deque, dict or its items are taken as they are, without a copy."""
    documents: list[Any] = [{"n": 1}, [2], "three"]
    (bulk_slice,) = writes(pairs_of(collection(list(zip("abc", documents, strict=True)))), "", 0, 10)
    assert bulk_slice.documents is not None
    assert list(map(id, bulk_slice.documents)) == list(map(id, documents))


class Lazy(list[Any]):
    """A list that makes what it gives as it goes, in one object."""

    def __iter__(self) -> Iterator[Any]:
        buffer: dict[str, int] = {}
        for number in range(3):
            buffer["n"] = number
            yield str(number), buffer


class Computed(Mapping[str, Any]):
    """A mapping that makes its values when it is asked for them, in one object."""

    def __init__(self) -> None:
        self._buffer: dict[str, int] = {}

    def __getitem__(self, key: str) -> dict[str, int]:
        self._buffer["n"] = int(key)
        return self._buffer

    def __iter__(self) -> Iterator[str]:
        return map(str, range(3))

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("make", [Lazy, Computed, lambda: map(tuple, Lazy())])
def test_collections_that_make_their_documents(make: Callable[[], Any]) -> None:
    """What is merely like a list or dict may give one object again and again, too."""
    (bulk_slice,) = writes(pairs_of(make()), "", 0, 10)
    records = encoded(bulk_slice, range(3)).run.records
    assert list(map(decode, records)) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_one_list_as_every_pair() -> None:
    """A pair that is a list, and is changed between, is taken apart when it is yielded, its key too."""

    def pairs() -> Iterator[Any]:
        pair: list[Any] = [None, None]
        for number in range(5):
            pair[:] = f"key {number}", {"n": [number]}
            yield pair

    (bulk_slice,) = writes(pairs_of(pairs()), "", 0, 10)
    assert bulk_slice.keys == [f"key {number}" for number in range(5)]
    assert list(map(decode, encoded(bulk_slice, range(5)).run.records)) == [{"n": [number]} for number in range(5)]


def test_a_refused_document_among_those_that_are_yielded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put down with its error, also where others fill more than one box; the others go on."""
    monkeypatch.setattr(bulk_input, "settings", attrs.evolve(settings, BOX_BYTES=1000))
    low, high = keys_by_shard(8)
    texts: list[Any] = ["x" * 400, None, "x" * 400, "x" * 400, "x" * 3000, None, None, "é"]
    buffer: dict[str, Any] = {}

    def pairs() -> Iterator[Any]:
        for key, other, text in zip(low, high, texts, strict=True):
            buffer["list"] = [{1} if text is None else text]
            yield key, buffer
            yield other, 5
        buffer.clear()

    with cluster_of("memory") as cluster:
        client = cluster.connect()
        error = outcome(cluster, client.write_many(pairs()))
        assert isinstance(error, PartialFailure)
        sizes = [one if isinstance(one, int) else str(one) for _, one in error.outcomes]
        refused = 'document["list"][0]: a set, which can\'t be stored; store list(value), and read it with set()'
        assert sizes[::2] == [449, refused, 449, 449, 3049, refused, refused, 74]
        assert sizes[1::2] == [28] * 8
        read = cluster.run(client.read_many(low))
        found = [one and one["record"] for one in read]
        assert found == [None if text is None else {"list": [text]} for text in texts]


def test_an_iterator_is_read_only_so_far() -> None:
    """No more is taken, and encoded, than a slice holds."""
    taken: list[int] = []

    def pairs() -> Iterator[Any]:
        for number in count():
            taken.append(number)
            yield str(number), [number]

    slices = writes(pairs_of(pairs()), "", 0, 10)
    next(slices)
    next(slices)
    assert taken == list(range(20))
