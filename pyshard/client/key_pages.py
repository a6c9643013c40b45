"""All keys of an index, page by page over all shards, in slot order.

Rules:

- A key that exists from the scan's start to its end comes exactly once. One that comes or goes meanwhile comes once or
  not at all.
- A scan goes on where it was when the map changes under it (`pyshard.client_core.key_cursor`).
- Each page has a deadline. A shard that can't be reached is an error, never a gap.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.client.router import Router
from pyshard.client_core.key_cursor import KeyCursor, key_texts
from pyshard.errors import (
    IndexNotFound,
    NotConfigured,
    ShardBehind,
    ShuttingDown,
    Unavailable,
    WrongShard,
)
from pyshard.protocol import commands

_PAUSE = 0.1  # seconds until a page is asked for again


class KeyPages:
    """An asynchronous iterator over keys, each as its text (str).

    Use it as ``async for key in client.keys(): …`` in a coroutine, or call `next_page`.

    :param index: the index's name; empty for the default one.
    :param deadline: seconds that each page may take.
    """

    def __init__(self, clock: IReactorTime, router: Router, index: str, deadline: float) -> None:
        self._clock = clock
        self._router = router
        self._cursor = KeyCursor(index)
        self._deadline = deadline
        self._page: list[str] = []

    def __aiter__(self) -> KeyPages:
        return self

    async def __anext__(self) -> str:
        while not self._page:
            page: list[str] = await self.next_page()
            if not page:
                raise StopAsyncIteration
            self._page = page[::-1]
        return self._page.pop()

    def next_page(self) -> Deferred[list[str]]:
        """The next keys, in slot order.

        :return: a Deferred of their texts; an empty list at the end.
        :raises IndexNotFound: (in the Deferred) there is no such index.
        :raises Unavailable: the shard whose keys come next can't be reached.
        """
        return Deferred.fromCoroutine(self._next_page())

    async def _next_page(self) -> list[str]:
        end = self._clock.seconds() + self._deadline
        keys: list[bytes] = []
        missing_since: float | None = None
        while not self._cursor.ended and not keys:
            self._router.check_open()
            began = self._clock.seconds()
            try:
                keys = await self._fetch(max(0.0, end - began))
            except (WrongShard, NotConfigured, ShardBehind, ShuttingDown, IndexNotFound) as error:
                if isinstance(error, IndexNotFound):
                    missing_since = began if missing_since is None else missing_since
                    if self._missing(missing_since):
                        raise
                if self._clock.seconds() + _PAUSE >= end:
                    raise Unavailable(f"no page of keys could be had within {self._deadline:g} s: {error}") from None
                await self._router.refresh()
                await deferLater(self._clock, _PAUSE)
        return key_texts(keys)

    def _missing(self, since: float) -> bool:
        """Whether a map fetched after a shard first refused the index agrees that there is none."""
        return self._router.fetched >= since and self._cursor.index not in self._router.state.indexes

    async def _fetch(self, seconds: float) -> list[bytes]:
        """Fetch one page of one shard, and move the cursor behind it."""
        router, cursor = self._router, self._cursor
        rpc = router.link_for(cursor.slot).rpc
        return cursor.take(await rpc.call(commands.Keys, seconds, False, **cursor.question(router.state.epoch)))
