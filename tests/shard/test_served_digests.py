"""What a shard serves to those who compare what they have copied."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from shard.pulling import KEYS, MOVING, REST, Pulling, records
from shard.test_served_followers import ask, failed, peer_of
from stores import folder
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest, SnapshotEnded, TooManySnapshots, WrongShard
from pyshard.protocol import commands
from pyshard.protocol.change_groups import Change
from pyshard.protocol.change_pages import decode_changes, decode_head
from pyshard.protocol.pages import encode_ranges
from pyshard.protocol.row_digests import RowDigests, decode_buckets, encode_indexes
from pyshard.settings import settings
from pyshard.shard import digest_slices, served_digests
from pyshard.shard.paced_turns import PacedTurns
from pyshard.storage import LmdbStore

RANGES = encode_ranges(MOVING)
BOTH = encode_indexes({0, 1})


def opened(pulling: Pulling, peer: Any, follower: str = "m") -> str:
    """The id of a new digest."""
    (answer,) = ask(pulling, peer, commands.OpenDigest, follower=follower, ranges=RANGES)
    found: str = answer["digest"]
    return found


def read(pulling: Pulling, peer: Any, digest: str, indexes: bytes = BOTH) -> list[Any]:
    """What is answered, when time passes."""
    assert pulling.served is not None
    found: list[Any] = ask(pulling, peer, commands.ReadDigest, digest=digest, indexes=indexes)
    pulling.clock.advance(0)
    pulling.served.network.settle()
    return found


def rows(pulling: Pulling, peer: Any, digest: str) -> list[Change]:
    """A page of its rows."""
    (found,) = ask(pulling, peer, commands.ReadDigestRows, digest=digest)
    return decode_changes(found["changes"])


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_of_one_moment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows that were there when it was opened, and no place of a follower is taken or moved by it."""
    monkeypatch.setattr(digest_slices, "_ROWS", 10)
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, FOLLOW_WAIT=0))
    with folder() as path:
        pulling = Pulling(kind, "memory", path)
        pulling.source.fill(dict.fromkeys(KEYS, b"record"))
        pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
        wanted, sequence = RowDigests(MOVING, {0, 1}), pulling.source.store.sequence
        wanted.add(records(pulling.source, MOVING))
        peer = peer_of(pulling)
        (answer,) = ask(pulling, peer, commands.OpenDigest, follower="m", ranges=RANGES)
        head = decode_head(answer["head"])
        assert (head.sequence, head.indexes, head.changes) == (sequence, {"pages": 1}, [])
        assert (head.text, head.ranges) == (None, None)
        counts = []
        while True:
            pulling.source.fill(dict.fromkeys(KEYS[::3], b"later"))
            (found,) = read(pulling, peer, answer["digest"])
            counts.append(found["rows"])
            if found["buckets"]:
                break
        assert counts == sorted(counts)
        assert len(counts) > 10
        assert counts[-1] == wanted.rows > 0
        assert decode_buckets(found["buckets"]) == wanted.buckets()
        if isinstance(pulling.source.store, LmdbStore):
            assert not pulling.source.store._snapshots
            assert pulling.source.store._engine.retention.places.of("m") is None
        failed(read(pulling, peer, answer["digest"]), SnapshotEnded, "begin anew")
        pulling.close()


def test_it_is_its_connections(pulling_in_memory: Pulling) -> None:
    """Nobody else reads it; it ends with its connection, when nobody reads it, and when its follower is forgotten."""
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    mine, other = peer_of(pulling_in_memory), peer_of(pulling_in_memory)
    digest = opened(pulling_in_memory, mine)
    failed(read(pulling_in_memory, other, digest), SnapshotEnded, "for this connection")
    pulling_in_memory.clock.advance(settings.SNAPSHOT_IDLE)
    failed(read(pulling_in_memory, mine, digest), SnapshotEnded, "nobody read it")
    digest = opened(pulling_in_memory, mine)
    assert ask(pulling_in_memory, mine, commands.ForgetFollower, follower="m") == [{}]
    failed(read(pulling_in_memory, mine, digest), SnapshotEnded, "begin anew")
    index = pulling_in_memory.source.store._indexes[0]  # type: ignore[attr-defined] # a store in memory
    opened(pulling_in_memory, mine)
    assert index._watchers
    mine.transport.loseConnection()
    assert pulling_in_memory.served is not None
    pulling_in_memory.served.network.settle()
    assert not index._watchers


