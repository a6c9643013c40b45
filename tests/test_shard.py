"""What a shard does, without a network: what it lets itself be told, what it answers, what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import attrs
import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from stores import bare
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard import documents
from pyshard.batch import (
    ABSENT,
    ALWAYS,
    VERSION,
    Answer,
    Has,
    Increment,
    Item,
    Pop,
    Read,
    Remove,
    Result,
    Run,
    Touch,
    Write,
    columns,
)
from pyshard.cluster import ClusterState
from pyshard.errors import (
    BadRequest,
    ForeignCluster,
    IndexNotFound,
    NotConfigured,
    PyshardError,
    ShardBehind,
    StaleEpoch,
    WrongIdentity,
    WrongShard,
)
from pyshard.hashing import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.shard.shard import Assignment, Shard, accept
from pyshard.shardmap import ShardMap, ShardRange
from pyshard.storage import MemoryStore, Page, Task

Outcome: TypeAlias = Result | str

HALF = SLOTS // 2
LOW = ShardRange("low", 0, HALF, 100_000, "127.0.0.1", 5050, identity="1d")
HIGH = ShardRange("high", HALF, SLOTS, 100_000, "127.0.0.1", 5051, identity="2e")
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 1}, 2)


def keys_of(own: ShardRange, index: str = "") -> list[bytes]:
    """Some keys that a range owns."""
    found: list[bytes] = []
    for number in count():
        key = b"%d" % number
        if own.owns(slot_of(key, index.encode())):
            found.append(key)
        if len(found) == 5:
            break
    return found


ONE, TWO, THREE = (documents.encode(number)[0] for number in (1, 2, 3))
A, B, C, D, E = keys_of(LOW)
X, Y, *_ = keys_of(HIGH)


def outcomes(answers: list[Answer]) -> list[list[Outcome]]:
    """Results, with the code of the refusal where there is one."""
    return [[one.code if isinstance(one, PyshardError) else one for one in answer.outcomes()] for answer in answers]


def applied(shard: Shard, *runs: Run, epoch: int = 7) -> list[list[Outcome]]:
    """Apply runs as one batch."""
    return outcomes(result(shard.apply(epoch, runs)))


def answers(shard: Shard, *runs: Run, epoch: int = 7) -> list[list[Outcome]]:
    """Apply runs as one batch; records come without what stands before them."""
    found = applied(shard, *runs, epoch=epoch)
    return [[bare(run, one) for one in each] for run, each in zip(runs, found, strict=True)]


@pytest.fixture
def clock() -> Clock:
    """The shard's time."""
    return Clock()


@pytest.fixture
def new(clock: Clock) -> Shard:
    """A shard that was told nothing yet."""
    return Shard(MemoryStore("1d", clock.seconds), clock.seconds)


@pytest.fixture
def shard(new: Shard) -> Shard:
    """The shard called low of `STATE`."""
    result(new.configure("low", STATE))
    return new


def with_low(state: ClusterState = STATE, **changes: Any) -> ClusterState:
    """A state in which low is another one."""
    ranges = [attrs.evolve(one, **changes) if one.name == "low" else one for one in state.map.ranges]
    return attrs.evolve(state, map=ShardMap(ranges))


def split_at(slot: int, epoch: int) -> ClusterState:
    """A state in which low ends at `slot`."""
    ranges = [attrs.evolve(LOW, end=slot), attrs.evolve(HIGH, start=slot)]
    return attrs.evolve(STATE, epoch=epoch, map=ShardMap(ranges))


# -- accept ---------------------------------------------------------------------------------------------------------

NOW = Assignment("low", STATE)
NEXT = attrs.evolve(STATE, epoch=8)


