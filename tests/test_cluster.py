"""The cluster state: epochs that rise, index ids that don't come back, and its JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.cluster import ClusterState, check_index_name, from_json, index_not_found, to_json
from pyshard.errors import BadRequest, ConfigError, IndexExists, IndexNotFound, InvalidIndexName
from pyshard.hashing import SLOTS
from pyshard.settings import settings
from pyshard.shardmap import ShardMap, ShardRange

HALF = SLOTS // 2
LOW = ShardRange("low", 0, HALF, 1024, "127.0.0.1", 5050, "1d", True)
HIGH = ShardRange("high", HALF, SLOTS, 2048, "127.0.0.1", 5051)
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 2}, 3)

#: `STATE`, as every peer of format 1 reads and writes it.
TEXT = (
    b'{"format":1,"cluster":"c1","epoch":7,"shards":['
    b'{"name":"low","start":0,"end":5000000,"size":1024,"host":"127.0.0.1","port":5050,"identity":"1d","durable":true},'
    b'{"name":"high","start":5000000,"end":10000000,"size":2048,"host":"127.0.0.1","port":5051,"identity":"",'
    b'"durable":false}],"indexes":{"pages":2},"next_index":3}'
)


def text_with(**changes: object) -> bytes:
    """`TEXT` with other values in some fields; `...` takes a field away."""
    fields = {**json.loads(TEXT), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def text_with_shard(**changes: object) -> bytes:
    """`TEXT` with other values in some fields of its first shard; `...` takes a field away."""
    first, second = json.loads(TEXT)["shards"]
    first = {name: value for name, value in {**first, **changes}.items() if value is not ...}
    return text_with(shards=[first, second])


names = st.from_regex(r"[\w.-]{1,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def states(draw: st.DrawFn) -> ClusterState:
    """Any state that a cluster can have."""
    cuts = [0, *sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=5))), SLOTS]
    ranges = [
        ShardRange(
            f"{draw(texts)} {number}",
            start,
            end,
            draw(st.integers(1, 2**63 - 1)),
            draw(texts.filter(bool)),
            number + 1,
            draw(texts),
            draw(st.booleans()),
        )
        for number, (start, end) in enumerate(pairwise(cuts))
    ]
    indexes = {name: number for number, name in enumerate(draw(st.lists(names, unique=True, max_size=5)), 1)}
    return ClusterState(
        draw(texts), draw(st.integers(1, 2**63 - 1)), ShardMap(ranges), indexes, draw(st.integers(6, 2**32 - 1))
    )


def test_first_state() -> None:
    """A new cluster has the default index only, and the first named index will get the id 1."""
    state = ClusterState("c1", 1, ShardMap([LOW, HIGH]))
    assert (state.indexes, state.next_index, state.index_id("")) == ({}, 1, 0)


@pytest.mark.parametrize(("name", "expected"), [("", 0), ("pages", 2)])
def test_index_id(name: str, expected: int) -> None:
    """The empty name is the default index; another has the id it was created with."""
    assert STATE.index_id(name) == expected


def test_unknown_index() -> None:
    """An index that doesn't exist is an error that says how to create it."""
    with pytest.raises(IndexNotFound) as refused:
        STATE.index_id("links")
    assert str(refused.value) == "there is no index 'links'; create it with create_index('links')"
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
        lambda state: state.with_config(ShardMap([LOW, attrs.evolve(HIGH, port=1)])),
    ],
    ids=["with_index", "without_index", "with_identity", "with_config"],
)
def test_every_change_is_one_epoch(change: Any) -> None:
    """A change gives a state whose epoch is one higher, of the same cluster, and leaves the old one as it was."""
    changed = change(STATE)
    assert (changed.epoch, changed.cluster) == (8, "c1")
    assert from_json(TEXT) == STATE


def test_identity() -> None:
    """A store that takes a place is noted there, and only there."""
    changed = STATE.with_identity("high", "2e", True)
    assert changed == ClusterState(
        "c1", 8, ShardMap([LOW, attrs.evolve(HIGH, identity="2e", durable=True)]), {"pages": 2}, 3
    )
    assert STATE.with_identity("low", "3f", False).map.named("low") == attrs.evolve(LOW, identity="3f", durable=False)


