"""What a shard goes by after a restart, as its store remembers it."""

from __future__ import annotations

import msgspec
import pytest
from deferreds import result
from shard.states import STATE
from twisted.internet.task import Clock

from pyshard.errors import ConfigError
from pyshard.model.cluster_state_json import to_json
from pyshard.shard.recalled_assignment import recalled_assignment
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore


def remembering(clock: Clock, text: bytes, ballot: int = 0) -> MemoryStore:
    """A store that remembers a text, and has promised a ballot."""
    store = MemoryStore("1d", clock.seconds)
    result(store.remember(text))
    if ballot:
        result(store.promise(ballot))
    return store


def test_an_assignment_of_another_version(clock: Clock) -> None:
    """A store that remembers the one range of a shard of format 1 is refused in one line that says what to do."""
    old = b'{"format":1,"cluster":"c","epoch":1,"shards":[{"name":"low","start":0,"end":10000000}]}'
    store = remembering(clock, msgspec.msgpack.encode(("low", old)))
    with pytest.raises(ConfigError) as refused:
        Shard(store, clock.seconds)
    assert str(refused.value) == (
        "what the store of shard 'low' remembers can't be read: the cluster state is of format 1; this version knows "
        "format 4; back it up with the version that wrote it, and restore the backup into an empty cluster"
    )


@pytest.mark.parametrize("ballot", [0, 1])
def test_what_can_be_read(clock: Clock, ballot: int) -> None:
    """It is gone by, whoever has given it."""
    known = recalled_assignment(remembering(clock, msgspec.msgpack.encode(("low", to_json(STATE))), ballot))
    assert known is not None
    assert (known.name, known.state) == ("low", STATE)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xc1junk",
        b"",
        msgspec.msgpack.encode(1),
        msgspec.msgpack.encode(("low", b"{}")),
        msgspec.msgpack.encode(("no shard of it", to_json(STATE))),
    ],
)
def test_what_another_replica_has_it_remember(clock: Clock, junk: bytes) -> None:
    """A hostile primary keeps no member from starting: what can't be read is told again. A lone store is refused."""
    with pytest.raises(ConfigError, match="back it up with the version that wrote it"):
        recalled_assignment(remembering(clock, junk))
    assert recalled_assignment(remembering(clock, junk, 1)) is None
