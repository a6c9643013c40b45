"""What moves with a range: room, expiries, counters, versions and indexes, while all of them change."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from deferreds import change_state
from moving import DOCS, MOVING, DurableStores, check_clean, filled, owner, plan, slow_down, state_of, until
from stores import folder
from twisted.internet.defer import Deferred, gatherResults

from pyshard.client import Client
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import ShardFull
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase
from pyshard.testing import MemoryCluster


@pytest.fixture(params=["memory", "durable"])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """Two shards with some documents, between which a range moves slowly."""
    with folder() as path, filled(DurableStores(path).open if request.param == "durable" else None) as made:
        slow_down(made, monkeypatch)
        yield made


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client of it."""
    return cluster.connect()


def to_and_fro(cluster: MemoryCluster, times: int = 2) -> Iterator[Phase]:
    """Have the range moved to the other shard, back, and so on; the phase is given every few milliseconds."""
    for _ in range(times):
        source = owner(cluster)
        target = "shard1" if source == "shard0" else "shard0"
        plan(cluster, source, target)
        seen = set()
        for _ in range(2000):
            moves = state_of(cluster).moves
            if not moves:
                break
            seen.add(moves[0].phase)
            yield moves[0].phase
            cluster.advance(0.011)
        assert Phase.COPYING in seen
        assert owner(cluster) == target
    check_clean(cluster)


# -- room -----------------------------------------------------------------------------------------------------------


def test_no_room_at_the_target(cluster: MemoryCluster, client: Client) -> None:
    """The move ends there, and the operator sees why; the source serves on. With more room it can be planned anew."""
    target = state_of(cluster).map.named("shard1")
    assert target is not None
    assert cluster.bootstrap is not None
    keeper = cluster.bootstrap.bootstrap
    used = cluster.services["shard1"].shard.store.used
    change_state(keeper, keeper.state.with_shards([], [attrs.evolve(target, limit=used + 5000)], []))
    plan(cluster)
    until(cluster)
    (listed,) = cluster.run(LayoutClient(client).moves())
    assert listed.phase is Phase.CANCELLED
    assert f"of {used + 5000:,} bytes, and a group of the copy 'move 1' needs" in listed.why
    assert "raise the shard's size, or move less to it" in listed.why
    assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
    assert owner(cluster) == "shard0"
    check_clean(cluster)
    plan(cluster)
    change_state(keeper, keeper.state.with_shards([], [target], []))
    until(cluster)
    assert owner(cluster) == "shard1"
    assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
    check_clean(cluster)


