"""All keys of an index with their documents, page by page, of the Deferred client."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pyshard.client.key_pages import KeyPages
from pyshard.client_core.everyday_verbs import pairs_in
from pyshard.client_core.result_decoding import Record
from pyshard.model.document_encoding import Document


class ItemPages:
    """An asynchronous iterator over pairs: a key's text and its document.

    Use it as ``async for key, document in client.items(): …`` in a coroutine, or call `next_page`.

    :param pages: the pages of keys.
    :param read: reads the documents of a page's keys.
    """

    def __init__(self, pages: KeyPages, read: Callable[[list[str]], Deferred[list[Record | None]]]) -> None:
        self._pages = pages
        self._read = read
        self._page: list[tuple[str, Document]] = []

    def __aiter__(self) -> ItemPages:
        return self

    async def __anext__(self) -> tuple[str, Document]:
        while not self._page:
            page: list[tuple[str, Document]] = await self.next_page()
            if not page:
                raise StopAsyncIteration
            self._page = page[::-1]
        return self._page.pop()

    def next_page(self) -> Deferred[list[tuple[str, Document]]]:
        """The next pairs, in slot order.

        :return: a Deferred of them; an empty list at the end.
        :raises PartialFailure: (in the Deferred) some documents can't be read.
        :raises PyshardError: (in the Deferred) as `KeyPages.next_page`.
        """
        return Deferred.fromCoroutine(self._next_page())

    async def _next_page(self) -> list[tuple[str, Document]]:
        while keys := await self._pages.next_page():
            if page := pairs_in(keys, await self._read(keys)):
                return page
        return []
