"""All keys of an index, page by page over all shards, in slot order.

The cursor is a (slot, key), so that a scan goes on where it was when the map changes under it. A key that exists
from the scan's start to its end comes exactly once; one that comes or goes meanwhile, once or not at all.
"""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.client.router import Routing
from pyshard.errors import (
    BadRequest,
    IndexNotFound,
    NotConfigured,
    ShardBehind,
    ShuttingDown,
    Unavailable,
    WrongShard,
)
from pyshard.model.keyspace import SLOTS, slot_of
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_keys
from pyshard.steps import Steps

_PAUSE = 0.1  # seconds before a page that could not be had is asked for again


class KeyPages:
    """An asynchronous iterator over keys, each as its text (str).

    Use it as ``async for key in client.keys(): …`` in a coroutine, or call `next_page`.

    :param index: the index's name; empty for the default one.
    :param deadline: seconds that each page may take.
    """

    def __init__(self, clock: IReactorTime, routing: Routing, index: str, deadline: float) -> None:
        self._clock = clock
        self._routing = routing
        self._index = index
        self._deadline = deadline
        self._slot = 0
        self._after: bytes | None = None
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

    @inlineCallbacks
    def next_page(self) -> Steps[list[str]]:
        """The next keys, in slot order; an empty list at the end.

        :raises IndexNotFound: (in the Deferred) there is no such index.
        :raises Unavailable: the shard whose keys come next can't be reached.
        """
        end = self._clock.seconds() + self._deadline
        keys: list[bytes] = []
        missing_since: float | None = None
        while self._slot < SLOTS and not keys:
            self._routing.check_open()
            began = self._clock.seconds()
            try:
                keys = yield self._ask(max(0.0, end - began))
            except (WrongShard, NotConfigured, ShardBehind, ShuttingDown, IndexNotFound) as error:
                if isinstance(error, IndexNotFound):
                    missing_since = began if missing_since is None else missing_since
                    if self._missing(missing_since):
                        raise
                if self._clock.seconds() + _PAUSE >= end:
                    raise Unavailable(f"no page of keys could be had within {self._deadline:g} s: {error}") from None
                yield self._routing.refresh()
                yield deferLater(self._clock, _PAUSE)
        try:
            return [key.decode("utf-8") for key in keys]
        except UnicodeDecodeError as error:
            raise BadRequest(f"the shard's page has a key that is not UTF-8: {error}") from None

    def _missing(self, since: float) -> bool:
        """Whether a map fetched after a shard first refused the index agrees that there is none."""
        return self._routing.fetched >= since and self._index not in self._routing.state.indexes

    @inlineCallbacks
    def _ask(self, seconds: float) -> Steps[list[bytes]]:
        """One page of one shard; moves the cursor behind it."""
        routing = self._routing
        answer = yield routing.link_for(self._slot).rpc.call(
            commands.Keys,
            seconds,
            epoch=routing.state.epoch,
            index=self._index,
            slot=self._slot,
            after=self._after,
        )
        keys = decode_keys(answer["keys"])
        last = slot_of(keys[-1], self._index.encode()) if keys else -1
        if answer["more"] and last >= self._slot and keys[-1] != self._after:
            self._slot, self._after = last, keys[-1]
        elif not answer["more"] and answer["end"] > self._slot:
            self._slot, self._after = answer["end"], None
        else:
            raise BadRequest("the shard's page of keys leads nowhere")
        return keys