@pytest.mark.parametrize(
    ("current", "state", "documents"),
    [
        pytest.param(None, STATE, 0, id="the first"),
        pytest.param(None, STATE, 5, id="the first, with documents (a store that kept them)"),
        pytest.param(NOW, STATE, 5, id="the same again"),
        pytest.param(NOW, NEXT, 5, id="a newer epoch"),
        pytest.param(NOW, attrs.evolve(STATE, epoch=100), 5, id="a much newer epoch"),
        pytest.param(NOW, attrs.evolve(NEXT, indexes={}, next_index=9), 5, id="other indexes"),
        pytest.param(NOW, with_low(NEXT, limit=1), 5, id="a lower limit than it holds"),
        pytest.param(NOW, with_low(NEXT, host="10.0.0.1", port=1), 5, id="another address"),
        pytest.param(NOW, with_low(NEXT, durable=True), 5, id="durable"),
        pytest.param(NOW, split_at(100, 8), 0, id="another range, without documents"),
    ],
)
def test_accepted(current: Assignment | None, state: ClusterState, documents: int) -> None:
    """What a shard takes on."""
    assert accept(current, "low", state, "1d", documents) == Assignment("low", state)


_FOREIGN = "this shard is 'low' of cluster c1; cluster c2 can't have it"
_MOVED = "this shard holds 5 documents for [0.0, 0.5); they don't move to [0.0, 1e-05) by themselves"


@pytest.mark.parametrize(
    ("current", "name", "state", "identity", "error", "message"),
    [
        pytest.param(
            None, "mid", STATE, "1d", BadRequest, "the cluster state has no shard 'mid'", id="a name nobody has"
        ),
        pytest.param(
            None,
            "low",
            STATE,
            "3f",
            WrongIdentity,
            "this shard's store is 3f; the cluster state has '1d' for 'low'",
            id="another store",
        ),
        pytest.param(
            None,
            "low",
            with_low(identity=""),
            "1d",
            WrongIdentity,
            "this shard's store is 1d; the cluster state has '' for 'low'",
            id="no store yet",
        ),
        pytest.param(
            NOW, "low", attrs.evolve(NEXT, cluster="c2"), "1d", ForeignCluster, _FOREIGN, id="another cluster"
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, epoch=1, cluster="c2"),
            "1d",
            ForeignCluster,
            _FOREIGN,
            id="another cluster at an older epoch",
        ),
        pytest.param(
            Assignment("high", with_low(identity="2e")),
            "low",
            NEXT,
            "1d",
            WrongIdentity,
            "this shard is 'high', not 'low'",
            id="another name",
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, epoch=6),
            "1d",
            StaleEpoch,
            "this shard has epoch 7; the given epoch 6 is no newer one",
            id="an older epoch",
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, indexes={}),
            "1d",
            StaleEpoch,
            "this shard has epoch 7; the given epoch 7 is no newer one",
            id="another state of the same epoch",
        ),
        pytest.param(NOW, "low", split_at(100, 8), "1d", StaleEpoch, _MOVED, id="another range, with documents"),
        pytest.param(
            Assignment("low", split_at(HALF + 100, 7)),
            "low",
            NEXT,
            "1d",
            StaleEpoch,
            "this shard holds 5 documents for [0.0, 0.50001); they don't move to [0.0, 0.5) by themselves",
            id="a smaller range, with documents",
        ),
    ],
)
def test_not_accepted(
    current: Assignment | None,
    name: str,
    state: ClusterState,
    identity: str,
    error: type[PyshardError],
    message: str,
) -> None:
    """What a shard refuses, and why."""
    with pytest.raises(PyshardError) as refused:
        accept(current, name, state, identity, 5)
    assert (type(refused.value), str(refused.value)) == (error, message)


def test_range_of_an_assignment() -> None:
    """An assignment's range is the one of its own name."""
    assert Assignment("high", STATE).range is HIGH


# -- configure ------------------------------------------------------------------------------------------------------


def test_not_configured(new: Shard) -> None:
    """Until it is configured a shard refuses everything, and says what to do."""
    runs = [Read("", [A])]
    message = (
        "this shard is not configured yet; start the bootstrap that has its address in its config file "
        "(twistd pyshard-bootstrap --config etc/shards.json)"
    )
    for ask in (new.configured, lambda: new.apply(0, runs), lambda: new.keys(0, "", 0, None)):
        with pytest.raises(NotConfigured) as refused:
            ask()
        assert str(refused.value) == message
    assert new.assignment is None


