"""What a replica remembers over a restart: its group, and whether it stands for the primary's place. Pure."""

from __future__ import annotations

import msgspec

from pyshard.model.replica_group import ReplicaGroup

_encode = msgspec.msgpack.Encoder().encode
_group = msgspec.msgpack.Decoder(ReplicaGroup)


class _Standing(msgspec.Struct):
    """What stands beside the group's own fields, which a reader of the group alone passes over."""

    standing: bool = False


_standing = msgspec.msgpack.Decoder(_Standing)


def encode_remembered(group: ReplicaGroup, standing: bool = False) -> bytes:
    """As a store keeps it."""
    return _encode({**msgspec.to_builtins(group), "standing": standing})


def decode_remembered(text: bytes) -> tuple[ReplicaGroup, bool]:
    """The group, and whether the replica stands.

    :raises msgspec.DecodeError: it can't be read.
    """
    return _group.decode(text), _standing.decode(text).standing
