"""Numbers that a daemon, etcd, or a file of a backup tells have bounds: code computes with them, and shows them."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator

import msgspec
import msgspec.inspect
import pytest

import pyshard
from pyshard.backup.manifest import Manifest
from pyshard.blocking.daemon_reports import DaemonReport
from pyshard.cli.doctor.evidence import Evidence, daemon_evidence
from pyshard.cli.doctor.room_checks import findings_of
from pyshard.cli.top.rates import rows, total
from pyshard.cli.top.samples import sample
from pyshard.cli.top.table import screen, top_json
from pyshard.client_core.cluster_answers import stat_of
from pyshard.model.shard_map import MapShard
from pyshard.protocol.log_positions import LogPosition

#: What clients make themselves, and nobody tells.
_OWN = {"Operation", "EncodedDocument"}

#: Floors that read the JSON of others.
_READING = ("backup.", "bootstrap.", "cli.", "client_core.", "model.", "replication.wishes")

_OWNED = MapShard("a", ((0, 78_125),), 1 << 30, "127.0.0.1", 5050)


def _told() -> Iterator[type]:
    """What is made of the JSON of others."""
    for module in pkgutil.walk_packages(pyshard.__path__, "pyshard."):
        if module.name.removeprefix("pyshard.").startswith(_READING):
            importlib.import_module(module.name)
    yield Manifest
    waiting: list[type[msgspec.Struct]] = [msgspec.Struct]
    while waiting:
        found: type[msgspec.Struct]
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if found.__module__.removeprefix("pyshard.").startswith(_READING) and found.__name__ not in _OWN:
                yield found


def _unbounded(kind: object, path: str) -> list[str]:
    """Where in a type a number has no bounds."""
    if isinstance(kind, (msgspec.inspect.IntType, msgspec.inspect.FloatType)):
        low, high = (kind.ge, kind.gt), (kind.le, kind.lt)
        return [path] if low == (None, None) or high == (None, None) else []
    if isinstance(kind, msgspec.inspect.Field):
        return _unbounded(kind.type, f"{path}.{kind.name}")
    if getattr(kind, "cls", None) is LogPosition:
        return []  # it is of MessagePack as well, and checks itself
    parts = [getattr(kind, name) for name in getattr(type(kind), "__struct_fields__", ())]
    some = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
    inner = [one for one in some if isinstance(one, (msgspec.inspect.Type, msgspec.inspect.Field))]
    return [found for one in inner for found in _unbounded(one, path)]


def test_numbers_have_bounds() -> None:
    """None of hundreds of digits is taken, wherever others tell some."""
    kinds = sorted(set(_told()), key=lambda kind: (kind.__module__, kind.__name__))
    assert len(kinds) > 30
    assert [found for kind in kinds for found in _unbounded(msgspec.inspect.type_info(kind), kind.__name__)] == []


_PLAIN = {
    "uptime": 10.0,
    "operations": 1,
    "documents": 1,
    "bytes": 1,
    "connected": 1,
    "most_connected": 9,
    "files": 9,
    "time": 1.0,
    "epoch": 1,
    "waiting_bytes": 1,
    "verbs": {"read": {"done": 1, "refused": 1}},
    "latencies": {"read": {"bounds": [0.1], "counts": [1, 1]}},
    "commits": {"seconds": {"counts": [1], "sum": 1.0}},
    "disk": {"free": 1, "size": 2},
    "slowed_to": {"disk": 1},
    "state_store": {"away": 1.0, "error": "it is away"},
    "replica": {"others": [{"address": "h:1", "groups_behind": 1, "silent": 1.0}]},
}


def _with_each(value: object, number: int) -> Iterator[object]:
    """A value of JSON with each of its numbers replaced, one at a time."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from (value | {name: other} for other in _with_each(part, number))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in _with_each(part, number))
    elif not isinstance(value, str):
        yield number


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("digits", [4000, 400, 19, 15, 0])
def test_no_number_ends_top_or_doctor(digits: int, sign: int) -> None:
    """Whatever number a shard tells, what can't be read is said of this shard, and all else is shown."""
    before = {"address": "h:1", **_PLAIN}
    told = list(_with_each(_PLAIN, sign * 10**digits))
    assert len(told) > 20
    for each in told:
        stats = [stat_of(_OWNED, json.dumps(one).encode()) for one in (before, each)]
        assert len(findings_of(Evidence(0, "1", daemons=(daemon_evidence("shard a", _OWNED, stats[1], 0, 0),)))) >= 2
        samples = [
            sample(float(at), 1, [DaemonReport("shard a", _OWNED, "h", 1, stat, 0.0, 0.1)])
            for at, stat in enumerate(stats)
        ]
        found = rows(*samples)
        everything = total(found, *samples)
        assert screen(found, everything, "", 200)
        assert json.dumps(top_json(found, everything, 1, 0))
