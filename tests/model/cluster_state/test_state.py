"""The cluster state: epochs that rise, index ids that don't come back, and names of indexes."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.cluster_state.states import HALF, HIGH, LOW, STATE, TEXT

from pyshard.errors import ConfigError, IndexExists, IndexNotFound, InvalidIndexName
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState, check_index_name, index_not_found
from pyshard.model.cluster_state_json import from_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings


def test_first_state() -> None:
    """A new cluster has the default index only, and the first named index will get the id 1."""
    state = ClusterState("c1", 1, ShardMap([LOW, HIGH]))
    assert (state.indexes, state.next_index, state.index_id("")) == ({}, 1, 0)


@pytest.mark.parametrize(("name", "expected"), [("", 0), ("pages", 2)])
def test_index_id(name: str, expected: int) -> None:
    """The empty name is the default index; any other index has the id that it was created with."""
    assert STATE.index_id(name) == expected


def test_unknown_index() -> None:
    """An index that doesn't exist is an error that says how to create it."""
    with pytest.raises(IndexNotFound) as refused:
        STATE.index_id("links")
    assert str(refused.value) == "there is no index 'links'; create it first"
    assert str(index_not_found("links")) == str(refused.value)


def test_create_index() -> None:
    """A new index gets the next id, under the next epoch."""
    expected = attrs.evolve(STATE, epoch=8, indexes={"pages": 2, "links": 3}, next_index=4)
    assert STATE.with_index("links") == expected


def test_create_index_twice() -> None:
    """An index that exists isn't created again."""
    with pytest.raises(IndexExists) as refused:
        STATE.with_index("pages")
    assert str(refused.value) == "index 'pages' exists already; use it, or drop it first"


def test_create_index_of_a_bad_name() -> None:
    """An index isn't created under a name that it can't have."""
    with pytest.raises(InvalidIndexName):
        STATE.with_index("a:b")


def test_most_indexes() -> None:
    """A cluster has at most `MAX_INDEXES` named indexes."""
    almost = {f"i{number}": number for number in range(1, settings.MAX_INDEXES)}
    full = attrs.evolve(STATE, indexes=almost, next_index=settings.MAX_INDEXES).with_index("last")
    assert len(full.indexes) == settings.MAX_INDEXES
    with pytest.raises(InvalidIndexName) as refused:
        full.with_index("more")
    assert str(refused.value) == "index 'more': the cluster has 1000 indexes, the most it may have"


def test_drop_index() -> None:
    """A dropped index is gone under the next epoch, and its id isn't given again."""
    assert STATE.without_index("pages") == attrs.evolve(STATE, epoch=8, indexes={})
    assert STATE.without_index("pages").with_index("pages").indexes == {"pages": 3}


@pytest.mark.parametrize("name", ["links", ""])
def test_drop_unknown_index(name: str) -> None:
    """An index that doesn't exist can't be dropped, and neither can the default index."""
    with pytest.raises(IndexNotFound):
        STATE.without_index(name)


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_ids_are_never_reused(order: list[str]) -> None:
    """However indexes come and go, each change is one epoch, and no id is given twice."""
    state = ClusterState("c1", 1, ShardMap([LOW, HIGH]))
    given_ids = [0]
    for changes, name in enumerate(order, 1):
        if name in state.indexes:
            state = state.without_index(name)
        else:
            state = state.with_index(name)
            given_ids.append(state.index_id(name))
        assert state.epoch == 1 + changes
    assert len(set(given_ids)) == len(given_ids)
    assert set(state.indexes.values()) <= set(given_ids)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.with_index("links"),
        lambda state: state.without_index("pages"),
        lambda state: state.with_identity("high", "2e", True),
        lambda state: state.with_addresses(ShardMap([LOW, attrs.evolve(HIGH, port=1)])),
        lambda state: state.with_shards([attrs.evolve(HIGH, name="new", ranges=(), port=1)], [], []),
    ],
    ids=["with_index", "without_index", "with_identity", "with_addresses", "with_shards"],
)
def test_every_change_is_one_epoch(change: Any) -> None:
    """A change gives a state whose epoch is one higher, of the same cluster, and leaves the old one as it was."""
    changed = change(STATE)
    assert (changed.epoch, changed.cluster) == (8, "c1")
    assert from_json(TEXT) == STATE


def test_identity() -> None:
    """The identity of a store is noted at the shard that it serves, and only there."""
    changed = STATE.with_identity("high", "2e", True)
    assert changed == ClusterState(
        "c1", 8, ShardMap([LOW, attrs.evolve(HIGH, identity="2e", durable=True)]), {"pages": 2}, 3
    )
    assert STATE.with_identity("low", "3f", False).map.named("low") == attrs.evolve(LOW, identity="3f", durable=False)


def test_same_config_changes_nothing() -> None:
    """A config with the same names, ranges, addresses and limits doesn't raise the epoch."""
    assert STATE.with_addresses(ShardMap([attrs.evolve(LOW, identity="", durable=False), HIGH])) is STATE


