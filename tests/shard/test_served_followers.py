"""What a shard serves to those who follow it over connections."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from shard.pulling import KEYS, KINDS, MOVING, REST, Pulling
from stores import folder
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, SnapshotEnded, TooManySnapshots
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.change_pages import decode_changes, decode_groups
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import encode_ranges
from pyshard.settings import settings
from pyshard.shard import parted_answer, served_followers
from pyshard.shard.served_followers import ServedFollowers


def ask(pulling: Pulling, peer: Any, command: type[Command], **arguments: object) -> Any:
    """What is answered, or the error."""
    assert pulling.served is not None
    found: list[Any] = []
    peer.call(command, 30, **arguments).addBoth(found.append)
    pulling.served.network.settle()
    return found


def peer_of(pulling: Pulling) -> Any:
    """A peer of the source."""
    assert pulling.served is not None
    return pulling.served.connect(BoundedAMP(pulling.clock))


def failed(found: list[Any], error: type[PyshardError], text: str) -> None:
    """One answer has come: an error."""
    (failure,) = found
    assert isinstance(failure, Failure)
    assert failure.check(error), failure
    assert text in str(failure.value)


def test_a_copy_is_its_connections(pulling_in_memory: Pulling) -> None:
    """Nobody else reads it; it ends with its connection, or when it isn't read for a while."""
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    ranges = encode_ranges(MOVING)
    mine, other = peer_of(pulling_in_memory), peer_of(pulling_in_memory)
    (answer,) = ask(pulling_in_memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    failed(ask(pulling_in_memory, other, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "for this connection")
    assert ask(pulling_in_memory, other, commands.CloseCopy, copy=answer["copy"]) == [{}]
    (page,) = ask(pulling_in_memory, mine, commands.ReadCopy, copy=answer["copy"])
    assert decode_changes(page["changes"])
    pulling_in_memory.clock.advance(settings.SNAPSHOT_IDLE)
    failed(ask(pulling_in_memory, mine, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "nobody read it")
    (answer,) = ask(pulling_in_memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    assert ask(pulling_in_memory, mine, commands.CloseCopy, copy=answer["copy"]) == [{}]
    failed(ask(pulling_in_memory, mine, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "begin anew")


def test_a_later_connection_takes_the_place(pulling_in_memory: Pulling) -> None:
    """A follower has one connection; who waits over an older one is told."""
    ranges = encode_ranges(MOVING)
    mine, other = peer_of(pulling_in_memory), peer_of(pulling_in_memory)
    ask(pulling_in_memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    after = pulling_in_memory.source.store.sequence
    older = ask(pulling_in_memory, mine, commands.ReadGroups, follower="m", after=after, ranges=ranges, offset=0)
    newer = ask(pulling_in_memory, other, commands.ReadGroups, follower="m", after=after, ranges=ranges, offset=0)
    failed(older, PyshardError, "closed")
    assert not newer
    failed(
        ask(pulling_in_memory, other, commands.ReadGroups, follower="m", after=after, ranges=ranges, offset=0),
        PyshardError,
        "twice at once",
    )
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    assert pulling_in_memory.served is not None
    pulling_in_memory.served.network.settle()
    assert newer[0]["groups"]


def test_many_groups(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has no more groups than its bytes say; those behind them come in the next one."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, FOLLOW_BYTES=1000))
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    after = pulling_in_memory.source.store.sequence
    keys = [key for key in KEYS if in_ranges(slot_of(key), MOVING)][:9]
    for key in keys:
        pulling_in_memory.source.fill({key: b"r" * 300})
    counts = []
    while after < pulling_in_memory.source.store.sequence:
        (answer,) = ask(
            pulling_in_memory, peer, commands.ReadGroups, follower="m", after=after, ranges=ranges, offset=0
        )
        groups = decode_groups(answer["groups"])
        counts.append(len(groups))
        after = groups[-1].sequence
    assert counts == [3, 3, 3]


def test_few_followers(pulling_in_memory: Pulling) -> None:
    """Only so many names are served, until one is forgotten."""
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    for number in range(settings.MAX_FOLLOWERS):
        (answer,) = ask(pulling_in_memory, peer, commands.OpenCopy, follower=f"m{number}", ranges=ranges)
        ask(pulling_in_memory, peer, commands.CloseCopy, copy=answer["copy"])
    failed(
        ask(pulling_in_memory, peer, commands.OpenCopy, follower="more", ranges=ranges), TooManySnapshots, "8 others"
    )
    assert pulling_in_memory.served is not None
    followers = pulling_in_memory.served.service.followers
    followers.is_of_a_move = lambda name: name in ("more", "m0")  # which others never keep waiting, nor it them
    assert "copy" in ask(pulling_in_memory, peer, commands.OpenCopy, follower="more", ranges=ranges)[0]
    assert "copy" in ask(pulling_in_memory, peer, commands.OpenCopy, follower="m8", ranges=ranges)[0]
    failed(ask(pulling_in_memory, peer, commands.OpenCopy, follower="m9", ranges=ranges), TooManySnapshots, "8 others")
    assert ask(pulling_in_memory, peer, commands.ForgetFollower, follower="m3") == [{}]
    followers.is_of_a_move = lambda name: name == "m0"
    assert "copy" in ask(pulling_in_memory, peer, commands.OpenCopy, follower="more", ranges=ranges)[0]


def test_large_groups_in_parts(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is asked for by how many bytes are there; who begins anew is given all again."""
    monkeypatch.setattr(parted_answer, "_PART", 1000)
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    asked: dict[str, Any] = {
        "follower": "m",
        "after": pulling_in_memory.source.store.sequence,
        "ranges": ranges,
    }
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))

    def part(offset: int) -> Any:
        return ask(pulling_in_memory, peer, commands.ReadGroups, **asked, offset=offset)

    failed(part(1000), PyshardError, "offset: found 1000, expected 0")
    (first,) = part(0)
    (second,) = part(1000)
    assert first["more"]
    assert second["more"]
    failed(part(1000), PyshardError, "offset: found 1000, expected 0")
    data, more = b"", True
    while more:
        (found,) = part(len(data))
        data, more = data + found["groups"], found["more"]
    assert data.startswith(first["groups"] + second["groups"])
    groups = decode_groups(data)
    assert groups[-1].sequence == pulling_in_memory.source.store.sequence
    failed(part(len(data)), PyshardError, "offset: found")
    assert sum(len(group.changes) for group in groups) == sum(in_ranges(slot_of(key), MOVING) for key in KEYS)


def test_parts_that_nobody_asks_for(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as bytes that are held, and go after a while; who begins anew is given all again."""
    assert pulling_in_memory.served is not None
    monkeypatch.setattr(parted_answer, "_PART", 1000)
    ranges, peer, held = (
        encode_ranges(MOVING),
        peer_of(pulling_in_memory),
        pulling_in_memory.served.service.factory.held,
    )
    ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    asked: dict[str, Any] = {"follower": "m", "after": pulling_in_memory.source.store.sequence, "ranges": ranges}
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    (first,) = ask(pulling_in_memory, peer, commands.ReadGroups, **asked, offset=0)
    assert (first["more"], held.total > 1000) == (True, True)
    pulling_in_memory.served.network.advance(settings.REST_KEPT)
    assert held.total == 0
    failed(ask(pulling_in_memory, peer, commands.ReadGroups, **asked, offset=1000), PyshardError, "offset: found 1000")
    assert ask(pulling_in_memory, peer, commands.ReadGroups, **asked, offset=0) == [first]
    once, other = held.total, peer_of(pulling_in_memory)
    assert ask(pulling_in_memory, other, commands.ReadGroups, **asked, offset=0) == [first]
    assert held.total == once > 1000, "it takes the other one's place"
    other.transport.loseConnection()
    pulling_in_memory.served.network.settle()
    assert held.total == 0


def test_one_copy_of_a_name(pulling_in_memory: Pulling) -> None:
    """Whoever opens one after the other doesn't have the shard keep them all."""
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    (older,) = ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    (newer,) = ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    failed(ask(pulling_in_memory, peer, commands.ReadCopy, copy=older["copy"]), SnapshotEnded, "begin anew")
    (page,) = ask(pulling_in_memory, peer, commands.ReadCopy, copy=newer["copy"])
    assert decode_changes(page["changes"])


def test_a_copy_that_ends_while_it_is_read(pulling_in_memory: Pulling) -> None:
    """Who waits for a page of it is told."""
    assert pulling_in_memory.served is not None
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    (older,) = ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    found: list[Any] = []
    for command, arguments in (
        (commands.ReadCopy, {"copy": older["copy"]}),
        (commands.OpenCopy, {"follower": "m", "ranges": ranges}),
    ):
        peer.call(command, 30, **arguments).addBoth(found.append)
    pulling_in_memory.served.network.settle()
    opened, ended = sorted(found, key=lambda each: isinstance(each, Failure))
    assert "copy" in opened
    failed([ended], SnapshotEnded, "begin anew")


def test_no_place_for_what_is_refused(pulling_in_memory: Pulling) -> None:
    """A copy that isn't given takes no place of a follower."""
    assert pulling_in_memory.served is not None
    pulling_in_memory.source.result(pulling_in_memory.source.store.own(REST))
    ranges, peer = encode_ranges(MOVING), peer_of(pulling_in_memory)
    failed(ask(pulling_in_memory, peer, commands.OpenCopy, follower="m", ranges=ranges), PyshardError, "doesn't own")
    assert not pulling_in_memory.served.service.followers.names


@pytest.mark.parametrize("kind", KINDS)
def test_names_after_a_restart(kind: str) -> None:
    """What the store keeps for followers from before is known, and so it is forgotten where nobody may have it."""
    with folder() as path:
        pulling = Pulling(kind, "memory", path)
        ask(pulling, peer_of(pulling), commands.OpenCopy, follower="m", ranges=encode_ranges(MOVING))
        again = ServedFollowers(pulling.source.store, pulling.clock)
        assert set(again.names) == {"m"}
        again.forget("m")
        assert not again.names
        assert not pulling.source.store.followers
        pulling.close()


def test_names_are_looked_at(pulling_in_memory: Pulling) -> None:
    """A while after a new one has come, the shard forgets those that it may not keep anything for."""
    served = pulling_in_memory.served
    assert served is not None
    served.configure()
    for number in range(3):
        ranges = encode_ranges(served.shard.store.ranges.owned)
        ask(pulling_in_memory, peer_of(pulling_in_memory), commands.OpenCopy, follower=f"m{number}", ranges=ranges)
    assert len(served.service.followers.names) == 3
    pulling_in_memory.clock.advance(settings.SNAPSHOT_IDLE)
    assert not served.service.followers.names
    assert not served.shard.store.followers
