"""The calls of recorded histories: which there are, how each client makes them, and how they can be cut short.

The verbs and their arguments are the same for the Deferred, the blocking and the asyncio client. So a call is planned
without knowing who makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any, TypeAlias

import attrs
from linearizability import ABSENT, PRESENT, READS
from twisted.internet.defer import CancelledError, Deferred

from pyshard import Client, Pyshard
from pyshard.aio import AioClient
from pyshard.errors import OutcomeUnknown

#: The index that has documents, beside the default one; and one that comes and goes, and has none.
PAGES, FLEETING = "pages", "fleeting"

#: What the verbs on one key do, as the model has it.
SINGLE = {
    "write": "write",
    "add": "write",
    "replace": "write",
    "read": "read",
    "get": "read",
    "item": "item",
    "has": "has",
    "pop": "pop",
    "remove": "remove",
    "touch": "touch",
    "increment": "increment",
    "update": "increment",
}

#: As much of the verbs on many keys.
BULK = {
    "write_many": "write",
    "add_many": "write",
    "read_many": "read",
    "get_many": "read",
    "has_many": "has",
    "pop_many": "pop",
    "remove_many": "remove",
}

#: The verbs that go through an index.
LISTINGS = ("keys", "items")

#: Every verb.
VERBS = (*SINGLE, *BULK, *LISTINGS, "stat", "create_index", "drop_index", "indexes")

_WEIGHTS = {"write": 4, "read": 3, "get": 3, "item": 4, "increment": 3, "stat": 0.7, "keys": 0.7, "items": 0.7}

#: What is written differs by this much, so that increments never make one value into another.
_APART = 1_000_000
_HOT = 2  # how many of the keys are called more often than the others
_LONG = 100_000  # seconds; nothing expires in a run

#: Index and key of a document; or `FLEETING` alone.
Place: TypeAlias = tuple[str, ...]

#: (client, place) → the version that the client saw last, and its value.
Versions: TypeAlias = dict[tuple[int, Place], tuple[int, int]]


class CutShort(Exception):
    """A call was cancelled or interrupted.

    :param may_have_happened: whether its caller was told that it may have changed something.
    """

    def __init__(self, may_have_happened: bool) -> None:
        super().__init__(may_have_happened)
        self.may_have_happened = may_have_happened


class Interruption(BaseException):
    """Raised in the middle of a blocking call, as by a signal's handler."""


@attrs.define(eq=False)
class Call:
    """One call.

    :ivar keys: of a single verb one, of others any number.
    :ivar values: what is written for each key, or what it is to begin with.
    :ivar condition: the version that the key must have, `ABSENT` or `PRESENT`; `wanted` is the value of that version.
    :ivar ttl: seconds; None: none.
    :ivar began: when, in the recorder's moments; as `ended`, which is 0 before.
    :ivar late: the seconds by which it ended after its deadline.
    :ivar cut: whether somebody has tried to cut it short.
    """

    client: int
    number: int
    verb: str
    index: str = ""
    keys: Sequence[str] = ()
    values: Sequence[int] = ()
    condition: int | str | None = None
    wanted: int | None = None
    ttl: float | None = None
    deadline: float | None = None
    began: int = 0
    ended: int = 0
    late: float = 0.0
    cut: bool = False
    outcome: Any = None

    @property
    def bulk(self) -> int | None:
        """Its number, if it has no order with what its client calls meanwhile; an update is two steps."""
        return self.number if self.verb in BULK or self.verb == "update" else None

    @property
    def model(self) -> str:
        """What it does with a key, as the model has it."""
        return SINGLE.get(self.verb) or BULK[self.verb]

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        if self.verb in SINGLE or self.verb in BULK:
            return self.model not in READS
        return self.verb in ("create_index", "drop_index")


