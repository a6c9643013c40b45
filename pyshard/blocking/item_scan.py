"""All keys of an index with their documents, page by page, of the blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pyshard.client_core.everyday_verbs import pairs_in
from pyshard.client_core.result_decoding import Record
from pyshard.model.document_encoding import Document


class ItemScan(Iterator[tuple[str, Document]]):
    """An iterator over pairs: a key's text and its document.

    A page that fails raises its error; the next call goes on behind it.

    :param pages: the pages of keys.
    :param read: reads the documents of a page's keys.
    """

    def __init__(self, pages: Iterator[list[str]], read: Callable[[list[str]], Sequence[Record | None]]) -> None:
        self._pages = pages
        self._read = read
        self._page: list[tuple[str, Document]] = []

    def __next__(self) -> tuple[str, Document]:
        while not self._page:
            page = next(self._pages)
            self._page = pairs_in(page, self._read(page))[::-1]
        return self._page.pop()
