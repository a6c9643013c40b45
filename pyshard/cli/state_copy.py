"""The subcommand `state`: shows where a cluster's state is kept, and copies it to another place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_copying import copy_state
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_options import StatePlace, open_etcd, state_place
from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.state_address import ETCD, EtcdAddress
from pyshard.bootstrap.state_stores.state_store import NOTHING, StoredState
from pyshard.cli import deferred_call
from pyshard.cli.common_options import refuse_outer
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.json_output import json_option, put_json_text
from pyshard.cli.standard_output import put, put_all
from pyshard.errors import ConfigError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _etcd_options(function: _Function) -> _Function:
    """Add the options with which etcd is reached, as `twistd pyshard-bootstrap` has them."""
    for option, text in (
        ("--state-credentials", "With etcd, the file with the line USER:PASSWORD."),
        ("--state-tls-key", "With --state-tls-certificate, its private key, unless that file has it."),
        ("--state-tls-certificate", "With --state-tls-ca, the certificate that etcd is shown."),
        ("--state-tls-ca", "Speak TLS to etcd: the authority from which it must have its certificate."),
    ):
        click.option(option, type=click.Path(), metavar="FILE", help=text)(function)
    return function


@click.group(no_args_is_help=False)
def state() -> None:
    """Show or copy the state of a cluster, where it is kept.

    The bootstrap keeps it in a file, or in etcd (the documentation, "Where the cluster's state is kept").
    """


@state.command()
@click.argument("place")
@_etcd_options
@json_option
@click.pass_context
def show(context: click.Context, /, place: str, as_json: bool, **etcd: str | None) -> None:
    """Show the state that is kept at PLACE, a file, or etcd://HOST:PORT,HOST:PORT/PREFIX.

    With --json it is printed as it is. The exit code is 1 when there is none.

    \b
    Examples:
      pyshard state show shards.state
      pyshard state show etcd://h1:2379,h2:2379,h3:2379/pyshard --json
    """
    refuse_outer(context)
    at = _place(place, etcd)
    found = deferred_call.run(lambda reactor: _read(at, reactor))
    if found is None:
        raise CommandFailed(f"{place}: there is no state", ExitCode.NEGATIVE)
    if as_json:
        put_json_text(to_json(found.state))
    else:
        put_all(_described(found))


@state.command()
@click.argument("source")
@click.argument("target")
@click.option("--overwrite", is_flag=True, help="Replace the state of another cluster, or a newer one.")
@_etcd_options
@click.pass_context
def copy(context: click.Context, /, source: str, target: str, overwrite: bool, **etcd: str | None) -> None:
    """Copy the state at SOURCE to TARGET, each of them a file, or etcd://HOST:PORT,HOST:PORT/PREFIX.

    End the bootstraps before, and start them with the new place behind --state. A target that has a newer state, or
    that of another cluster, is left alone.

    \b
    Examples:
      pyshard state copy shards.state etcd://h1:2379,h2:2379,h3:2379/pyshard
      pyshard state copy etcd://h1:2379,h2:2379,h3:2379/pyshard backup.state
    """
    refuse_outer(context)
    places = _place(source, etcd), _place(target, etcd)
    if places[0].address == places[1].address:
        raise click.UsageError("SOURCE and TARGET are the same place")
    with _held(places[0]):
        copied = deferred_call.run(lambda reactor: _copied(places[0], places[1], overwrite, reactor))
    if copied is None:
        raise CommandFailed(f"{source}: there is no state", ExitCode.NEGATIVE)
    put(copied)


# ---------------------------------------------------------------------- inside


def _place(text: str, etcd: Mapping[str, str | None]) -> StatePlace:
    """A place with the options of etcd, which mean nothing to a file."""
    names = ("state_tls_ca", "state_tls_certificate", "state_tls_key", "state_credentials")
    given = [etcd[name] for name in names] if text.startswith(ETCD) else []
    return state_place(text, *given)


@contextmanager
def _held(place: StatePlace) -> Iterator[None]:
    """Have no bootstrap use a file, if it is one that is there, or can be.

    :raises ConfigError: one does.
    """
    if isinstance(place.address, EtcdAddress) or not place.address.exists():
        yield
        return
    with StateLock(place.address):
        yield


async def _read(place: StatePlace, reactor: IReactorTime) -> StoredState | None:
    if isinstance(place.address, Path):
        found = state_file.load(place.address)
        return None if found is None else StoredState(found, NOTHING)
    store = open_etcd(place, reactor)
    try:
        return await store.get()
    finally:
        await store.close()


async def _copied(source: StatePlace, target: StatePlace, overwrite: bool, reactor: IReactorTime) -> str | None:
    """What was copied, in one line; None: there is nothing."""
    found = await _read(source, reactor)
    if found is None:
        return None
    if isinstance(target.address, Path):
        store: FileStateStore | EtcdStateStore = FileStateStore(StateLock(target.address))
    else:
        store = open_etcd(target, reactor)
    try:
        news = await copy_state(found.state, store, overwrite, reactor)
    except ConfigError as error:
        raise CommandFailed(str(error), ExitCode.REFUSED) from None
    finally:
        await maybeDeferred(store.close)
    return f"{store.name}: {'' if news else 'it has it already: '}{_summary(found.state)}"


def _summary(state: ClusterState) -> str:
    return f"cluster {state.cluster}, {state.shown_order}"


def _described(found: StoredState) -> list[str]:
    state = found.state
    lines = [
        f"cluster  {state.cluster}",
        f"state    {state.shown_order}",
        f"shards   {len(state.map.shards)}",
        f"indexes  {len(state.indexes)}",
        f"moves    {len(state.moves)}",
    ]
    return [*lines, *([f"written  {found.write}"] if found.write else [])]
