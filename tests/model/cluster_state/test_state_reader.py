"""States that are read one after the other: as if each were the only one, and for the shards that have changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import attrs
import pytest
from model.shard_layouts import equal_parts
from work import steps

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader, from_json, to_json
from pyshard.model.range_plan import Transfer
from pyshard.model.shard_map import MapShard, ShardMap

SHARDS = [attrs.evolve(each, name=f"s{place}", host="h", port=place + 1) for place, each in enumerate(equal_parts(30))]
STATE = ClusterState("c1", 7, ShardMap(SHARDS))


def with_other(state: ClusterState, number: int, other: Callable[[MapShard], MapShard]) -> ClusterState:
    """The next state, with something else of a shard."""
    shards = list(state.map.shards)
    shards[number] = other(shards[number])
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(shards))


def compact(fields: dict[str, object]) -> bytes:
    """The text of some fields, as states have it."""
    return json.dumps(fields, separators=(",", ":")).encode()


def swapped(state: ClusterState, random: Random) -> ClusterState:
    """The next state, in which two shards have each other's ranges, or ports."""
    shards = list(state.map.shards)
    one, other = random.sample(range(len(shards)), 2)
    here, there = shards[one], shards[other]
    if random.random() < 0.5:
        shards[one], shards[other] = attrs.evolve(here, ranges=there.ranges), attrs.evolve(there, ranges=here.ranges)
    else:
        shards[one], shards[other] = attrs.evolve(here, port=there.port), attrs.evolve(there, port=here.port)
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(shards))


def renamed(state: ClusterState, random: Random) -> ClusterState:
    """The next state, with another shard in the place of one."""
    return with_other(state, random.randrange(30), lambda shard: attrs.evolve(shard, name=f"new-{state.epoch}"))


CHANGES: list[Callable[[ClusterState, Random], ClusterState]] = [
    lambda state, random: with_other(state, random.randrange(30), lambda shard: attrs.evolve(shard, limit=state.epoch)),
    lambda state, random: with_other(state, random.randrange(30), lambda shard: attrs.evolve(shard, host="elsewhere")),
    lambda state, random: with_other(state, random.randrange(30), lambda shard: attrs.evolve(shard, identity="new")),
    lambda state, _: state.with_index(f"i{state.epoch}-{state.step}"),
    lambda state, random: attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(random.sample(state.map.shards, 30))),
    swapped,
    renamed,
    lambda state, _: state,
]


def test_each_is_read_as_if_it_were_the_only_one() -> None:
    """Whatever has become of the shards meanwhile, also of many of them."""
    for seed in range(30):
        random, state, reader = Random(seed), STATE, StateReader()
        for _ in range(12):
            for _ in range(random.choice([1, 1, 2, 15])):
                state = random.choice(CHANGES)(state, random)
            text = to_json(state)
            read = reader.read(text)
            alone = from_json(text)
            assert read == alone == state
            assert read.map.owners == alone.map.owners
            assert read.map.starts == alone.map.starts
            assert [read.map.named(shard.name) for shard in state.map.shards] == list(state.map.shards)
            assert to_json(read) == text


def test_shards_that_are_as_they_were() -> None:
    """They are the same objects, and so are a map in which all are, and a state of the very same text."""
    reader = StateReader()
    first = reader.read(to_json(STATE))
    again = reader.read(to_json(ClusterState("c1", 7, ShardMap(SHARDS))))
    assert again is first
    named = reader.read(to_json(STATE.with_index("links")))
    assert named.map is first.map
    other = reader.read(to_json(with_other(STATE, 3, lambda shard: attrs.evolve(shard, limit=9))))
    changed = [here is not there for here, there in zip(other.map.shards, first.map.shards, strict=True)]
    assert changed == [number == 3 for number in range(30)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda shards: shards + shards[:1], "shard 's0': name: found it twice"),
        (lambda shards: [*shards[:-1], shards[0]], "shard 's0': name: found it twice"),
        (lambda shards: shards[:-1], "a gap before the end of the keyspace"),
        (lambda shards: [shards[0] | {"port": 2}, *shards[1:]], "the address of shard 's0' too"),
        (lambda shards: [shards[0] | {"host": "\x1b"}, *shards[1:]], "expected characters that can be shown"),
        (lambda shards: [shards[0] | {"size": -1}, *shards[1:]], r"shard: Expected `int` >= 0 - at `\$.size`"),
        (lambda shards: [shards[0] | {"ranges": [[0, 5]]}, *shards[1:]], "a gap after shard 's0'"),
        (lambda shards: [7, *shards[1:]], "shard: Expected `object`, got `int`"),
    ],
)
def test_what_is_refused(change: Callable[[list[dict[str, object]]], list[object]], why: str) -> None:
    """The same as of a first state; what was read before goes on to be known."""
    reader = StateReader()
    first = reader.read(to_json(STATE))
    fields = json.loads(to_json(STATE))
    text = compact(fields | {"shards": change(fields["shards"])})
    for read in (reader.read, from_json):
        with pytest.raises(BadRequest, match=why):
            read(text)
    assert reader.read(to_json(STATE.with_index("links"))).map is first.map


def test_moves_go_by_the_shards_of_their_own_state() -> None:
    """One of a shard that was there before, and is there no more, is refused."""
    reader = StateReader()
    moving = STATE.with_moves([Transfer("s0", "s1", SHARDS[0].ranges)])
    assert reader.read(to_json(moving)).moves == moving.moves
    fields = json.loads(to_json(moving))
    fields["shards"][1]["name"] = "another"
    with pytest.raises(BadRequest, match="has move 1, from 's0' to 's1'"):
        reader.read(compact(fields))


def test_work_of_a_state_that_has_hardly_changed() -> None:
    """To read another one of hundreds of shards is a small part of the work of the first."""
    shards: list[MapShard] = [attrs.evolve(each, port=place + 1) for place, each in enumerate(equal_parts(400))]
    state = ClusterState("c1", 7, ShardMap(shards))
    first, second = to_json(state), to_json(state.with_identity(shards[7].name, "new", True))
    from_json(first)
    reader = StateReader()
    assert steps(lambda: reader.read(first)) > 4 * steps(lambda: reader.read(second))