def test_what_is_staged_takes_room(cluster: MemoryCluster, client: Client) -> None:
    """A target doesn't let its own clients have what the copy has taken."""
    target = state_of(cluster).map.named("shard1")
    assert target is not None
    assert cluster.bootstrap is not None
    keeper, store = cluster.bootstrap.bootstrap, cluster.services["shard1"].shard.store
    change_state(keeper, keeper.state.with_shards([], [attrs.evolve(target, limit=store.used + 40_000)], []))
    own = next(key for key in map(str, range(1000)) if slot_of(key.encode()) > SLOTS // 2)
    cluster.run(client.write(own, "x" * 25_000))
    cluster.run(client.remove(own))
    plan(cluster)
    until(cluster, Phase.COPYING)
    while not store.ranges.staged or not next(iter(store.ranges.staged.values())).origin.sequence:
        cluster.advance(0.005)
    with pytest.raises(ShardFull):
        cluster.run(client.write(own, "x" * 25_000))
    until(cluster)
    with pytest.raises(ShardFull):
        cluster.run(client.write(own, "x" * 25_000))
    plan(cluster, "shard1", "shard0")
    until(cluster)
    cluster.run(client.write(own, "x" * 25_000))


def test_nothing_is_shown_twice(cluster: MemoryCluster, client: Client) -> None:
    """Documents, bytes and histograms of all shards together are the same at any moment, and so is a count."""
    stores = [service.shard.store for service in cluster.services.values()]
    used = sum(store.used for store in stores)
    handing_over = 0
    for phase in to_and_fro(cluster):
        documents = sum(store.documents for store in stores)
        if sum(end - start for store in stores for start, end in store.ranges.owned) != SLOTS:
            handing_over += 1  # the source owns it no more, and the target not yet
            assert phase is Phase.COMMITTED
            continue
        assert (documents, sum(store.used for store in stores)) == (len(DOCS), used)
        shown = [service.shard.stat() for service in cluster.services.values()]
        assert sum(one["documents"] for one in shown if isinstance(one["documents"], int)) == len(DOCS)
        bars = [bar for one in shown if isinstance(one["histogram"], list) for bars in one["histogram"] for bar in bars]
        assert sum(bars) == len(DOCS)
        assert cluster.run(client.count()) == len(DOCS)
    assert handing_over < 10


# -- documents ------------------------------------------------------------------------------------------------------


def test_expiries(cluster: MemoryCluster, client: Client) -> None:
    """A document expires while it moves, wherever it is; a time to live may change after the copy."""
    fleeting = [f"fleeting {number}" for number in range(60)]
    moving = [key for key in fleeting if SLOTS // 4 <= slot_of(key.encode()) < SLOTS // 2]
    end = cluster.clock.seconds() + 0.6
    cluster.run(client.write_many(dict.fromkeys(fleeting, 1), ttl=0.6))
    short, long, kept = MOVING[:3]
    cluster.run(gatherResults([client.write(key, "x", ttl=1000) for key in (short, long, kept)]))
    changed, gone = False, end
    for phase in to_and_fro(cluster):
        if phase is Phase.COPYING and not changed and cluster.services["shard1"].shard.store.ranges.staged:
            changed = True
            cluster.run(client.touch(short, 0.5))
            gone = cluster.clock.seconds() + 0.5
            cluster.run(client.touch(long, 5000))
            cluster.run(client.touch(kept, None))
        asked = cluster.clock.seconds()
        found = cluster.run(client.has_many(moving))
        if cluster.clock.seconds() < end:
            assert all(found)
        elif asked > end + 0.1:
            assert not any(found)
    assert changed
    assert cluster.clock.seconds() > max(end, gone) + 0.1
    assert cluster.run(client.read(short)) is None
    item = cluster.run(client.item(long))
    assert item is not None
    assert item["ttl"] is not None
    assert 4900 < item["ttl"] <= 5000
    item = cluster.run(client.item(kept))
    assert item is not None
    assert item["ttl"] is None
    cluster.advance(5)  # what has expired is removed
    assert sum(service.shard.store.documents for service in cluster.services.values()) == len(DOCS) - 1
    assert cluster.run(client.count()) == len(DOCS) - 1


def test_counters(cluster: MemoryCluster, client: Client) -> None:
    """Each increment is done once, in the order in which it was asked for."""
    keys = [f"counter {number}" for number in range(20)]
    given = [[client.increment(key) for key in keys] for _ in to_and_fro(cluster, 4)]
    found = [cluster.run(gatherResults(each)) for each in given]
    assert found == [[number] * len(keys) for number in range(1, len(given) + 1)]
    assert cluster.run(client.get_many(keys)) == [len(given)] * len(keys)


def test_versions(cluster: MemoryCluster, client: Client) -> None:
    """Each document keeps its version, so what was seen before can be replaced after, once. Later ones are higher."""
    first, second = MOVING[:2]

    def version(key: str) -> int:
        found = cluster.run(client.item(key))
        assert found is not None
        return found["version"]

    for number in range(50):  # so the source's counter is far above the target's
        cluster.run(client.write(MOVING[2], number))
    before = {key: version(key) for key in MOVING}
    highest = before[MOVING[2]]
    for _ in to_and_fro(cluster, 1):
        assert version(second) == before[second]
    assert {key: version(key) for key in MOVING} == before
    assert cluster.run(client.write(first, "new", if_version=before[first])) > 0
    assert version(first) > highest
    assert cluster.run(client.write(first, "newer", if_version=before[first])) == 0
    known = version(first)
    for _ in to_and_fro(cluster, 2):
        pass
    assert version(first) == known
    assert cluster.run(client.remove(second, if_version=before[second])) > 0
    cluster.run(client.write(second, "anew"))
    assert version(second) > known


def test_compare_and_set_while_it_moves(cluster: MemoryCluster, client: Client) -> None:
    """Of two who saw the same version one wins, at any moment."""
    key, wins = MOVING[0], 0
    for _ in to_and_fro(cluster, 2):
        found = cluster.run(client.item(key))
        assert found is not None
        tries = [client.write(key, number, if_version=found["version"]) for number in range(2)]
        assert sorted(size > 0 for size in cluster.run(gatherResults(tries))) == [False, True]
        wins += 1
    assert wins > 20


# -- indexes and listings -------------------------------------------------------------------------------------------


def test_indexes(cluster: MemoryCluster, client: Client) -> None:
    """Indexes come and go while a range moves: what is in them is whole, and a name that is there again is empty."""
    cluster.run(client.create_index("kept"))
    cluster.run(client.write_many(DOCS, "kept"))
    made = 0
    for number, phase in enumerate(to_and_fro(cluster, 2)):
        if number % 15 == 0:
            if made:
                assert cluster.run(client.count("fleeting")) == 100
                cluster.run(client.drop_index("fleeting"))
            cluster.run(client.create_index("fleeting"))
            assert cluster.run(client.count("fleeting")) == 0, phase
            assert cluster.run(client.get_many(list(DOCS)[:100], index="fleeting")) == [None] * 100
            cluster.run(client.write_many(dict.fromkeys(list(DOCS)[:100], made), index="fleeting"))
            made += 1
        elif made:
            assert cluster.run(client.get_many(list(DOCS)[:100], index="fleeting")) == [made - 1] * 100
    assert made > 3
    cluster.run(client.drop_index("fleeting"))
    assert cluster.run(client.get_many(list(DOCS), index="kept")) == list(DOCS.values())
    cluster.advance(5)
    documents = sum(service.shard.store.documents for service in cluster.services.values())
    assert documents == 2 * len(DOCS)


def test_listings(cluster: MemoryCluster, client: Client) -> None:
    """Whoever lists all keys while a range moves gets each key that was there all the time once."""

    async def listed() -> list[str]:
        return [key async for key in client.keys()]  # noqa: SIM118  # a client is no dict

    working = [Deferred.fromCoroutine(listed()) for _ in to_and_fro(cluster, 3)]
    found = cluster.run(gatherResults(working))
    assert len(found) > 20
    assert [sorted(each) for each in found] == [sorted(DOCS)] * len(found)
