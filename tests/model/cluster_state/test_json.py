"""The JSON text of a cluster state: format 4, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.cluster_state.states import HALF, MOVES_TEXT, STATE, TEXT

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import from_json, to_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings


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
texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]).filter(str.isprintable), max_size=20)
ids = st.from_regex(r"[ -~]{0,32}", fullmatch=True)


@st.composite
def states(draw: st.DrawFn) -> ClusterState:
    """Any state that a cluster can have."""
    cuts = [0, *sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=5))), SLOTS]
    owned_by_each: list[list[tuple[int, int]]] = [[] for _ in range(6)]
    for bounds in pairwise(cuts):
        owned_by_each[draw(st.integers(0, 5))].append(bounds)
    shards = [
        MapShard(
            f"{draw(texts)} {number}",
            owned,
            draw(st.integers(1, 2**63 - 1)),
            draw(texts.filter(bool)),
            number + 1,
            draw(ids),
            draw(st.booleans()),
        )
        for number, owned in enumerate(owned_by_each)
    ]
    indexes = {name: number for number, name in enumerate(draw(st.lists(names, unique=True, max_size=5)), 1)}
    return ClusterState(
        draw(ids), draw(st.integers(1, 2**63 - 1)), ShardMap(shards), indexes, draw(st.integers(6, 2**32 - 1))
    )


def test_json_text() -> None:
    """The JSON text of a state is the one of format 4, field for field."""
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
    """A text of another format is refused by its number, whatever fields it has: format 1 had one range a shard."""
    low, high = json.loads(TEXT)["shards"]
    for shard in (low, high):
        ((shard["start"], shard["end"]),) = shard.pop("ranges")
    for number, text in ((5, text_with(format=5)), (1, text_with(format=1, shards=[low, high]))):
        with pytest.raises(BadRequest) as refused:
            from_json(text)
        assert str(refused.value) == f"the cluster state is of format {number}; this version knows format 4"


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
            for field in ("name", "ranges", "size", "host", "port", "identity", "durable")
        ),
        text_with(epoch="7"),
        text_with(epoch=True),
        text_with(cluster=None),
        text_with(indexes=["pages"]),
        text_with(indexes={"pages": "2"}),
        text_with(shards=[]),
        text_with(shards={}),
        text_with_shard(ranges=[[0.0, HALF]]),
        text_with_shard(ranges=[0, HALF]),
        text_with_shard(ranges=[[0, HALF, 1]]),
        text_with_shard(ranges=[]),
        text_with_shard(ranges=[[0, 5], [4, HALF]]),
        text_with_shard(ranges=[[0, 5], [6, HALF]]),
        text_with_shard(ranges=[[0, HALF], [HALF, HALF]]),
        text_with_shard(ranges=[[0, HALF]] * (settings.MAX_SHARD_RANGES + 1)),
        text_with_shard(port="5050"),
        text_with_shard(ranges=[[1, HALF]]),
        text_with_shard(ranges=[[0, HALF + 1]]),
        text_with_shard(name="high"),
        text_with_shard(port=5051),
        text_with(epoch=-1),
        text_with(epoch=2**63),
        text_with(cluster="c" * 101),
        text_with(indexes={"pages": 0}),
        text_with(indexes={"pages": 2**32}),
        text_with(indexes={"": 2}),
        text_with(next_index=0),
        text_with_shard(ranges=[[-1, HALF]]),
        text_with_shard(ranges=[[0, 10**400]]),
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
    """A text without a state, or without a map, is refused; the message says what is wrong."""
    with pytest.raises(BadRequest, match=r"^this is no cluster state: ."):
        from_json(text)


#: What no name, host or id has: a terminal's commands, an end of a line, and what isn't seen.
ODD = ["\x1b[2J", "a\nb", "a\x7f", "\x9b2J", "\u202ea", "a\u200b", "\u2028"]


@pytest.mark.parametrize("odd", ODD)
def test_characters_of_texts(odd: str) -> None:
    """A state in which they stand is refused in one line, whichever text has them."""
    first = {"host": "127.0.0.1", "port": 5050, "store": ["1d", "a"], "durable": True}
    group = {"ballot": 1, "primary": "127.0.0.1:5050", "members": ["127.0.0.1:5050"], "least": 1, "lease": 3.0}

    def with_second(**changes: object) -> bytes:
        return text_with_shard(group=group | {"replicas": [first, first | {"port": 6050, "store": None} | changes]})

    assert from_json(with_second()).map.shards[0].group is not None
    for text in (
        text_with(cluster=odd),
        text_with(indexes={odd: 2}),
        text_with_shard(name=odd),
        text_with_shard(host=odd),
        text_with_shard(identity=odd),
        with_second(host=odd),
        with_second(store=[odd, "a"]),
        with_second(store=["2e", odd]),
        text_with_shard(group=group | {"replicas": [first], "primary": odd}),
    ):
        with pytest.raises(BadRequest) as refused:
            from_json(text)
        assert str(refused.value).isprintable()


def test_names_of_any_script() -> None:
    """What can be shown is taken, also what only a newer Python knows."""
    names = ["größe", "页", "🂡 1", "a\U0003fff0"]
    assert (
        list(from_json(text_with(indexes={name: 1 + at for at, name in enumerate(names)}, next_index=9)).indexes)
        == names
    )


def test_reasons_of_moves() -> None:
    """Why a move was cancelled is a line of printable characters, whoever says it."""
    state = from_json(TEXT[: TEXT.index(b'"step"')] + MOVES_TEXT.replace(b"because", rb"\u001b[2J"))
    assert state.moves[1].why == r"\x1b[2J"


def test_elements_of_a_state() -> None:
    """A text with more elements than any state has is refused before they are made."""
    with pytest.raises(BadRequest, match=r"this is no cluster state: found about 1,8.*elements"):
        from_json(text_with(since="?").replace(b'"?"', b"[" + b"[?,0]," * 600_000 + b"0]"))


def test_two_indexes_with_one_id() -> None:
    """Two names with one id are refused: to drop one index would drop the other's documents."""
    with pytest.raises(BadRequest, match="two indexes with one id"):
        from_json(text_with(indexes={"pages": 2, "links": 2}))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_bytes_of_a_state(over: int) -> None:
    """A state's text has at most 4 MiB; a longer one isn't looked into."""
    text = TEXT.ljust(settings.MAX_STATE_BYTES + over)
    if over <= 0:
        assert from_json(text) == STATE
    else:
        with pytest.raises(BadRequest, match="the cluster state has 4,194,305 bytes; one has at most 4,194,304"):
            from_json(text)


def test_shards_of_a_state() -> None:
    """A state has at most 5,000 shards, whoever sends it; more aren't even looked at."""
    first, _ = json.loads(TEXT)["shards"]
    with pytest.raises(BadRequest, match="this is no cluster state: Expected `array` of length <= 5000"):
        from_json(text_with(shards=[first] * (settings.MAX_SHARDS + 1)))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_indexes_of_a_state(over: int) -> None:
    """A state has at most 1,000 indexes, whoever sends it: each costs memory wherever it is taken up."""
    count = settings.MAX_INDEXES + over
    text = text_with(indexes={f"i{number}": number for number in range(1, count + 1)}, next_index=count + 1)
    if over <= 0:
        assert len(from_json(text).indexes) == count
    else:
        with pytest.raises(BadRequest, match="the cluster state has 1,001 indexes; one has at most 1,000"):
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