def test_same_config_changes_nothing() -> None:
    """A config that says what is known, identities aside, doesn't raise the epoch."""
    assert STATE.with_config(ShardMap([attrs.evolve(LOW, identity="", durable=False), HIGH])) is STATE


@pytest.mark.parametrize("change", [{"host": "10.0.0.1"}, {"port": 6000}, {"limit": 1}])
def test_config_may_change_addresses_and_limits(change: dict[str, Any]) -> None:
    """An address or limit may change; the store behind it stays the same one."""
    configured = ShardMap([attrs.evolve(LOW, identity="", durable=False, **change), HIGH])
    expected = attrs.evolve(STATE, epoch=8, map=ShardMap([attrs.evolve(LOW, **change), HIGH]))
    assert STATE.with_config(configured) == expected


def test_config_may_swap_addresses() -> None:
    """Shards are known by name: two of them may swap their addresses."""
    swapped = STATE.with_config(ShardMap([attrs.evolve(LOW, port=5051), attrs.evolve(HIGH, port=5050)]))
    assert [(one.name, one.port, one.identity) for one in swapped.map.ranges] == [
        ("low", 5051, "1d"),
        ("high", 5050, ""),
    ]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            [attrs.evolve(LOW, end=1), attrs.evolve(HIGH, start=1)],
            "shard 'low': found it with range [0.0, 1e-07), but the cluster's state has 'low' with [0.0, 0.5)",
        ),
        (
            [LOW, attrs.evolve(HIGH, name="new")],
            "shard 'new': found it with range [0.5, 1.0), but the cluster's state has 'low', 'high'",
        ),
        (
            [attrs.evolve(LOW, start=HALF, end=SLOTS), attrs.evolve(HIGH, start=0, end=HALF)],
            "shard 'high': found it with range [0.0, 0.5), but the cluster's state has 'high' with [0.5, 1.0)",
        ),
        (
            [attrs.evolve(LOW, end=SLOTS)],
            "shard 'low': found it with range [0.0, 1.0), but the cluster's state has 'low' with [0.0, 0.5)",
        ),
        (
            [LOW, attrs.evolve(HIGH, end=SLOTS - 1), attrs.evolve(HIGH, start=SLOTS - 1, name="new", port=1)],
            "shard 'low': found it with range [0.0, 0.5), but the cluster's state has 'low' with [0.0, 0.5)",
        ),
    ],
    ids=["boundary moved", "renamed", "swapped", "one fewer", "one more"],
)
def test_config_may_not_move_documents(ranges: list[ShardRange], message: str) -> None:
    """A config with other names or ranges is refused; the error names the first range that differs."""
    with pytest.raises(ConfigError) as refused:
        STATE.with_config(ShardMap(ranges))
    assert str(refused.value) == f"{message} (2 in all), and documents don't move to other ranges by themselves"


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


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "0", "-", "страницы", "x" * 100])
def test_index_name(name: str) -> None:
    """Letters, digits, '_', '.' and '-' make a name."""
    assert check_index_name(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "''"),
        ("a b", "'a b'"),
        ("a:b", "'a:b'"),
        ("a/b", "'a/b'"),
        ("a\n", r"'a\n'"),
        ("\ud800", r"'\ud800'"),
        ("x" * 59 + "!", f"'{'x' * 59}!'"),
        ("x" * 60 + "!", "a str"),
        ("x" * 101, "a str"),
        (b"pages", "a bytes"),
        (None, "a NoneType"),
        (1, "a int"),
    ],
)
def test_bad_index_name(name: object, shown: str) -> None:
    """What is no name is refused: the message says what was given and what a name is."""
    with pytest.raises(InvalidIndexName) as refused:
        check_index_name(name)  # type: ignore[arg-type]
    assert str(refused.value) == (f"index name {shown}: expected a str of 1 to 100 letters, digits, '_', '.' and '-'")


def test_json_text() -> None:
    """The JSON text of a state is the one of format 1, field for field."""
    assert to_json(STATE) == TEXT
    assert from_json(TEXT) == STATE


@given(states())
def test_json_round_trip(state: ClusterState) -> None:
    """What is read equals what was written."""
    assert from_json(to_json(state)) == state


