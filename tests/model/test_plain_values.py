"""Values of subclasses are stored as what they are equal to."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.document_samples import ints, scalars, texts, trees
from model.test_document_encoding import typed

from pyshard.errors import InvalidDocument
from pyshard.model.bulk_document_encoding import encode_many
from pyshard.model.document_encoding import decode, encode
from pyshard.model.document_size import measure
from pyshard.model.plain_values import plain_key, plain_value


class Color(str, enum.Enum):  # noqa: UP042  # as old programs have it
    """A str by inheritance, as Enums were made before StrEnum."""

    RED = "red"


class Light(enum.StrEnum):
    """A str whose value is its text."""

    GREEN = "green"


class Number(enum.IntEnum):
    """An int."""

    SEVEN = 7
    HUGE = 2**70


class Weight(float, enum.Enum):
    """A float by inheritance."""

    HALF = 0.5


class Mask(enum.IntFlag):
    """An int whose members can be joined."""

    A = 1
    B = 2


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


Old = namedtuple("Old", ["a"])  # as old programs have them


class Loud(str):
    """A str that shows itself as another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"

    def __len__(self) -> int:
        return 1000

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Lie."""
        return b"another"


class Wrong(int):
    """An int that says it were another one."""

    def __int__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    def bit_length(self) -> int:
        """Lie."""
        return 10_000


class Far(float):
    """A float that says it were another one."""

    def __float__(self) -> float:
        return -1.0


class Raw(bytes):
    """Bytes that say they were others."""

    def __bytes__(self) -> bytes:
        return b"others"

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, place: Any) -> Any:
        return b"others"


class Masked(dict[str, object]):
    """A dict that shows other content than it has."""

    def __iter__(self) -> Iterator[str]:
        return iter(["other"])

    def keys(self) -> Any:
        """Lie."""
        return ["other"]

    def items(self) -> Any:
        """Lie."""
        return [("other", 1)]

    def values(self) -> Any:
        """Lie."""
        return [1]

    def __getitem__(self, key: str) -> object:
        return 1

    def __len__(self) -> int:
        return 1


class Listed(list[object]):
    """A list that shows other content than it has."""

    def __iter__(self) -> Iterator[object]:
        return iter(["other"])

    def __getitem__(self, place: Any) -> Any:
        return "other"

    def __len__(self) -> int:
        return 1


class Joined(tuple[object, ...]):
    """A tuple that shows other content than it has."""

    __slots__ = ()

    def __iter__(self) -> Iterator[object]:
        return iter(["other"])

    def __getitem__(self, place: Any) -> Any:
        return "other"


def moved() -> OrderedDict[str, int]:
    """An OrderedDict with an order that a dict wouldn't have."""
    found = OrderedDict(a=1, b=2, c=3)
    found.move_to_end("a")
    found.move_to_end("c", last=False)
    return found


