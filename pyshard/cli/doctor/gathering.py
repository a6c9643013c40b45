"""Gathers what `pyshard doctor` judges: asks all daemons, and looks at addresses, files and directories.

Rules:

- no daemon that is away keeps the others from being asked;
- everything ends by the deadline. What isn't done by then is left to threads that end with the process, and said;
- one that can't be reached has half of the time at the most, so that there is some left for the rest.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import attrs

from pyshard import __version__
from pyshard.blocking.connector import target_of_address
from pyshard.blocking.daemon_reports import daemon_reports, listed_moves
from pyshard.cli.common_options import Target
from pyshard.cli.doctor.address_probe import probe
from pyshard.cli.doctor.evidence import AddressEvidence, DaemonEvidence, Evidence, FileEvidence, daemon_evidence
from pyshard.cli.doctor.machine_look import (
    certificate_end,
    directory_evidence,
    secret_evidence,
    token_file_evidence,
)
from pyshard.clocks import steady_seconds, wall_seconds
from pyshard.errors import ConfigError, PyshardError
from pyshard.net.connection_parameters import ConnectionParameters
from pyshard.security.tls.config import Tls
from pyshard.security.token_file import VARIABLE

_T = TypeVar("_T")
_R = TypeVar("_R")

_AT_ONCE = 16  # addresses that are looked at at the same time
_LEAST = 0.2  # seconds that a step has, however late it is


def gathered(
    target: Target,
    environment: dict[str, str],
    secrets: Sequence[Path] = (),
    directories: Sequence[Path] = (),
    seconds: Callable[[], float] = steady_seconds,
) -> Evidence:
    """All that is known of a cluster and this machine.

    :param target: the cluster; its deadline is that of the whole.
    :param environment: names the token file where the target doesn't.
    :param secrets: further files of this machine with secrets.
    :param directories: data directories of this machine.
    :raises ConfigError: the options can't be used at all.
    """
    end = seconds() + target.deadline
    given = target.parameters()
    found = Evidence(
        wall_seconds(),
        __version__,
        files=_files(given, environment, secrets),
        directories=tuple(directory_evidence(path, seconds) for path in directories),
        tls=given.tls is not None,
    )
    if given.tls is not None and given.tls.certificate is not None:
        own = str(given.tls.certificate)
        found = attrs.evolve(found, own_certificate=own, own_certificate_end=certificate_end(Path(own)))
    found, addresses = _asked(found, target, given, lambda: max(_LEAST, end - seconds()))
    last = max(end, seconds() + _LEAST)
    return _looked_at(found, addresses, given.tls, lambda: last - seconds())


def _files(
    given: ConnectionParameters, environment: dict[str, str], secrets: Sequence[Path]
) -> tuple[FileEvidence, ...]:
    files = []
    tokens = environment.get(VARIABLE) if given.token_file is None else given.token_file
    if tokens:
        files.append(token_file_evidence(Path(tokens)))
    if given.tls is not None and given.tls.certificate is not None:
        files.append(secret_evidence("TLS key", Path(given.tls.key or given.tls.certificate)))
    return tuple(files) + tuple(secret_evidence("file", path) for path in secrets)


def _asked(
    found: Evidence, target: Target, given: ConnectionParameters, left: Callable[[], float]
) -> tuple[Evidence, list[tuple[AddressEvidence, int]]]:
    """What daemons tell, and the addresses that are to be looked at."""
    addresses = []
    for address in given.addresses:
        there = target_of_address(address)
        addresses.append((AddressEvidence(f"the bootstrap at {address}", there.host), there.port))
    with ExitStack() as closing:
        try:
            app = attrs.evolve(target, deadline=round(left() / 2, 1)).new_client(quiet=True)
            closing.callback(app.close)
            state, reports = daemon_reports(app, round(left() / 2, 1), wall_seconds)
        except PyshardError as error:
            return attrs.evolve(found, map_error=str(error)), addresses
        daemons: list[DaemonEvidence] = []
        for report in reports:
            daemons.append(daemon_evidence(report.name, report.own, report.stat, report.asked, report.answered))
            if report.own is not None:
                addresses.append((AddressEvidence(report.name, report.host), report.port))
        found = attrs.evolve(found, state=state, daemons=tuple(daemons))
        try:
            return attrs.evolve(found, moves=tuple(listed_moves(app, round(left() / 2, 1)))), addresses
        except PyshardError as error:
            return attrs.evolve(found, moves_error=str(error)), addresses


def _looked_at(
    found: Evidence, addresses: list[tuple[AddressEvidence, int]], tls: Tls | None, left: Callable[[], float]
) -> Evidence:
    """What the addresses stand for, and which certificates are shown there."""
    context: ssl.SSLContext | None = None
    if tls is not None:
        from pyshard.security.tls.ssl_context import dialing_context

        try:
            context = dialing_context(tls)
        except ConfigError:  # the client has said so already
            return attrs.evolve(found, unchecked=(*found.unchecked, "certificates"))

    def look(one: tuple[AddressEvidence, int]) -> AddressEvidence:
        return probe(*one, context, max(_LEAST, left()))

    done, undone = in_threads(look, addresses, left)
    late = tuple(f"the address of {one.name}" for one, _ in undone)
    return attrs.evolve(found, addresses=tuple(done), unchecked=(*found.unchecked, *late))


def in_threads(work: Callable[[_T], _R], given: Sequence[_T], left: Callable[[], float]) -> tuple[list[_R], list[_T]]:
    """Do some work for each of many, some at the same time.

    :param left: seconds that are left for all of it; nothing is begun, nor waited for, when there are none.
    :return: what was done, in the order given, and for which there was no time.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, _R]] = queue.SimpleQueue()
    for place in range(len(given)):
        waiting.put(place)

    def run() -> None:
        while left() > 0:
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return
            ended.put((place, work(given[place])))

    for _ in range(min(_AT_ONCE, len(given))):
        threading.Thread(target=run, daemon=True).start()
    done: dict[int, _R] = {}
    while len(done) < len(given):
        try:
            place, result = ended.get(timeout=max(0.0, left()))
        except queue.Empty:
            break
        done[place] = result
    return [done[place] for place in sorted(done)], [one for place, one in enumerate(given) if place not in done]
