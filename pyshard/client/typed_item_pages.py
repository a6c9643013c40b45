"""All keys of an index with their documents, which are of one type, page by page, of the Deferred client.

Rule: a document that doesn't fit is an error in its place, and the iteration can go on behind it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from pyshard.client.item_pages import ItemPages
from pyshard.client_core.typed_documents import DocumentType
from pyshard.client_core.typed_verbs import typed_outcomes
from pyshard.model.document_encoding import Document

_T = TypeVar("_T")


class TypedItemPages(Generic[_T]):
    """An asynchronous iterator over pairs: a key's text and its document; or call `next_page`.

    :param pages: those of the documents as they are stored.
    :param documents: the documents' type.
    """

    def __init__(self, pages: ItemPages, documents: DocumentType[_T]) -> None:
        self._pages = pages
        self._documents = documents

    def __aiter__(self) -> TypedItemPages[_T]:
        return self

    async def __anext__(self) -> tuple[str, _T]:
        return self._documents.pair(await self._pages.__anext__())

    def next_page(self) -> Deferred[list[tuple[str, _T]]]:
        """The next pairs, in slot order.

        :return: a Deferred of them; an empty list at the end.
        :raises PartialFailure: (in the Deferred) some documents don't fit, or can't be read; it has the outcomes of the
            page's keys.
        :raises PyshardError: (in the Deferred) as `KeyPages.next_page`.
        """
        return self._pages.next_page().addCallback(self._typed)

    def _typed(self, page: list[tuple[str, Document]]) -> list[tuple[str, _T]]:
        keys, documents = [key for key, _ in page], [document for _, document in page]
        return list(zip(keys, typed_outcomes(keys, documents, self._documents.given), strict=True))