CASES: list[tuple[object, object]] = [
    (OrderedDict(a=1, b=[OrderedDict(c=2)]), {"a": 1, "b": [{"c": 2}]}),
    (moved(), {"c": 3, "b": 2, "a": 1}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (Point(1, 2), [1, 2]),
    (Old({"a": 1}), [{"a": 1}]),
    (Color.RED, "red"),
    (Light.GREEN, "green"),
    (Number.SEVEN, 7),
    (Number.HUGE, 2**70),
    (Weight.HALF, 0.5),
    (Mask.A | Mask.B, 3),
    (True, True),
    (Loud("text"), "text"),
    (Loud("tüxt"), "tüxt"),
    (Wrong(5), 5),
    (Wrong(2**70), 2**70),
    (Far(2.5), 2.5),
    (Raw(b"text"), b"text"),
    (Masked(a=1, b=Masked(c=3)), {"a": 1, "b": {"c": 3}}),
    (Listed([1, 2]), [1, 2]),
    (Joined([1, 2]), [1, 2]),
    ({Color.RED: 1, Loud("text"): 2, "plain": 3}, {"red": 1, "text": 2, "plain": 3}),
    ({"a": [Light.GREEN, {Light.GREEN: Point(1, 2)}]}, {"a": ["green", {"green": [1, 2]}]}),
    (OrderedDict({Light.GREEN: Number.SEVEN}), {"green": 7}),
]


@pytest.mark.parametrize(("odd", "plain"), CASES, ids=lambda value: type(value).__name__)
def test_values_of_subclasses(odd: object, plain: object) -> None:
    """A value of a subclass has the record and the size of the plain value, alone, nested, and among many."""
    assert encode(odd) == encode(plain)
    assert measure(odd) == measure(plain)
    assert encode({"a": [odd]}) == encode({"a": [plain]})
    assert typed(decode(encode(odd)[0])) == typed(plain)
    assert encode_many([{"a": 1}, odd], 1 << 20) == encode_many([{"a": 1}, plain], 1 << 20)


def test_the_document_is_left_as_it_was() -> None:
    """Storing an odd document changes nothing of it: a defaultdict gets no new keys."""
    odd = defaultdict(list, a=Point(1, 2), b=Listed([2**70]))
    encode(odd)
    assert (type(odd), list(odd), type(odd["a"])) == (defaultdict, ["a", "b"], Point)


class Plain(enum.Enum):
    """An Enum whose members are no str, int or float."""

    X = 1


class Proxy:
    """An object that says it were a dict."""

    @property  # type: ignore[misc]  # as proxies do it
    def __class__(self) -> Any:
        return dict


@pytest.mark.parametrize("value", [Plain.X, Proxy(), object(), {1}, range(3), {}.items(), bytearray(), memoryview(b"")])
def test_what_is_of_no_subclass(value: object) -> None:
    """An Enum with a plain value, a proxy, and what is merely alike, is refused."""
    assert plain_value(value) is None
    for document in (value, [value], {"a": value}):
        with pytest.raises(InvalidDocument, match="which can't be stored"):
            encode(document)


def test_two_keys_that_are_one_text() -> None:
    """Keys of subclasses that become the same text are refused, since one of the two would be lost."""

    class Own(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return self is other

        def __hash__(self) -> int:
            return id(self)

    for document in ({Own("a"): 1, Own("a"): 2}, {"a": 1, Own("a"): 2}, {Own("a"): 1, "b": 3, "a": 2}):
        with pytest.raises(InvalidDocument) as refused:
            encode({"x": document})
        assert str(refused.value) == (
            'document["x"]: a dict with two keys that are both the text "a"; keys of a dict are texts'
        )
    assert encode({Own("a"): 1, Own("b"): 2}) == encode({"a": 1, "b": 2})


@pytest.mark.parametrize(("key", "plain"), [("a", "a"), (Loud("a"), "a"), (1, None), (None, None), (b"a", None)])
def test_keys(key: object, plain: str | None) -> None:
    """A key is a str, also of a subclass."""
    found = plain_key(key)
    assert found == plain
    assert type(found) is (str if plain is not None else type(None))


# -- any document --------------------------------------------------------------------------------------------------

Pair = tuple[object, object]


def _texts(text: str) -> st.SearchStrategy[Pair]:
    return st.sampled_from([(text, text), (Loud(text), text)])


def _container(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    lists = st.lists(inner, max_size=4)
    dicts = st.dictionaries(texts, st.tuples(st.booleans(), inner), max_size=4)

    def listed(kind: Any) -> st.SearchStrategy[Pair]:
        return lists.map(lambda some: (kind([odd for odd, _ in some]), [plain for _, plain in some]))

    def mapped(kind: Any) -> st.SearchStrategy[Pair]:
        return dicts.map(
            lambda some: (
                kind({Loud(key) if odd_key else key: odd for key, (odd_key, (odd, _)) in some.items()}),
                {key: plain for key, (_, (_, plain)) in some.items()},
            )
        )

    return st.one_of(
        *map(listed, (list, tuple, Listed, Joined)),
        *map(mapped, (dict, OrderedDict, lambda one: defaultdict(int, one), Masked)),
    )


#: An odd document and its plain twin.
twins: st.SearchStrategy[Pair] = st.recursive(
    scalars.map(lambda value: (value, value))
    | texts.map(lambda value: (Loud(value), value))
    | ints.map(lambda value: (Wrong(value), value))
    | st.floats().map(lambda value: (Far(value), value))
    | st.binary().map(lambda value: (Raw(value), value)),
    _container,
    max_leaves=20,
)


@given(twins)
def test_odd_documents_and_their_plain_twins(pair: Pair) -> None:
    """Record and size are the plain twin's, and what is read equals the twin, types included."""
    odd, plain = pair
    record, size = encode(odd)
    assert (record, size) == encode(plain)
    assert size == measure(odd) == measure(plain)
    assert typed(decode(record)) == typed(plain)


@given(trees)
def test_plain_values_stay(document: object) -> None:
    """The plain value of a plain one is itself, or an equal one of that type."""
    found = plain_value(document)
    assert typed(found) == typed(document)
