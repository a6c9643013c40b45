"""What every client does for the verbs of an index with a type, on many keys and in updates. Pure.

Rules:

- In a bulk verb a document that doesn't fit is its own key's outcome; the others have their documents.
- An update refuses what one without a type refuses, with the same errors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar, cast

from pyshard.client_core.bulk_input import keys_of
from pyshard.client_core.everyday_verbs import Missing, check_function
from pyshard.client_core.partial_failure import partial_failure
from pyshard.client_core.typed_documents import DocumentType
from pyshard.errors import InvalidDocument, PartialFailure, PyshardError
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key

_T = TypeVar("_T")
_Found = TypeVar("_Found")
_Typed = TypeVar("_Typed")


class TypedUpdate(Generic[_T]):
    """An update of a document of a type, as one of the stored document.

    :param documents: the type.
    :param key: whose document it is, for messages.
    :param function: the caller's, of documents of the type.
    :param default: what it is given where the key is missing, or `MISSING`.
    :ivar default: that as it would be stored.
    :raises InvalidArgument: `function` can't be called.
    :raises InvalidDocument: `default` doesn't fit.
    """

    def __init__(
        self, documents: DocumentType[_T], key: object, function: Callable[[_T], _T], default: _T | Missing
    ) -> None:
        check_function(function)
        self._documents = documents
        self._key = key
        self._function = function
        self.default: object = default if isinstance(default, Missing) else documents.stored(key, default)

    def function(self, document: Document) -> Storable:
        """The new stored document, of the old one.

        :raises InvalidDocument: the old one doesn't fit, or the caller's function gave one that doesn't.
        """
        found = self._function(self._documents.given(self._key, document))
        if found is None or inspect.isawaitable(found):
            return cast("Storable", found)  # the update says what is wrong with it
        return self._documents.stored(self._key, found)

    def result(self, found: Document | None) -> _T | None:
        """What the caller is given, of what the update gave; None: the key is missing."""
        return None if found is None else self._documents.given(self._key, found)


class TypedKeys(Generic[_Found, _Typed]):
    """The keys that a caller gave a bulk verb, which takes them from here, and not before it needs them.

    :param keys: the caller's.
    :param convert: makes of a key and its outcome what the caller is given.
    :raises InvalidArgument: as `pyshard.client_core.bulk_input.keys_of`; when the bulk begins.
    """

    def __init__(self, keys: Iterable[Key], convert: Callable[[object, _Found], _Typed]) -> None:
        self._given = keys
        self._convert = convert
        self._taken: list[Key] = []

    def __iter__(self) -> Iterator[Key]:
        for key in keys_of(self._given):
            self._taken.append(key)
            yield key

    def outcomes(self, found: Iterable[_Found]) -> list[_Typed]:
        """What the verb gives, with the caller's documents.

        :param found: what it gave.
        :raises PartialFailure: as `typed_outcomes`.
        """
        return typed_outcomes(self._taken, found, self._convert)

    def failure(self, failure: PartialFailure) -> PartialFailure:
        """The verb's failure, with the caller's documents in its outcomes."""
        keys, outcomes = zip(*failure.outcomes, strict=True)
        try:
            typed_outcomes(keys, cast("tuple[_Found, ...]", outcomes), self._convert)
        except PartialFailure as typed:
            return typed
        return failure


def typed_outcomes(
    keys: Iterable[object], outcomes: Iterable[_Found], convert: Callable[[object, _Found], _Typed]
) -> list[_Typed]:
    """What a bulk verb gives, with the caller's documents.

    :param outcomes: of the keys, in their order; errors among them stay.
    :param convert: makes of a key and its outcome what the caller is given.
    :raises PartialFailure: some documents don't fit, or some outcomes were errors already; its outcomes are the
        caller's.
    """
    found: list[tuple[object, object]] = []
    for key, outcome in zip(keys, outcomes, strict=True):
        try:
            found.append((key, outcome if isinstance(outcome, PyshardError) else convert(key, outcome)))
        except InvalidDocument as error:
            found.append((key, error))
    if any(isinstance(outcome, PyshardError) for _, outcome in found):
        raise partial_failure(found)
    return cast("list[_Typed]", [outcome for _, outcome in found])
