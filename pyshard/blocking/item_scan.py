"""All keys of an index with their documents, page by page, of the blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyshard.client_core.walked_records import WalkedRecords, pairs_in
from pyshard.model.document_encoding import Document


class ItemScan(Iterator[tuple[str, Document]]):
    """An iterator over pairs: a key's text and its document.

    Keys whose documents can't be read raise an error together; the next call goes on behind them.

    :param index: the index's name; empty for the default one.
    :param pages: the pages of keys.
    :param read: reads the records of some keys; see `WalkedRecords.took`.
    """

    def __init__(self, index: str, pages: Iterator[list[str]], read: Callable[[list[str]], list[object]]) -> None:
        self._index = index
        self._pages = pages
        self._read = read
        self._records = WalkedRecords()
        self._decoded: list[tuple[str, Document]] = []

    def __next__(self) -> tuple[str, Document]:
        while not self._decoded:
            if portion := self._records.next_portion():
                self._decoded = pairs_in(self._index, *portion)[::-1]
            elif keys := self._records.next_keys():
                self._records.took(self._read(keys))
            else:
                self._records.add(next(self._pages))
        return self._decoded.pop()