def test_unknown_fields_are_skipped() -> None:
    """A newer peer of the same format may say more."""
    assert from_json(text_with(color="red")) == from_json(text_with_shard(color="red")) == STATE


def test_other_format() -> None:
    """A text of another format is refused by its number."""
    with pytest.raises(BadRequest) as refused:
        from_json(text_with(format=2))
    assert str(refused.value) == "the cluster state is of format 2; this version knows format 1"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        TEXT[:-1],
        TEXT + b"}",
        TEXT.replace(b"c1", b"\xff"),
        TEXT.replace(b"pages", b"\xff"),
        pytest.param(TEXT[:-1] + b',"more":' + b"[" * 100_000, id="nested 100,000 deep"),
        *(
            pytest.param(text_with(**{field: ...}), id=f"no {field}")
            for field in ("format", "cluster", "epoch", "shards", "indexes", "next_index")
        ),
        *(
            pytest.param(text_with_shard(**{field: ...}), id=f"no shards[0].{field}")
            for field in ("name", "start", "end", "size", "host", "port", "identity", "durable")
        ),
        text_with(epoch="7"),
        text_with(epoch=True),
        text_with(cluster=None),
        text_with(indexes=["pages"]),
        text_with(indexes={"pages": "2"}),
        text_with(shards=[]),
        text_with(shards={}),
        text_with_shard(start=0.0),
        text_with_shard(port="5050"),
        text_with_shard(start=1),
        text_with_shard(end=HALF + 1),
        text_with_shard(name="high"),
        text_with_shard(port=5051),
        text_with(epoch=-1),
        text_with(epoch=2**63),
        text_with(cluster="c" * 101),
        text_with(indexes={"pages": 0}),
        text_with(indexes={"pages": 2**32}),
        text_with(indexes={"": 2}),
        text_with(next_index=0),
        text_with_shard(start=-1),
        text_with_shard(end=10**400),
        text_with_shard(size=2**63),
        text_with_shard(port=0),
        text_with_shard(port=65_536),
        text_with_shard(host=""),
        text_with_shard(host="h" * 256),
        text_with_shard(name=""),
        text_with_shard(identity="1" * 101),
    ],
)
def test_what_is_no_state(text: bytes) -> None:
    """What is no state, or holds no map, is refused with a message that says what is wrong."""
    with pytest.raises(BadRequest, match=r"^this is no cluster state: ."):
        from_json(text)


def test_too_long() -> None:
    """A text of more bytes than any state has is refused unread."""
    with pytest.raises(BadRequest, match="has 4,194,305 bytes; one has at most 4,194,304"):
        from_json(TEXT.ljust(2**22 + 1))
    assert from_json(TEXT.ljust(2**22)) == STATE


def test_two_indexes_with_one_id() -> None:
    """Two names for one index are none: to drop one of them would drop the other's documents."""
    with pytest.raises(BadRequest, match="two indexes with one id"):
        from_json(text_with(indexes={"pages": 2, "links": 2}))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_bytes_of_a_state(over: int) -> None:
    """A state's text has at most 4 MiB; a longer one isn't looked into."""
    text = TEXT + b" " * (settings.MAX_STATE_BYTES + over - len(TEXT))
    if over <= 0:
        assert from_json(text) == from_json(TEXT)
    else:
        with pytest.raises(BadRequest, match="the cluster state has 4,194,305 bytes; one has at most 4,194,304"):
            from_json(text)


anything: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.one_of(
        st.binary(),
        st.builds(lambda value: json.dumps(value).encode(), anything),
        st.builds(text_with, **dict.fromkeys(("epoch", "shards", "indexes", "next_index"), anything)),
        st.builds(lambda at, byte: TEXT[:at] + byte + TEXT[at + 1 :], st.integers(0, len(TEXT)), st.binary(max_size=1)),
    )
)
def test_garbage_is_a_bad_request(text: bytes) -> None:
    """Whatever the bytes are, the answer is a state or BadRequest, never another error."""
    try:
        state = from_json(text)
    except BadRequest:
        return
    assert isinstance(state, ClusterState)
    assert isinstance(state.indexes, Mapping)