@pytest.mark.parametrize("change", [{"host": "10.0.0.1"}, {"port": 6000}, {"limit": 1}])
def test_config_may_change_addresses_and_limits(change: dict[str, Any]) -> None:
    """An address or limit may change; the store behind it stays the same one."""
    configured = ShardMap([attrs.evolve(LOW, identity="", durable=False, **change), HIGH])
    expected = attrs.evolve(STATE, epoch=8, map=ShardMap([attrs.evolve(LOW, **change), HIGH]))
    assert STATE.with_addresses(configured) == expected


def test_config_may_swap_addresses() -> None:
    """Shards are known by name: two of them may swap their addresses."""
    swapped = STATE.with_addresses(ShardMap([attrs.evolve(LOW, port=5051), attrs.evolve(HIGH, port=5050)]))
    assert [(shard.name, shard.port, shard.identity) for shard in swapped.map.shards] == [
        ("low", 5051, "1d"),
        ("high", 5050, ""),
    ]


@pytest.mark.parametrize(
    "shards",
    [
        [attrs.evolve(LOW, ranges=((0, 1),)), attrs.evolve(HIGH, ranges=((1, SLOTS),))],
        [LOW, attrs.evolve(HIGH, name="new")],
        [attrs.evolve(LOW, ranges=((0, SLOTS),))],
        [LOW, attrs.evolve(HIGH, ranges=((HALF, SLOTS - 1),)), MapShard("new", ((SLOTS - 1, SLOTS),), 1, "a", 1)],
    ],
    ids=["boundary moved", "renamed", "one fewer", "one more"],
)
def test_addresses_of_a_config_move_no_documents(shards: list[MapShard]) -> None:
    """Other names and ranges of a config change nothing by themselves."""
    assert STATE.with_addresses(ShardMap(shards)) is STATE
    elsewhere = STATE.with_addresses(ShardMap(attrs.evolve(shard, host="elsewhere") for shard in shards))
    assert [(shard.name, shard.ranges) for shard in elsewhere.map.shards] == [
        ("low", LOW.ranges),
        ("high", HIGH.ranges),
    ]


def test_shards_come_and_go() -> None:
    """New ones own nothing; others have another address, or are gone; what they own stays as it is."""
    new = MapShard("new", (), 10, "127.0.0.1", 5052)
    grown = STATE.with_shards([new], [attrs.evolve(LOW, limit=1)], [])
    assert grown.map == ShardMap([attrs.evolve(LOW, limit=1), HIGH, new])
    assert grown.with_shards([], [], ["new"]).map == ShardMap([attrs.evolve(LOW, limit=1), HIGH])
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:5050"):
        STATE.with_shards([attrs.evolve(new, port=5050)], [], [])


def test_state_is_frozen() -> None:
    """Neither a state nor its list of indexes can be changed, not even through the dict it was made of."""
    made_of = {"pages": 2}
    state = ClusterState("c1", 7, ShardMap([LOW, HIGH]), made_of, 3)
    made_of["links"] = 3
    assert state.indexes == {"pages": 2}
    with pytest.raises(TypeError):
        state.indexes["links"] = 3  # type: ignore[index]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        state.epoch = 8  # type: ignore[misc]


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "0", "-", ".", "страницы", "é", "名", "²", "٣", "Ⅷ", "x" * 100])
def test_index_name(name: str) -> None:
    """Letters and digits of any script, '_', '.' and '-' make a name."""
    assert check_index_name(name) == name


def test_characters_of_index_names() -> None:
    """They are those of Unicode's categories L and N, as docs/protocol.md says, and three more."""
    category, taken = unicodedata.category, cluster_state._NAME.fullmatch
    rule = [character in "_.-" or category(character)[0] in "LN" for character in map(chr, range(0x110000))]
    assert [taken(character) is not None for character in map(chr, range(0x110000))] == rule


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "index name '': expected"),
        ("a b", "index name 'a b': expected"),
        ("a:b", "index name 'a:b': expected"),
        ("a/b", "index name 'a/b': expected"),
        ("a\n", r"index name 'a\n': expected"),
        ("e\u0301", "index name 'e\u0301': expected"),
        ("\ud800", r"index name '\ud800': expected"),
        ("x" * 57 + "!", f"index name '{'x' * 57}!': expected"),
        ("x" * 58 + "!!", f"index name '{'x' * 56}...: expected"),
        ("x" * 101, f"index name of 101 characters '{'x' * 56}...: expected"),
        (b"pages", "index name: found b'pages', expected a str of"),
        (None, "index name: found None, expected a str of"),
        (1, "index name: found 1, expected a str of"),
    ],
)
def test_bad_index_name(name: object, shown: str) -> None:
    """A value that can't be a name is refused: the message says what was given and what a name is."""
    with pytest.raises(InvalidIndexName) as refused:
        check_index_name(name)  # type: ignore[arg-type]
    assert str(refused.value) == f"{shown} 1 to 100 letters and digits of any script, '_', '.' and '-'"


class Pages(StrEnum):
    """Names of indexes, as a program may keep them."""

    NEW = "new"


def test_index_names_of_subclasses() -> None:
    """A name of a subclass of str counts as its text, and goes on as a plain str, which every encoder takes."""
    assert type(check_index_name(Pages.NEW)) is str
    assert set(map(type, STATE.with_index(Pages.NEW).indexes)) == {str}
