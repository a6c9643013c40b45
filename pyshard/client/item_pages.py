"""All keys of an index with their documents, page by page, of the Deferred client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.client.key_pages import KeyPages
from pyshard.client_core.walked_records import WalkedRecords, pairs_in, results_in
from pyshard.errors import PartialFailure
from pyshard.model.document_encoding import Document


class ItemPages:
    """An asynchronous iterator over pairs: a key's text and its document.

    Use it as ``async for key, document in client.items(): …`` in a coroutine, or call `next_page`.

    :param clock: gives the reactor its turns.
    :param pages: the pages of keys.
    :param read: reads the records of some keys; see `WalkedRecords.took`.
    """

    def __init__(
        self, clock: IReactorTime, pages: KeyPages, read: Callable[[list[str]], Awaitable[list[object]]]
    ) -> None:
        self._clock = clock
        self._pages = pages
        self._read = read
        self._records = WalkedRecords()
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
        """The next pairs, in slot order: those of a page of keys, or fewer where documents are large.

        :return: a Deferred of them; an empty list at the end.
        :raises PartialFailure: (in the Deferred) some documents can't be read.
        :raises PyshardError: (in the Deferred) as `KeyPages.next_page`.
        """
        return Deferred.fromCoroutine(self._next_page())

    async def _next_page(self) -> list[tuple[str, Document]]:
        if self._records.ready:  # nothing will be asked for, so nobody else would have a turn
            await deferLater(self._clock, 0)
        while True:
            if portion := self._records.next_portion():
                if page := pairs_in(self._pages.index, *portion):
                    return page
            elif wanted := self._records.next_keys():
                self._records.took(await self._results(wanted))
            elif keys := await self._pages.next_page():
                self._records.add(keys)
            else:
                return []

    async def _results(self, keys: list[str]) -> list[object]:
        try:
            return await self._read(keys)
        except PartialFailure as failure:
            return results_in(failure)