def test_one_a_follower(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one takes its place, also while rows are counted; a follower's name is needed, and there are few."""
    monkeypatch.setattr(digest_slices, "_ROWS", 10)
    turns: list[Deferred[None]] = []

    def turn(_: PacedTurns) -> Deferred[None]:
        turns.append(Deferred())
        return turns[-1]

    monkeypatch.setattr(PacedTurns, "next", turn)
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    peer = peer_of(pulling_in_memory)
    first = opened(pulling_in_memory, peer)
    asked = ask(pulling_in_memory, peer, commands.ReadDigest, digest=first, indexes=BOTH)
    failed(
        ask(pulling_in_memory, peer, commands.ReadDigest, digest=first, indexes=BOTH), BadRequest, "ask one at a time"
    )
    second = opened(pulling_in_memory, peer)
    assert not asked
    turns.pop().callback(None)
    assert pulling_in_memory.served is not None
    pulling_in_memory.served.network.settle()
    failed(asked, SnapshotEnded, "another one was opened")
    later = ask(pulling_in_memory, peer, commands.ReadDigest, digest=second, indexes=BOTH)
    while not later:
        turns.pop().callback(None)
        pulling_in_memory.served.network.settle()
    assert later[0]["buckets"]
    failed(ask(pulling_in_memory, peer, commands.OpenDigest, follower="", ranges=RANGES), BadRequest, "no name")
    for number in range(settings.MAX_FOLLOWERS - 1):
        opened(pulling_in_memory, peer, f"m{number}")
    failed(
        ask(pulling_in_memory, peer, commands.OpenDigest, follower="more", ranges=RANGES), TooManySnapshots, "8 others"
    )


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_its_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the moment when it was opened, page by page; no place of a follower is taken or moved."""
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=1000))
    with folder() as path:
        pulling = Pulling(kind, "memory", path)
        pulling.source.fill(dict.fromkeys(KEYS, b"record"))
        pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
        wanted, peer = records(pulling.source, MOVING), peer_of(pulling)
        before = set(pulling.source.store.followers)
        digest = opened(pulling, peer)
        found: list[Change] = []
        while page := rows(pulling, peer, digest):
            found += page
            assert len(page) < 30
            pulling.source.fill(dict.fromkeys(KEYS[::3], b"later"))
        assert sorted(found, key=lambda row: (row.index, row.slot, row.key)) == wanted
        assert set(pulling.source.store.followers) == before
        failed(ask(pulling, peer, commands.ReadDigestRows, digest=digest), SnapshotEnded, "begin anew")
        if isinstance(pulling.source.store, LmdbStore):
            assert not pulling.source.store._snapshots
        pulling.close()


def test_rows_or_digests(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are either counted or read, since each comes once. They are read page by page, by its connection."""
    monkeypatch.setattr(digest_slices, "_ROWS", 10)
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, FOLLOW_WAIT=0, SNAPSHOT_BYTES=1000))
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    peer, other = peer_of(pulling_in_memory), peer_of(pulling_in_memory)
    digest = opened(pulling_in_memory, peer)
    failed(ask(pulling_in_memory, other, commands.ReadDigestRows, digest=digest), SnapshotEnded, "for this connection")
    assert rows(pulling_in_memory, peer, digest)
    failed(read(pulling_in_memory, peer, digest), BadRequest, "are read")
    assert rows(pulling_in_memory, peer, digest)
    pulling_in_memory.clock.advance(settings.SNAPSHOT_IDLE)
    failed(ask(pulling_in_memory, peer, commands.ReadDigestRows, digest=digest), SnapshotEnded, "nobody read it")
    digest = opened(pulling_in_memory, peer)
    assert not read(pulling_in_memory, peer, digest)[0]["buckets"]
    failed(ask(pulling_in_memory, peer, commands.ReadDigestRows, digest=digest), BadRequest, "are counted")
    digest = opened(pulling_in_memory, peer)
    turns: list[Deferred[None]] = []

    def turn(_: PacedTurns) -> Deferred[None]:
        turns.append(Deferred())
        return turns[-1]

    monkeypatch.setattr(PacedTurns, "next", turn)
    asked = ask(pulling_in_memory, peer, commands.ReadDigestRows, digest=digest)
    failed(ask(pulling_in_memory, peer, commands.ReadDigestRows, digest=digest), BadRequest, "ask one at a time")
    opened(pulling_in_memory, peer)
    turns.pop().callback(None)
    assert pulling_in_memory.served is not None
    pulling_in_memory.served.network.settle()
    failed(asked, SnapshotEnded, "another one was opened")


def test_other_indexes(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The indexes are those of the first question."""
    monkeypatch.setattr(digest_slices, "_ROWS", 10)
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, FOLLOW_WAIT=0))
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    peer = peer_of(pulling_in_memory)
    digest = opened(pulling_in_memory, peer)
    (found,) = read(pulling_in_memory, peer, digest)
    assert not found["buckets"]
    failed(read(pulling_in_memory, peer, digest, encode_indexes({0})), BadRequest, "found others")
    assert "rows" in read(pulling_in_memory, peer, digest)[0]  # which has changed nothing


def test_not_of_what_is_not_owned(pulling_in_memory: Pulling) -> None:
    """It would be of nothing."""
    pulling_in_memory.source.result(pulling_in_memory.source.store.own(REST))
    peer = peer_of(pulling_in_memory)
    failed(ask(pulling_in_memory, peer, commands.OpenDigest, follower="m", ranges=RANGES), WrongShard, "doesn't own")
    index = pulling_in_memory.source.store._indexes[0]  # type: ignore[attr-defined] # a store in memory
    assert not index._watchers


def test_turns(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices others have their turn."""
    turns, wait = [0], PacedTurns.next

    def turn(waiting: PacedTurns) -> Deferred[None]:
        turns[0] += 1
        return wait(waiting)

    monkeypatch.setattr(PacedTurns, "next", turn)
    monkeypatch.setattr(digest_slices, "_ROWS", 10)
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    peer = peer_of(pulling_in_memory)
    (found,) = read(pulling_in_memory, peer, opened(pulling_in_memory, peer))
    assert found["buckets"]
    assert turns[0] >= found["rows"] // 10