def planned(
    client: int,
    number: int,
    keys: Sequence[str],
    random: Random,
    versions: Versions,
    doubt: Place | None,
    new_value: Any,  # a function that gives a number which nobody has
) -> Call:
    """A random call for a client to make.

    :param keys: those of each index.
    :param doubt: what the client changed, and doesn't know the outcome of.
    """
    (verb,) = random.choices(VERBS, [_WEIGHTS.get(one, 1) for one in VERBS])
    call = Call(client, number, verb, random.choice(["", PAGES]))
    if random.random() < 0.5:
        keys = keys[:_HOT]
    if doubt and random.random() < 0.5:
        call.index, keys = doubt[0], [doubt[1]]
    call.ttl = random.choice([None, None, _LONG])
    if verb in SINGLE:
        call.keys = [random.choice(keys)]
        seen = versions.get((client, (call.index, call.keys[0])))
        if verb == "add" or (verb == "write" and random.random() < 0.25):
            call.condition = ABSENT
        elif verb in ("write", "replace", "pop", "remove", "touch") and seen and random.random() < 0.4:
            call.condition, call.wanted = seen
        elif verb == "replace":
            call.condition = PRESENT
    elif verb in BULK:
        call.keys = random.choices(keys, k=random.choice([1, 2, 5, 10]))
        call.condition = ABSENT if verb == "add_many" else None
    if verb in ("write", "add", "replace", "increment", "update", "write_many", "add_many"):
        call.values = [new_value() * _APART for _ in call.keys]
    if verb not in ("write", "add", "replace", "touch", "increment", "write_many", "add_many"):
        call.ttl = None
    return call


def invoke(client: Client | Pyshard | AioClient, call: Call) -> Any:
    """Make a call: what the client's method gives, which is a Deferred, the result or a future."""
    options: dict[str, Any] = {"deadline": call.deadline}
    arguments: list[Any] = []
    if call.verb in BULK:
        arguments = [list(zip(call.keys, call.values, strict=True)) if call.values else call.keys]
    elif call.verb in ("create_index", "drop_index"):
        arguments = [FLEETING]
    elif call.verb in SINGLE:
        arguments = [call.keys[0]]
        if isinstance(call.condition, int):
            options["if_version"] = call.condition
        elif call.verb == "write" and call.condition is ABSENT:
            options["if_absent"] = True
    if call.verb in ("write", "add", "replace"):
        arguments.append(call.values[0])
    elif call.verb == "increment":
        options.update(by=1, initial=call.values[0])
    elif call.verb == "update":
        arguments.append(lambda document: document + 1)
        options["default"] = call.values[0]
    if call.verb in (*SINGLE, *BULK, *LISTINGS):
        options["index"] = call.index or None
    if call.ttl is not None or call.verb == "touch":
        options["ttl"] = call.ttl
    found = getattr(client, call.verb)(*arguments, **options)
    if call.verb not in LISTINGS:
        return found
    if isinstance(client, Pyshard):
        return list(found)
    if isinstance(client, Client):
        return Deferred.fromCoroutine(_listed(found))
    return asyncio.get_running_loop().create_task(_listed(found))


async def _listed(found: AsyncIterator[object]) -> list[object]:
    return [one async for one in found]


def outcome_of(call: Call, error: BaseException) -> Exception:
    """What a call ended with that raised.

    A call that somebody has cut short ends as it would have, or with the exception that cut it short. Then its cause
    is `OutcomeUnknown` where it may have changed something. A Deferred that was cancelled doesn't tell so much.

    :raises BaseException: it was none of these.
    """
    if isinstance(error, CancelledError):
        assert call.cut, call
        return CutShort(call.changes)
    if isinstance(error, asyncio.CancelledError):
        assert call.cut, call
        if call.verb in SINGLE and call.verb != "update":
            assert isinstance(error.__cause__, OutcomeUnknown) == call.changes, call
        return CutShort(call.changes)
    if isinstance(error, Interruption):
        return CutShort(call.changes and isinstance(error.__cause__, OutcomeUnknown))
    if isinstance(error, Exception):
        return error
    raise error
