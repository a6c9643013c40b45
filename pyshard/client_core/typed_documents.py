"""Documents of a type that the caller names: from its values to what is stored, and back. Pure.

msgspec converts dataclasses, attrs classes, ``msgspec.Struct`` and TypedDicts, with fields of any type that it knows.
A field that is no JSON, such as a datetime, Decimal or UUID, is stored as a str, and comes back as what it was.

Rules:

- What is stored can be read back: a value is checked against its type before it is sent, too.
- A document that doesn't fit is `InvalidDocument`. The message has the key, the type, and the field that is at fault.
- A type whose values would lose something is refused when it is named, before anything is sent.
- Of many that are written, one that doesn't fit is its own key's error; the others go on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar, cast

import attrs
import msgspec
from msgspec import inspect

from pyshard.client_core.bulk_input import Pair, RefusedDocument, given_pairs
from pyshard.client_core.result_decoding import Item, Record
from pyshard.errors import InvalidArgument, InvalidDocument, plain, shortened, shown_value
from pyshard.model.document_encoding import Document, Storable, SupportsItems
from pyshard.model.key_slots import Key, shown_key

_T = TypeVar("_T")

_EXPECTED = "expected a dataclass, an attrs class, a msgspec.Struct or a TypedDict, with fields that msgspec converts"

#: What msgspec is to leave as it is, since a document can hold it.
_AS_IS = (bytes,)


#: As `pyshard.client_core.bulk_input.Pairs`, with documents of one type.
TypedPairs: TypeAlias = Iterable[tuple[Key, _T]] | SupportsItems[Key, _T]


class TypedRecord(TypedDict, Generic[_T]):
    """What `read` and `pop` give on an index with a type: a `Record` whose document is of that type.

    :ivar hash_: the key's hash, a number in [0, 1).
    :ivar record: the document, of the index's type.
    """

    hash_: float
    record: _T


class TypedItem(TypedDict, Generic[_T]):
    """What `item` gives on an index with a type: an `Item` whose document is of that type.

    :ivar key: the key's text.
    :ivar hash_: the key's hash, a number in [0, 1).
    :ivar record: the document, of the index's type.
    :ivar version: rises with every write to the key's shard.
    :ivar expiry: when the document will be gone, in seconds since 1970 by the shard's clock; None: never.
    :ivar ttl: seconds until then; None: for ever.
    :ivar size: what `write` gave.
    """

    key: str
    hash_: float
    record: _T
    version: int
    expiry: float | None
    ttl: float | None
    size: int


class DocumentType(Generic[_T]):
    """A type of documents.

    :param type: a dataclass, an attrs class, a ``msgspec.Struct`` or a TypedDict; or another type that msgspec knows,
        such as ``list[Page]``.
    :raises InvalidArgument: msgspec can't convert its values to and fro.
    """

    def __init__(self, type: type[_T]) -> None:
        self._type = type
        self.name = getattr(type, "__name__", "") or shown_value(type)
        try:
            nodes = list(_nodes(inspect.type_info(type)))
        except (TypeError, ValueError, NameError) as error:  # NameError: an annotation that leads nowhere
            shown = shortened(plain(str(error)), 200)
            raise InvalidArgument(f"type: found {shown_value(type)}: {shown}; {_EXPECTED}") from None
        for node in nodes:
            if isinstance(node, inspect.CustomType):
                raise InvalidArgument(f"type: found {shown_value(node.cls)}; {_EXPECTED}")
            if isinstance(node, inspect.DataclassType) and attrs.has(node.cls):
                private = [field.name for field in node.fields if field.name.startswith("_")]
                if private:
                    raise InvalidArgument(
                        f"type: found the field {private[0]!r} of {node.cls.__name__}, which msgspec leaves out of an "
                        "attrs class since it begins with '_'; expected another name"
                    )

    def stored(self, key: object, document: _T) -> Storable:
        """What is stored for a document.

        :param key: whose document it is, for messages.
        :raises InvalidDocument: it doesn't fit the type.
        """
        try:
            found: Storable = msgspec.to_builtins(document, builtin_types=_AS_IS, str_keys=True)
            msgspec.convert(found, self._type, builtin_types=_AS_IS, str_keys=True)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
            raise self._unfit(key, error) from None
        return found

    def given(self, key: object, document: Document) -> _T:
        """The caller's document, of one that is stored.

        :raises InvalidDocument: it doesn't fit the type; somebody stored another one there.
        """
        try:
            return msgspec.convert(document, self._type, builtin_types=_AS_IS, str_keys=True)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
            raise self._unfit(key, error) from None

    def record(self, key: object, found: Record | None) -> TypedRecord[_T] | None:
        """What `read` found, with the caller's document.

        :raises InvalidDocument: as `given`.
        """
        return None if found is None else {**found, "record": self.given(key, found["record"])}

    def item(self, key: object, found: Item | None) -> TypedItem[_T] | None:
        """What `item` found, with the caller's document.

        :raises InvalidDocument: as `given`.
        """
        return None if found is None else {**found, "record": self.given(key, found["record"])}

    def popped(self, key: object, found: Record | None) -> TypedRecord[_T] | None:
        """What `pop` found, as `record`; where the document doesn't fit, the error says that it was removed.

        :raises InvalidDocument: as `given`.
        """
        try:
            return self.record(key, found)
        except InvalidDocument as error:
            raise InvalidDocument(f"{error}; it was removed") from None

    def pair(self, pair: tuple[str, Document]) -> tuple[str, _T]:
        """One of the pairs that `items` gives, with the caller's document.

        :raises InvalidDocument: as `given`.
        """
        key, document = pair
        return key, self.given(key, document)

    def pairs(self, pairs: TypedPairs[_T]) -> Iterator[Pair]:
        """The pairs of a bulk write, with what is stored for each document.

        A document that doesn't fit becomes a `RefusedDocument`, so that the bulk fails for its key alone.

        :param pairs: pairs, or a mapping.
        """
        given: Iterable[object] = given_pairs(pairs)
        for pair in given:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                yield cast("Pair", pair)  # the bulk says what is wrong with it
                continue
            key, document = pair
            try:
                yield key, self.stored(key, document)
            except InvalidDocument as error:
                yield key, RefusedDocument(error)

    def _unfit(self, key: object, error: Exception) -> InvalidDocument:
        return InvalidDocument(f"the document of key {shown_key(key)} is no {self.name}: {error}")


def document_type(type: type[_T]) -> DocumentType[_T]:
    """The `DocumentType` of a type, which is looked at once.

    :raises InvalidArgument: as `DocumentType`.
    """
    try:
        return _looked_at(cast("Hashable", type))
    except TypeError:  # it can't be hashed, as some of `typing.Annotated` can't
        return DocumentType(type)


@lru_cache(maxsize=256)
def _looked_at(type: Any) -> DocumentType[Any]:  # functools' cache has no types that depend on one another
    return DocumentType(type)


def _nodes(info: object) -> Iterator[object]:
    """All that msgspec knows of a type: the type, its fields, their types, and so on, each once."""
    seen: set[int] = set()
    left = [info]
    while left:
        node = left.pop()
        if isinstance(node, tuple | list):
            left += node
        elif isinstance(node, inspect.Type | inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            yield node
            left += [getattr(node, name) for name in node.__struct_fields__]
