"""Has a daemon of a test be killed, or stopped, at a chosen point of a move of a range.

Python imports a module of this name at its start, before anything else. Tests put this folder on a daemon's PYTHONPATH
(`functional.failpoints_of_moves`), so nothing of it is in the package. It wraps functions of the package when their
modules are imported. Each wrapped call *reaches* a point before it, and one after it, as in ``before stage`` and
``after stage``; where it gives a Deferred or a coroutine, after that has come to its end.

A test writes into a file what is to happen: the point, how often it is to be reached before it happens, and the signal
that the daemon then sends itself, a line each. The file is removed when it happens. Its name is that of the daemon, in
the folder that the variable FAILPOINTS names. The points that were reached are listed in a file beside it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from inspect import iscoroutine
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("FAILPOINTS", "")

#: Gives what a call is called, if it counts at all, out of its arguments.
Names = Callable[..., Iterable[str]]

_reached: set[str] = set()
_writing: list[str] = []  # what the group of the durable store's log says that is made just now


@cache
def _file() -> Path:
    """This daemon's file: it is called as its pid file."""
    (option,) = [argument for argument in sys.orig_argv if argument.startswith("--pidfile=")]
    return Path(FOLDER) / option.partition("=")[2].removesuffix(".pid")


def reach(point: str) -> None:
    """A point is reached."""
    file = _file()
    if point not in _reached:
        _reached.add(point)
        with file.with_suffix(".reached").open("a") as reached:
            reached.write(point + "\n")
    try:
        wanted, calls, number = file.read_text().split("\n")
    except (FileNotFoundError, ValueError):
        return
    if wanted != point:
        return
    if int(calls) > 1:
        file.write_text(f"{wanted}\n{int(calls) - 1}\n{number}")
        return
    try:
        file.unlink()
    except FileNotFoundError:  # the test has just taken it back
        return
    os.kill(os.getpid(), signal.Signals(int(number)))


def around(names: Names) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a function reach points before and after each call."""

    def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            found = list(names(*arguments, **named))
            for name in found:
                reach(f"before {name}")
            result = function(*arguments, **named)
            if not found:
                return result
            if iscoroutine(result):
                return _awaited(result, found)
            if hasattr(result, "addBoth"):
                return result.addBoth(_passed, found)
            return _passed(result, found)

        return wrapped

    return wrapping


def _passed(outcome: Any, names: Sequence[str]) -> Any:
    for name in names:
        reach(f"after {name}")
    return outcome


async def _awaited(coroutine: Any, names: Sequence[str]) -> Any:
    return _passed(await coroutine, names)


# ---------------------------------------------------------------------- what calls are called


def named(name: str) -> Names:
    """One name for all calls."""
    return lambda *_, **__: [name]


def _events(before: Any, after: Any) -> list[str]:
    """What became of moves between two states of the cluster."""
    old = {move.number: move.phase.value for move in (before.moves if before is not None else ())}
    new = {move.number: move.phase.value for move in after.moves}
    found = ["removed" for number in old if number not in new]
    for number, phase in new.items():
        was = old.get(number, "")
        if phase != was:
            found.append({"copying": "unsealed" if was == "sealing" else "begun"}.get(phase, phase))
    return found


def _phases(state: Any, shard: str) -> list[str]:
    """A shard's parts in the moves that have begun: its role and the phase."""
    roles = [
        ("source" if move.source == shard else "target" if move.target == shard else "", move) for move in state.moves
    ]
    return [f"{role} while {move.phase.value}" for role, move in roles if role and move.phase.value != "planned"]


_saved: list[Any] = []


def _saving(path: Path, state: Any) -> list[str]:
    events = _events(_saved[-1] if _saved else None, state)
    _saved[:] = [state]
    return [f"save of {event}" for event in events]


def _changing(changes: Any, found: Any) -> list[str]:
    return [f"change to {event}" for event in _events(changes.state, found.state)]


def _configuring(shard: Any, name: str, state: Any) -> list[str]:
    before = shard.assignment.state if shard.assignment is not None else None
    return [f"told of {event}" for event in _events(before, state)]


def _remembering(store: Any, text: bytes) -> list[str]:
    return ["remember"]


def _owning(store: Any, ranges: Any) -> list[str]:
    return ["own"] if tuple(store.ranges.owned) != tuple(ranges) else []


def _unstaging(store: Any, name: str) -> list[str]:
    return ["unstage"] if name in store.ranges.staged else []


def _unsealing(store: Any, name: str) -> list[str]:
    return ["unseal"] if name in store.ranges.sealed else []


def _absorbing(store: Any, name: str, group: Any, sequence: int, limit: int) -> list[str]:
    staging = store.ranges.staged.get(name)
    if not sequence:
        return ["absorb of a page"]
    if staging is not None and not staging.origin.sequence:
        return ["absorb of the copy's end"]
    if group.ranges is not None and name in group.ranges.sealed:
        return ["absorb of the seal"]
    return ["absorb of a group"] if group.changes else []


def _sweeping(store: Any, most: int) -> list[str]:
    return ["trim"] if store.ranges.left else []