def test_configure(new: Shard) -> None:
    """A configured shard has its assignment, and the indexes that it names."""
    result(new.configure("low", STATE))
    assert new.configured() == new.assignment == Assignment("low", STATE)
    key = keys_of(LOW, "pages")[0]
    assert answers(new, Write("pages", [key], [b"one"]), Read("pages", [key])) == [[True], [b"one"]]


def test_configure_with_new_indexes(shard: Shard) -> None:
    """A newer state creates and drops indexes."""
    key = keys_of(LOW, "pages")[0]
    assert answers(shard, Write("pages", [key], [b"one"])) == [[True]]
    result(shard.configure("low", STATE.without_index("pages")))
    assert answers(shard, Read("pages", [key])) == [["INDEX_NOT_FOUND"]]
    assert shard.store.documents == 0
    result(shard.configure("low", STATE.without_index("pages").with_index("pages")))
    assert answers(shard, Read("pages", [key])) == [[None]]


def test_refused_configuration_changes_nothing(shard: Shard) -> None:
    """What it refuses leaves its assignment, its indexes and its documents as they are."""
    key = keys_of(LOW, "pages")[0]
    assert answers(shard, Write("pages", [key], [b"one"])) == [[True]]
    remembered = shard.store.recall()
    with pytest.raises(StaleEpoch):
        result(shard.configure("low", attrs.evolve(STATE, epoch=6, indexes={})))
    assert shard.assignment == Assignment("low", STATE)
    assert shard.store.recall() == remembered
    assert answers(shard, Read("pages", [key])) == [[b"one"]]


