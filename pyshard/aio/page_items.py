"""What comes page by page, one after the other: for ``async for``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
_Converted = TypeVar("_Converted")


class PageItems(AsyncIterator[_T], Generic[_T]):
    """An asynchronous iterator over all that is on some pages.

    :param next_page: fetches the next page; an empty one is the end.
    """

    def __init__(self, next_page: Callable[[], asyncio.Future[list[_T]]]) -> None:
        self._next_page = next_page
        self._page: list[_T] = []

    async def __anext__(self) -> _T:
        while not self._page:
            page = await self._next_page()
            if not page:
                raise StopAsyncIteration
            self._page = page[::-1]
        return self._page.pop()


class ConvertedItems(AsyncIterator[_Converted], Generic[_T, _Converted]):
    """An asynchronous iterator over what a function makes of each item. An error of the function is in its place.

    :param items: an iterator over those that the function is given.
    :param convert: the function.
    """

    def __init__(self, items: AsyncIterator[_T], convert: Callable[[_T], _Converted]) -> None:
        self._items = items
        self._convert = convert

    async def __anext__(self) -> _Converted:
        return self._convert(await anext(self._items))
