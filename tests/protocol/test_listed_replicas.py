"""Replicas as a bootstrap lists them: what is taken of a hostile one's."""

from __future__ import annotations

import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.message_texts import MAX_MESSAGE
from pyshard.protocol.listed_replicas import (
    ListedGroup,
    ListedReplica,
    decode_listed_replicas,
    encode_listed_replicas,
)
from pyshard.protocol.log_positions import LogPosition
from pyshard.settings import settings

REPLICA = ListedReplica("10.0.0.1:5050", "primary", True, 0.5, True, LogPosition(3, 2**63 - 1), True, 0)
GROUP = ListedGroup("a", 3, 1, 3.0, [REPLICA])


def text_with(replica: dict[str, object], **changes: object) -> bytes:
    """The list of the one group, with other values in some fields of it and of its replica."""
    replicas = [msgspec.to_builtins(REPLICA) | replica]
    return msgspec.json.encode([msgspec.to_builtins(GROUP) | {"replicas": replicas} | changes])


def test_round_trip() -> None:
    """What is read equals what was written."""
    groups = [GROUP, ListedGroup("b", 0, 4, 1.0, [REPLICA] * settings.MAX_REPLICAS)]
    assert decode_listed_replicas(encode_listed_replicas(groups)) == groups


def test_texts() -> None:
    """A name is cut to what names have, an address and a reason to what they have, in printable characters."""
    odd = "\x1b[2J\u202e" + "x" * 100_000
    (group,) = decode_listed_replicas(text_with({"address": odd, "role": odd, "waits": odd}, shard=odd))
    (replica,) = group.replicas
    texts = [group.shard, replica.role, replica.address, replica.waits]
    assert [len(text) for text in texts] == [settings.MAX_NAME, settings.MAX_NAME, 300, MAX_MESSAGE]
    assert all(text.startswith(r"\x1b[2J\u202exxx") for text in texts)


@pytest.mark.parametrize(
    ("replica", "changes"),
    [
        ({"seconds": 1e300}, {}),
        ({"behind": 10**4000}, {}),
        ({"behind": -1}, {}),
        ({"position": [0, 2**63]}, {}),
        ({"position": [10**4000, 0]}, {}),
        ({"answers": "\x1b"}, {}),
        ({}, {"ballot": 2**63}),
        ({}, {"least": -1}),
        ({}, {"lease": 1e300}),
        ({}, {"replicas": [msgspec.to_builtins(REPLICA)] * (settings.MAX_REPLICAS + 1)}),
    ],
)
def test_what_no_replica_has(replica: dict[str, object], changes: dict[str, object]) -> None:
    """A list with it is refused in one short line."""
    with pytest.raises(BadRequest, match=r"^replicas: found what can't be read: ") as refused:
        decode_listed_replicas(text_with(replica, **changes))
    assert str(refused.value).isprintable()


def test_too_many_groups() -> None:
    """There are as many as shards, and elements as many as of a document."""
    empty = ListedGroup("a", 0, 1, 1.0, [])
    assert len(decode_listed_replicas(encode_listed_replicas([empty] * settings.MAX_SHARDS))) == settings.MAX_SHARDS
    with pytest.raises(BadRequest, match="replicas: found more than a cluster may have"):
        decode_listed_replicas(encode_listed_replicas([empty] * (settings.MAX_SHARDS + 1)))
    with pytest.raises(BadRequest, match=r"found about 1,.*elements"):
        decode_listed_replicas(b"[" + b"{}," * 600_000 + b"?]")