def test_same_configuration_again(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being told the same again costs nothing: nothing is written."""
    monkeypatch.setattr(shard.store, "remember", None)
    monkeypatch.setattr(shard.store, "set_indexes", None)
    result(shard.configure("low", STATE))
    assert shard.assignment == Assignment("low", STATE)


def test_assignment_is_kept_with_the_documents(shard: Shard, clock: Clock) -> None:
    """A shard that starts with a store that remembers goes on where it was."""
    assert answers(shard, Write("", [A], [b"one"])) == [[True]]
    again = Shard(shard.store, clock.seconds)
    assert again.assignment == Assignment("low", STATE)
    assert answers(again, Read("", [A])) == [[b"one"]]


class SlowStore(MemoryStore):
    """Remembers when the test says so."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.remembering: list[Deferred[None]] = []

    def remember(self, text: bytes) -> Deferred[None]:
        super().remember(text)
        self.remembering.append(Deferred())
        return self.remembering[-1]


def test_configured_when_it_is_kept(clock: Clock) -> None:
    """A shard goes by an assignment once its store has it, and not before."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    configured: list[None] = []
    shard.configure("low", STATE).addCallback(configured.append)
    assert configured == []
    assert shard.assignment is None
    store.remembering[0].callback(None)
    assert configured == [None]
    assert shard.assignment == Assignment("low", STATE)


def test_configurations_wait_for_each_other(clock: Clock) -> None:
    """However long the store takes to keep one: the newest assignment is the one that stays."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    told = [shard.configure("low", state) for state in (STATE, attrs.evolve(STATE, epoch=9), NEXT)]
    for keeping in (0, 1):
        store.remembering[keeping].callback(None)
    assert [result(one) for one in told[:2]] == [None, None]
    with pytest.raises(StaleEpoch, match="this shard has epoch 9; the given epoch 8 is no newer one"):
        result(told[2])
    assert shard.assignment == Assignment("low", attrs.evolve(STATE, epoch=9))
    assert Shard(store, clock.seconds).assignment == shard.assignment


class DyingStore(MemoryStore):
    """Keeps so many more things, and then nothing any more."""

    steps = 2

    def _step(self, deferred: Callable[[], Deferred[None]]) -> Deferred[None]:
        self.steps -= 1
        return deferred() if self.steps >= 0 else Deferred()

    def remember(self, text: bytes) -> Deferred[None]:
        return self._step(partial(super().remember, text))

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        return self._step(partial(super().set_indexes, indexes))


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_ended_while_it_is_configured(clock: Clock, steps: int) -> None:
    """Wherever a shard ends while it takes on an assignment: once it is told again, it has the indexes."""
    store = DyingStore("1d", clock.seconds)
    result(Shard(store, clock.seconds).configure("low", STATE))
    newer = STATE.with_index("links")
    store.steps = steps
    Shard(store, clock.seconds).configure("low", newer)  # it ends here
    store.steps = 2
    again = Shard(store, clock.seconds)
    result(again.configure("low", newer))
    assert again.assignment == Assignment("low", newer)
    key = keys_of(LOW, "links")[0]
    assert answers(again, Write("links", [key], [b"one"]), epoch=8) == [[True]]


def test_configuration_that_cannot_be_kept(clock: Clock) -> None:
    """When the store fails to keep an assignment the shard doesn't go by it."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    configuring = shard.configure("low", STATE)
    store.remembering[0].errback(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        result(configuring)
    assert shard.assignment is None


# -- apply ----------------------------------------------------------------------------------------------------------


def test_apply(shard: Shard) -> None:
    """A batch of all verbs, in its order."""
    assert answers(
        shard,
        Write("", [A, B], [b"one", b"two"]),
        Write("", [A, C], [b"no", b"three"], [ABSENT, ABSENT]),
        Has("", [A, D]),
        Read("", [C, A, D]),
        Pop("", [A, D]),
        Remove("", [B]),
        Touch("", [B, C], [1, 0]),
        Increment("", [D], [ONE], [TWO]),
        Item("", [A, C]),
        Read("", [A, B, C, D]),
    ) == [
        [True, True],
        [False, True],
        [True, False],
        [b"three", b"one", None],
        [b"one", None],
        [b"two"],
        [False, True],
        [THREE],
        [None, b"three"],
        [None, None, b"three", THREE],
    ]


@pytest.mark.parametrize("epoch", [0, 6, 7])
def test_callers_of_older_epochs(shard: Shard, epoch: int) -> None:
    """Who routed by an older map is served: what this shard doesn't own it refuses key by key."""
    assert answers(shard, Read("", [A, X]), epoch=epoch) == [[None, "WRONG_SHARD"]]
    assert result(shard.keys(epoch, "", 0, None)) == Page([], False)


def test_callers_of_newer_epochs(shard: Shard) -> None:
    """Who knows a newer epoch is refused as a whole, and nothing is applied."""
    message = "shard 'low' has epoch 7 and the caller 8; the bootstrap will tell the shard soon"
    runs = [Write("", [A], [b"one"])]
    for ask in (lambda: shard.apply(8, runs), lambda: shard.keys(8, "", 0, None)):
        with pytest.raises(ShardBehind) as refused:
            ask()
        assert str(refused.value) == message
    assert (shard.store.documents, shard.operations) == (0, 0)


def test_redirect(shard: Shard) -> None:
    """A key outside the range is refused, and the message says who owns what since when."""
    (answer,) = result(shard.apply(7, [Write("", [b"test1"], [b"one"])]))
    (refused,) = answer.outcomes()
    assert isinstance(refused, WrongShard)
    assert str(refused) == "shard 'low' owns [0.0, 0.5) at epoch 7, not 0.8204544; get the newest map"
    assert shard.store.documents == 0


def test_redirects_for_a_part_of_a_run(shard: Shard) -> None:
    """Keys that others own are refused one by one; the others' outcomes stay at their places."""
    assert answers(
        shard, Write("", [X, A, Y, B, X], [b"x", b"a", b"y", b"b", b"x"]), Read("", [B, X, C, A]), Pop("", [Y, A])
    ) == [
        ["WRONG_SHARD", True, "WRONG_SHARD", True, "WRONG_SHARD"],
        [b"b", "WRONG_SHARD", None, b"a"],
        ["WRONG_SHARD", b"a"],
    ]
    assert shard.store.documents == 1


def test_redirects_for_some_runs(shard: Shard) -> None:
    """Runs that belong here altogether, not at all, or in part: each gets its own answer."""
    assert answers(
        shard,
        Read("", [X, Y]),
        Write("", [A], [b"a"]),
        Has("", []),
        Has("", [Y]),
        Has("", [A, X]),
        Has("gone", [A]),
        Has("", [A]),
    ) == [
        ["WRONG_SHARD", "WRONG_SHARD"],
        [True],
        [],
        ["WRONG_SHARD"],
        [True, "WRONG_SHARD"],
        ["INDEX_NOT_FOUND"],
        [True],
    ]


def test_refusals_of_the_store_in_a_part_of_a_run(new: Shard) -> None:
    """What the store refuses of a run that was redirected in part stands at its own place."""
    result(new.configure("low", with_low(limit=300)))
    large = b"1" * 200
    assert answers(new, Write("", [X, A, Y, B], [large, large, large, b""])) == [
        ["WRONG_SHARD", "SHARD_FULL", "WRONG_SHARD", True]
    ]


def test_index_decides_the_slot(shard: Shard) -> None:
    """A key belongs where its index puts it, which may be another shard than in the default index."""
    elsewhere = next(key for key in keys_of(LOW) if not LOW.owns(slot_of(key, b"pages")))
    here = next(key for key in keys_of(LOW, "pages") if not LOW.owns(slot_of(key)))
    assert answers(
        shard, Write("pages", [elsewhere, here], [b"1", b"2"]), Write("", [elsewhere, here], [b"3", b"4"])
    ) == [
        ["WRONG_SHARD", True],
        [True, "WRONG_SHARD"],
    ]


def test_unknown_index(shard: Shard) -> None:
    """Operations on an index that the shard doesn't know are refused one by one; the rest of the batch goes on."""
    found = result(shard.apply(7, [Write("gone", [A, X], [b"", b""]), Write("", [A], [b"one"])]))
    assert outcomes(found) == [["INDEX_NOT_FOUND", "INDEX_NOT_FOUND"], [True]]
    assert str(found[0].outcomes()[0]) == "there is no index 'gone'; create it with create_index('gone')"


def test_unknown_index_with_a_long_name(shard: Shard) -> None:
    """A name that nobody could have given an index doesn't come back whole for each operation."""
    found = result(shard.apply(7, [Read("n" * 1_000_000, [A, B])]))
    assert [len(str(one)) < 300 for one in found[0].outcomes()] == [True, True]


def test_limit_is_that_of_the_range(new: Shard) -> None:
    """The map says how much a shard may store, and a newer map may say otherwise."""
    result(new.configure("low", with_low(limit=300)))
    writes = Write("", [A, B, C], [b"", b"", b""])
    assert answers(new, writes) == [[True, True, "SHARD_FULL"]]
    result(new.configure("low", with_low(NEXT, limit=10_000)))
    assert answers(new, writes) == [[True, True, True]]


def test_answers_are_bounded(new: Shard) -> None:
    """An answer takes a megabyte of records, and the record that goes past it."""
    result(new.configure("low", with_low(limit=10**9)))
    third = b"1" * (settings.ANSWER_BYTES // 3 + 1)
    keys = [A, B, C, D]
    assert answers(new, Write("", keys, [third] * 4), Read("", keys)) == [
        [True] * 4,
        [third, third, third, "ANSWER_FULL"],
    ]


def test_most_operations_of_a_batch(shard: Shard) -> None:
    """A batch has at most 10,000 operations, over all its runs; one more, and nothing of it is applied."""
    half = [A] * (settings.MAX_BATCH // 2)
    fits: list[Run] = [Has("", half), Write("", half, [b""] * len(half))]
    assert answers(shard, *fits) == [[False] * 5000, [True] * 5000]
    with pytest.raises(BadRequest) as refused:
        shard.apply(7, [*fits, Pop("", [A])])
    assert str(refused.value) == "the batch has 10,001 operations; a batch has at most 10,000"
    assert (shard.store.documents, shard.operations) == (1, 10_000)


def test_empty_batch(shard: Shard) -> None:
    """A batch of nothing is answered with nothing."""
    assert answers(shard) == []
    assert answers(shard, Read("", []), Read("gone", [])) == [[], []]


class ShiftingStore(MemoryStore):
    """Answers when the test says so."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.applying: list[tuple[Deferred[list[Answer]], list[Answer]]] = []

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        answers = result(super().apply(tasks, limit, room))
        self.applying.append((Deferred(), answers))
        return self.applying[-1][0]


def test_answers_that_come_later(clock: Clock) -> None:
    """A batch is answered when its store has answered, each with its own outcomes, in whatever order they come."""
    store = ShiftingStore()
    shard = Shard(store, clock.seconds)
    result(shard.configure("low", STATE))
    first = shard.apply(7, [Write("", [X, A], [b"x", b"a"])])
    second = shard.apply(7, [Read("", [A]), Read("", [X])])
    assert (first.called, second.called) == (False, False)
    for deferred, found in reversed(store.applying):
        deferred.callback(found)
    assert outcomes(result(first)) == [["WRONG_SHARD", True]]
    assert outcomes(result(second)) == [[VERSION.pack(1) + b"a"], ["WRONG_SHARD"]]


def test_store_that_fails(clock: Clock) -> None:
    """What a store fails with is what the batch fails with."""
    store = ShiftingStore()
    shard = Shard(store, clock.seconds)
    result(shard.configure("low", STATE))
    applying = shard.apply(7, [Read("", [A])])
    store.applying[0][0].errback(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        result(applying)


_some_keys = st.lists(st.sampled_from([A, B, C, X, Y]), max_size=8)
_indexes = st.sampled_from(["", "pages", "gone"])


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    keys = draw(_some_keys)
    index = draw(_indexes)
    records = [b"%d" % number for number, _ in enumerate(keys)]
    conditions = draw(st.sampled_from([None, *([one] * len(keys) for one in (ABSENT, ALWAYS, 1, 2, 3))]))
    runs: list[Run] = [
        Read(index, keys),
        Has(index, keys),
        Item(index, keys),
        Write(index, keys, records, conditions, draw(st.sampled_from([None, [5] * len(keys)]))),
        Pop(index, keys, conditions),
        Remove(index, keys, conditions),
        Touch(index, keys, [7] * len(keys)),
        Increment(index, keys, [ONE] * len(keys), [TWO] * len(keys)),
    ]
    return draw(st.sampled_from(runs))


def one_by_one(shard: Shard, runs: list[Run]) -> list[list[Outcome]]:
    """The outcomes when each operation of the runs is a batch of its own."""
    found: list[list[Outcome]] = []
    for run in runs:
        found.append([])
        for position, key in enumerate(run.keys):
            own: list[Any] = [None if column is None else [column[position]] for column in columns(run)]
            found[-1] += applied(shard, type(run)(run.index, [key], *own))[0]
    return found


@given(st.lists(_runs(), max_size=6))
def test_batch_is_its_operations(runs: list[Run]) -> None:
    """Any batch comes to what its operations come to one after the other."""
    whole, single = (Shard(MemoryStore("1d", lambda: 0.0), lambda: 0.0) for _ in range(2))
    for shard in (whole, single):
        result(shard.configure("low", STATE))
    assert applied(whole, *runs) == one_by_one(single, runs)
    assert (whole.store.documents, whole.store.used) == (single.store.documents, single.store.used)


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys(shard: Shard) -> None:
    """A page has the keys of one index, from a slot on, in (slot, key) order."""
    keys = sorted([A, B, C, D, E], key=slot_of)
    pages = keys_of(LOW, "pages")[:2]
    assert answers(shard, Write("", keys, [b""] * 5), Write("pages", pages, [b""] * 2)) == [[True] * 5, [True] * 2]
    assert result(shard.keys(7, "", 0, None)) == Page(keys, False)
    assert result(shard.keys(7, "", slot_of(keys[2]), None)) == Page(keys[2:], False)
    assert result(shard.keys(7, "", slot_of(keys[2]), keys[2])) == Page(keys[3:], False)
    assert sorted(result(shard.keys(7, "pages", 0, None)).keys) == sorted(pages)


def test_keys_of_a_full_page(new: Shard) -> None:
    """A page has at most 1,000 keys, and says that there are more."""
    result(new.configure("low", with_low(limit=10**9)))
    mine = [key for key in (b"%d" % number for number in range(3000)) if LOW.owns(slot_of(key))][:1001]
    assert answers(new, Write("", mine, [b""] * 1001)) == [[True] * 1001]
    page = result(new.keys(7, "", 0, None))
    assert (len(page.keys), page.more) == (settings.PAGE_KEYS, True) == (1000, True)
    last = page.keys[-1]
    assert len(result(new.keys(7, "", slot_of(last), last)).keys) == 1


def test_keys_of_a_heavy_page(new: Shard) -> None:
    """A page ends with the key that takes it past 256 KiB."""
    result(new.configure("low", with_low(limit=10**9)))
    heavy = [key for key in (b"%d" % number * 10_000 for number in range(100, 200)) if LOW.owns(slot_of(key))]
    assert answers(new, Write("", heavy, [b""] * len(heavy))) == [[True] * len(heavy)]
    page = result(new.keys(7, "", 0, None))
    assert page.more
    assert sum(map(len, page.keys[:-1])) < settings.PAGE_BYTES <= sum(map(len, page.keys))


def test_keys_of_nothing_it_owns(shard: Shard) -> None:
    """A slot of another shard is a redirect, also when it is the first one behind the range."""
    for slot in (HALF, SLOTS - 1):
        with pytest.raises(WrongShard) as refused:
            shard.keys(7, "", slot, None)
        assert str(refused.value).startswith("shard 'low' owns [0.0, 0.5) at epoch 7, not ")
    assert result(shard.keys(7, "", HALF - 1, None)) == Page([], False)


@pytest.mark.parametrize("slot", [-1, SLOTS, 10**30])
def test_keys_of_no_slot(shard: Shard, slot: int) -> None:
    """What is no slot is a mistake of the caller."""
    with pytest.raises(BadRequest) as refused:
        shard.keys(7, "", slot, None)
    assert str(refused.value) == f"slot {slot} is outside 0 … 9999999"


def test_keys_of_no_index(shard: Shard) -> None:
    """There are no keys of an index that doesn't exist."""
    with pytest.raises(IndexNotFound):
        shard.keys(7, "gone", 0, None)


# -- stat -----------------------------------------------------------------------------------------------------------


def test_stat_of_a_new_shard(new: Shard, clock: Clock) -> None:
    """Before it is configured a shard tells of its store and of its time."""
    clock.advance(2.5)
    assert new.stat() == {
        "id": "1d",
        "documents": 0,
        "bytes": 0,
        "operations": 0,
        "uptime": 2.5,
        "ephemeral": True,
    }


def test_stat(shard: Shard, clock: Clock) -> None:
    """A configured shard tells of its range too; an operation counts once, whatever came of it."""
    clock.advance(100.00049)
    assert answers(shard, Write("", [A, X], [b"one", b"x"]), Read("", [A]), Read("gone", [A])) == [
        [True, "WRONG_SHARD"],
        [b"one"],
        ["INDEX_NOT_FOUND"],
    ]
    result(shard.keys(7, "", 0, None))
    histogram = [0] * 10
    histogram[slot_of(A) * 10 // HALF] = 1
    assert shard.stat() == {
        "id": "1d",
        "documents": 1,
        "bytes": len(A) + 3 + 128,
        "operations": 5,
        "uptime": 100.0,
        "ephemeral": True,
        "name": "low",
        "range": [0.0, 0.5],
        "epoch": 7,
        "limit": 100_000,
        "histogram": histogram,
    }


def test_uptime_counts_from_the_start() -> None:
    """A clock that began long before the shard doesn't count."""
    clock = Clock()
    clock.advance(1000)
    shard = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    clock.advance(1)
    assert shard.stat()["uptime"] == 1.0
