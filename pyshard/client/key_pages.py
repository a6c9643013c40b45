"""All keys of an index, page by page over all shards, in slot order.

Rules:

- A key that exists from the scan's start to its end comes exactly once. One that comes or goes meanwhile comes once or
  not at all.
- A scan goes on where it was when the map changes under it (`pyshard.client_core.key_cursor`).
- Each page has a deadline. A shard that can't be reached is an error, never a gap.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.client.router import Router
from pyshard.client_core.key_cursor import KeyCursor, key_texts
from pyshard.client_core.retried_index_walk import FOR_NOW, Refusals, Walk
from pyshard.errors import Overloaded

_T = TypeVar("_T")


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
        self.index = index
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
        while not self._cursor.ended and not keys:
            keys = await next_answer(self._clock, self._router, self._cursor, self._deadline, end)
        return key_texts(keys)


async def next_answer(clock: IReactorTime, router: Router, walk: Walk[_T], seconds: float, end: float) -> _T:
    """What the next shard of a walk answers, asked again by newer maps where it must be.

    :param seconds: the deadline, for the message.
    :param end: the deadline, in the clock's seconds.
    """
    refusals = Refusals(walk, seconds, end)
    while True:
        router.check_open()
        asked, own = clock.seconds(), router.state.map.lookup(walk.slot)
        rpc = router.link_for(walk.slot).rpc
        calling = rpc.call(walk.command, max(0.0, end - asked), False, **walk.question(router.state.epoch))
        try:
            answer = await calling
            walk.took(own, clock.seconds() - asked)
            return walk.take(answer, own)
        except FOR_NOW as error:
            if isinstance(error, Overloaded) and rpc.full:
                raise  # it is this side that has too much to do
            refusals.refused(error, asked, clock.seconds(), router.fetched, router.state.indexes)
            refused = error
        if not isinstance(refused, Overloaded):
            with suppress(TimeoutError):
                await router.refresh().addTimeout(max(0.0, end - clock.seconds()), clock)
        refusals.check_time(refused, clock.seconds())
        await deferLater(clock, refusals.pause)
