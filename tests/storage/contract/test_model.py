"""Any sequence of operations, on each kind of store and on a model of it."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

import attrs
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from storage.contract.model import Model
from storage.contract.samples import neighbors, number
from storage.snapshots.bench import count_of, next_page
from stores import FAST_KINDS, PLENTY, Bench, check_consistent, folder, outcomes, weight

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    KEEP,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
)
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.storage import LmdbStore, PageBounds, Task

_LONG = b"k" * 600
_LARGE = 30_000
_FEW_KEYS = [*neighbors(), *(b"key%d" % each for each in range(7)), b"", _LONG, _LONG + b"2"]
_keys = st.sampled_from(_FEW_KEYS)
_records = (
    st.binary(max_size=12)
    | st.integers(-300, 300).map(number)
    | st.builds(bytes, st.just(_LARGE))
    | st.integers(2**63, 2**70).map(number)
)
_NAMES = ["pages", "links", "gone"]
_names = st.sampled_from(["", *_NAMES])
_ttls = st.sampled_from([0, 0, 1, 250, 1000, 1001])  # time passes in steps of 250


#: What a change asks for: nothing, that the key is new, that it exists, that it has the version it has, or another one.
_WANTS = ["always", "always", "absent", "present", "same", "other"]


@attrs.frozen
class Wish:
    """One operation, before it is known which versions there are."""

    verb: str
    key: bytes
    record: bytes
    want: str
    ttl: int
    keep: bool


_wishes = st.builds(
    Wish,
    st.sampled_from(["read", "has", "item", "write", "write", "write", "pop", "remove", "touch", "increment"]),
    _keys,
    _records,
    st.sampled_from(_WANTS),
    _ttls,
    st.sampled_from([False, False, True]),
)


class StoreAgainstModel(RuleBasedStateMachine):
    """Any sequence of batches, index changes, scans, sweeps and restarts: the store does what the model does."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ids = {"": DEFAULT_INDEX}
        self.next_id = 1
        self.text: bytes | None = None
        self.folder = folder()
        self.bench = Bench(self.kind, self.folder.__enter__())

    def teardown(self) -> None:
        if isinstance(self.bench.store, LmdbStore):
            check_consistent(self.bench.store)
        self.bench.close()
        self.folder.__exit__(None, None, None)

    def _ask(self, runs: list[Run], limit: int = PLENTY, room: int = PLENTY) -> None:
        """Apply a batch to both."""
        tasks = [Task(run, self.ids[run.index], [slot_of(key, run.index.encode()) for key in run.keys]) for run in runs]
        answered = self.bench.result(self.bench.store.apply(tasks, limit, room))
        for run, answer in zip(runs, answered, strict=True):
            room = self.model.apply(run, outcomes(answer), limit, room, self.bench.now)

    def _condition(self, name: str, wish: Wish) -> int:
        stored = self.model.live(name, self.bench.now).get(wish.key)
        version = self.model.versions.get(stored.order, 1) if stored else 1
        other = version + 1_000_000  # which no write of the same batch gets
        return {"always": ALWAYS, "absent": ABSENT, "present": PRESENT, "same": version, "other": other}[wish.want]

    @rule(
        groups=st.lists(st.tuples(_names, st.lists(_wishes, max_size=8)), max_size=4),
        free=st.integers(-300, 1500) | st.just(PLENTY),
        room=st.just(PLENTY) | st.integers(0, 80),
    )
    def batch(self, groups: list[tuple[str, list[Wish]]], free: int, room: int) -> None:
        """Any batch, with little room to grow and little room to answer."""
        groups = [(name, wishes) for name, wishes in groups if name in self.ids]
        self._ask([ReadItem(name, [wish.key for wish in wishes]) for name, wishes in groups])  # so versions are known
        runs: list[Run] = []
        for name, wishes in groups:
            for verb, some in groupby(wishes, attrgetter("verb")):
                together = list(some)
                keys, records = [wish.key for wish in together], [wish.record for wish in together]
                conditions = [self._condition(name, wish) for wish in together]
                ttls = [wish.ttl for wish in together]
                kept = [KEEP if wish.keep else wish.ttl for wish in together]
                made: dict[str, Run] = {
                    "read": Read(name, keys),
                    "has": Has(name, keys),
                    "item": ReadItem(name, keys),
                    "write": Write(name, keys, records, conditions, kept),
                    "pop": Pop(name, keys, conditions),
                    "remove": Remove(name, keys, conditions),
                    "touch": Touch(name, keys, ttls, conditions),
                    "increment": Increment(name, keys, [number(1)] * len(keys), records, ttls),
                }
                runs.append(made[verb])
        self._ask(runs, self.model.used + free, room)

    @rule(name=st.sampled_from(_NAMES))
    def create_or_drop(self, name: str) -> None:
        """Drop an index that is there, create one that isn't, under an id of its own."""
        if name in self.ids:
            del self.ids[name]
            self.model.dropped.append(self.model.indexes.pop(name))
        else:
            self.ids[name], self.next_id = self.next_id, self.next_id + 1
            self.model.indexes[name] = {}
        self.bench.result(self.bench.store.set_indexes({name: each for name, each in self.ids.items() if name}))

    @rule(name=_names, most=st.integers(1, 20), most_bytes=st.integers(1, 2000))
    def scan(self, name: str, most: int, most_bytes: int) -> None:
        """All pages of an index."""
        name = name if name in self.ids else ""
        store, start, after, found = self.bench.store, 0, None, list[bytes]()
        while True:
            page = self.bench.result(store.page(self.ids[name], start, after, SLOTS, PageBounds(most, most_bytes)))
            found += page.keys
            if not page.more:
                break
            start, after = slot_of(found[-1], name.encode()), found[-1]
        assert found == self.bench.in_order(set(self.model.live(name, self.bench.now)), name)

    @rule(steps=st.integers(1, 8))
    def time_passes(self, steps: int) -> None:
        """A quarter of a second, or some."""
        self.bench.clock.advance(steps / 4)

    @rule(most=st.integers(1, 20))
    def sweep(self, most: int) -> None:
        """What nobody can see goes, so many at a time."""
        store, more = self.bench.store, True
        while more:
            used = store.used
            more = self.bench.result(store.sweep(most))
            longest = weight(_LONG + b"2", bytes(_LARGE)) + settings.EXPIRY_OVERHEAD
            assert 0 <= used - store.used <= most * longest
        self.model.sweep(self.bench.now)

    @rule(most_bytes=st.integers(1, 3000), most_steps=st.integers(1, 30))
    def snapshot(self, most_bytes: int, most_steps: int) -> None:
        """A snapshot has what can be seen."""
        snapshot, found = self.bench.store.snapshot(), list[Row]()
        count = count_of(snapshot, most_steps)
        while page := next_page(snapshot, most_bytes, most_steps):
            found += page
        snapshot.close()
        expected = [
            Row(each, key, stored.expires, stored.record)
            for name, each in self.ids.items()
            for key, stored in self.model.live(name, self.bench.now).items()
        ]
        assert count == len(found)
        assert sorted(found, key=lambda row: (row.index, row.key)) == sorted(
            expected, key=lambda row: (row.index, row.key)
        )
        if not self.bench.durable:  # to count the documents has removed what had expired
            self.sweep(20)

    @rule(text=st.binary(max_size=5))
    def remember(self, text: bytes) -> None:
        """The store keeps a text of the shard's."""
        self.bench.result(self.bench.store.remember(text))
        self.text = text

    @precondition(lambda self: self.bench.durable)
    @rule()
    def restart(self) -> None:
        """Close the store, and open it again."""
        self.bench.restart()

    @precondition(lambda self: self.bench.durable)
    @rule()
    def crash(self) -> None:
        """Kill the store's process, and open the store again. What had been swept away may have to be once more."""
        self.bench.crash()
        self.bench.sweep()
        self.model.sweep(self.bench.now)

    @invariant()
    def counts_are_exact(self) -> None:
        """Documents, bytes and histogram are what a full recount gives, and the text is what it was."""
        store, dropped = self.bench.store, sum(map(len, self.model.dropped))
        assert (store.documents, store.used, store.recall()) == (self.model.documents, self.model.used, self.text)
        assert {name: store.count(each) for name, each in self.ids.items()} == {
            name: len(records) for name, records in self.model.indexes.items()
        }
        assert store.documents <= sum(store.histogram(0, SLOTS, 7)) <= store.documents + dropped


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_store_against_model(kind: str) -> None:
    """After any sequence of operations the store holds, answers and counts what the model does."""
    machine = type("StoreAgainstModel", (StoreAgainstModel,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=25, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