def _reporting(moves: Any) -> list[str]:
    shard = moves._shard
    if shard.assignment is None:
        return []
    found = [f"report as {phase}" for phase in _phases(shard.assignment.state, shard.assignment.name)]
    staged = shard.store.ranges.staged
    ready = [
        move
        for move in shard.assignment.state.moves
        if move.name in staged and move.phase.value == "sealing" and staged[move.name].sealed == move.attempt
    ]
    return found + ["report that it is ready" for _ in ready]


def _asking(reconciler: Any) -> list[str]:
    return [f"asking {phase}" for phase in _phases(reconciler._bootstrap.state, reconciler.shard)]


def _telling(reconciler: Any, connection: Any) -> list[str]:
    return [f"telling {phase}" for phase in _phases(reconciler._bootstrap.state, reconciler.shard)]


# ---------------------------------------------------------------------- the durable store's log


def noting(names: Names) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `around`; and the update that is made in the call is known by the name when its group is written."""

    def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = around(lambda *_, **__: _calling)(function)

        @wraps(function)
        def outer(*arguments: Any, **named: Any) -> Any:
            _calling[:] = names(*arguments, **named)
            try:
                return wrapped(*arguments, **named)
            finally:
                _calling.clear()

        return outer

    return wrapping


_calling: list[str] = []


def _noted(make: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what makes an update: when it is done, its group says so."""

    @wraps(make)
    def made(*arguments: Any, **named: Any) -> Any:
        update, names = make(*arguments, **named), list(_calling)
        work = update.work

        def noted(*given: Any) -> Any:
            _writing.extend(names)
            return work(*given)

        return type(update)(noted)

    return made


def _appending(append: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(append)
    def appended(*arguments: Any, **named: Any) -> Any:
        names = [f"log of {name}" for name in _writing]
        _writing.clear()
        return around(lambda *_, **__: names)(append)(*arguments, **named)

    return appended


# ---------------------------------------------------------------------- what is wrapped

_STORE: Sequence[tuple[str, Any]] = [
    ("own", noting(_owning)),
    ("absorb_staged", noting(_absorbing)),
    ("sweep", around(_sweeping)),
    ("remember", around(_remembering)),
]

#: Module → the names in it, with dots, and what wraps each.
WRAPPED: dict[str, Sequence[tuple[str, Any]]] = {
    "pyshard.bootstrap.state_file": [("save", around(_saving))],
    "pyshard.bootstrap.state_changes": [("StateChanges._take", around(_changing))],
    "pyshard.bootstrap.reconciler": [
        ("ShardReconciler.ask_moves", around(_asking)),
        ("ShardReconciler._configure", around(_telling)),
    ],
    "pyshard.security.private_files": [("sync_directory", around(named("sync of a directory")))],
    "pyshard.shard.shard": [("Shard.configure", around(_configuring))],
    "pyshard.shard.shard_moves": [("ShardMoves.reports", around(_reporting))],
    "pyshard.shard.served_followers": [
        ("ServedFollowers.open_copy", around(named("giving a copy"))),
        ("ServedFollowers.read_copy", around(named("giving a page"))),
        ("ServedFollowers.groups", around(named("giving groups"))),
        ("ServedFollowers.forget", around(named("forget"))),
    ],
    "pyshard.shard.served_digests": [
        ("ServedDigests.open", around(named("comparing"))),
        ("ServedDigests.read", around(named("giving digests"))),
    ],
    "pyshard.shard.followed_shard": [
        ("FollowedShard.open_copy", around(named("asking for a copy"))),
        ("FollowedShard.page", around(named("asking for a page"))),
        ("FollowedShard.groups", around(named("asking for groups"))),
        ("FollowedShard.open_digest", around(named("asking to compare"))),
        ("FollowedShard.digests", around(named("asking for digests"))),
    ],
    "pyshard.storage.ranges_interface": [
        ("RangeChanges.stage", noting(named("stage"))),
        ("RangeChanges.unstage", noting(_unstaging)),
        ("RangeChanges.seal", noting(named("seal"))),
        ("RangeChanges.unseal", noting(_unsealing)),
    ],
    "pyshard.storage.memory.store": [(f"MemoryStore.{name}", wrap) for name, wrap in _STORE],
    "pyshard.storage.durable.store": [(f"LmdbStore.{name}", wrap) for name, wrap in _STORE],
    "pyshard.storage.durable.range_updates": [
        ("changing", _noted),
        ("owning", _noted),
        ("absorbing_staged", _noted),
    ],
    "pyshard.storage.durable.write_ahead_log": [("WriteAheadLog.append", _appending)],
}


class _Wrapping(Loader):
    """Loads a module as another loader does, then wraps its functions."""

    def __init__(self, loader: Loader, wraps_: Sequence[tuple[str, Any]]) -> None:
        self._loader = loader
        self._wraps = wraps_

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for path, wrap in self._wraps:
            *owners, name = path.split(".")
            owner: Any = module
            for each in owners:
                owner = getattr(owner, each)
            setattr(owner, name, wrap(getattr(owner, name)))


class _Finder(MetaPathFinder):
    """Finds the modules with something to wrap."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in WRAPPED:
            return None
        wrapped = WRAPPED.pop(name)
        spec = find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        spec.loader = _Wrapping(spec.loader, wrapped)
        return spec


if FOLDER:
    sys.meta_path.insert(0, _Finder())
