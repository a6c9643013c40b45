"""Batches of long keys: how many bytes of keys a shard works on for one box, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import count, islice
from typing import Any

import pytest
from deferreds import result
from shard.served import WHERE, Bench
from shard.states import HALF, with_low
from stores import FAST_KINDS, folder

from pyshard.errors import BadRequest
from pyshard.model import document_encoding, key_slots
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import ABSENT, Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write
from pyshard.security.tokens_and_roles import Role
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, LmdbStore
from pyshard.storage.durable import lmdb_encoding

ONE = document_encoding.encode(1)[0]
MOST = settings.BATCH_KEY_BYTES
LENGTH = settings.MAX_KEY_BYTES
DONE = MOST // LENGTH  # operations on the longest keys that a batch may have
MANY = 3 * DONE
FULL = "ANSWER_FULL"

KEYS = list(
    islice(
        (key for key in (b"%d" % at + b"k" * (LENGTH - 5) for at in count(10_000)) if slot_of(key) < HALF),
        MANY,
    )
)

#: Each verb, over many of the longest keys.
RUNS: list[Run] = [
    Has("", KEYS),
    Read("", KEYS),
    ReadItem("", KEYS),
    Write("", KEYS, [ONE] * MANY),
    Write("", KEYS, [ONE] * MANY, [ABSENT] * MANY, [1000] * MANY),
    Pop("", KEYS),
    Remove("", KEYS),
    Touch("", KEYS, [1000] * MANY),
    Increment("", KEYS, [ONE] * MANY, [ONE] * MANY),
]


class Hashed:
    """How many bytes of keys were hashed, by which function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slots = self.digests = 0
        slots_of = key_slots.slots_of

        def counted_slots(keys: Sequence[bytes], index: bytes = b"") -> list[int]:
            self.slots += sum(map(len, keys))
            return slots_of(keys, index)

        def counted_digest(key: bytes, **options: Any) -> Any:
            self.digests += len(key)
            return blake2b(key, **options)

        monkeypatch.setattr(key_slots, "slots_of", counted_slots)
        monkeypatch.setattr(lmdb_encoding, "blake2b", counted_digest)


@pytest.fixture(params=FAST_KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A shard with each kind of store."""
    with folder() as path:
        if request.param == "memory":
            made = Bench()
        else:
            made = Bench(LmdbStore(DataDirectory(path / "data"), lambda: 1.7e9, None, Durability.NONE))
        made.configure(with_low(limit=10**9, identity=made.shard.store.identity))
        yield made
        result(made.shard.store.close())


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Hashed:
    """Counts what is hashed."""
    return Hashed(monkeypatch)


def codes(bench: Bench, *runs: Run) -> list[list[str]]:
    """The code of each operation's refusal, or nothing."""
    return [
        [answer.errors.get(place, ("",))[0] for place in range(len(answer.results))] for answer in bench.apply(*runs)
    ]


def served_as(bench: Bench, role: Role) -> None:
    """Have the shard take the peer for one of this role."""
    listening = bench.network.listeners[WHERE]
    assert isinstance(listening, ServerFactory)
    (connection,) = listening.connections
    connection.role = role


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: type(run).__name__)
def test_each_verb(bench: Bench, hashed: Hashed, run: Run, there: bool) -> None:
    """Past the bound the rest of the batch is refused, and not done in part; nothing hashes a key twice."""
    if there:
        for begin in range(0, MANY, DONE):
            some = slice(begin, begin + DONE)
            assert bench.apply(Write("", KEYS[some], [ONE] * DONE))[0].errors == {}
    hashed.slots = hashed.digests = 0
    refused, behind = codes(bench, run, Has("", [KEYS[0]]))
    assert refused[DONE:] == [FULL] * (MANY - DONE)
    assert FULL not in refused[:DONE]
    assert behind == [FULL]
    assert hashed.slots <= MOST
    assert hashed.digests <= MOST
    if there:
        left = MANY - DONE if isinstance(run, Pop | Remove) else MANY
    else:
        left = DONE if isinstance(run, Write | Increment) else 0
    assert bench.shard.store.documents == left


def test_a_client_that_asks_again(bench: Bench) -> None:
    """Whoever sends what was refused again, in a new batch, gets everything done, each operation once."""
    left, boxes = list(KEYS), 0
    while left:
        answers = bench.apply(Write("", left, [ONE] * len(left), [ABSENT] * len(left)))[0]
        assert answers.results[: len(left) - len(answers.errors)] == [True] * (len(left) - len(answers.errors))
        left = [left[place] for place in sorted(answers.errors)]
        boxes += 1
    assert boxes == MANY // DONE
    assert bench.shard.store.documents == MANY


def test_a_reader(bench: Bench, hashed: Hashed) -> None:
    """A peer that may only read has the same bound; what it may not do isn't counted, nor put off."""
    served_as(bench, Role.READ)
    pops, has, behind = codes(bench, Pop("", KEYS), Has("", KEYS), Has("", [b"k"]))
    assert pops == ["PERMISSION_DENIED"] * MANY
    assert (has.count(FULL), behind) == (MANY - DONE, [FULL])
    assert hashed.slots <= MOST


@pytest.mark.parametrize("role", [Role.ADMIN, Role.READ])
@pytest.mark.parametrize("make", [Has, Read, ReadItem, Pop, Remove, partial(Touch, ttls=[0])])
def test_a_key_that_nobody_can_store(
    bench: Bench, hashed: Hashed, make: Callable[[str, list[bytes]], Run], role: Role
) -> None:
    """A key as long as a box is refused before it is hashed; where the batch is small it is found nowhere."""
    served_as(bench, role)
    run = make("", [b"k" * (16 * 1024 * 1024)])
    if role is Role.READ and not isinstance(run, Has | Read | ReadItem):
        assert codes(bench, run) == [["PERMISSION_DENIED"]]
    else:
        with pytest.raises(BadRequest, match=r"^the batch has a key of more than 65,536 bytes$"):
            bench.apply(run)
    assert hashed.slots == hashed.digests == 0
    short = next(key for key in (b"%d" % at + b"k" * LENGTH for at in count()) if slot_of(key) < HALF)
    assert bench.apply(Has("", [short]))[0].results == [False]
