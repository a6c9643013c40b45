"""The options that subcommands share: which cluster and index to work on, and how to connect.

Rules:

- ``--bootstrap``, ``--index``, ``--deadline``, ``--token-file``, ``--tls-…`` and ``--address`` can stand before the
  subcommand and behind it; behind it wins;
- an option before a subcommand for which it means nothing is refused;
- an address as a URL is taken apart here. What both the URL and an option say must be the same, or it is refused;
  only ``--index`` may differ from the URL's index, and wins;
- a word that begins with ``-`` is a negative number or a known option, or stands behind ``--``; else it is refused.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import attrs
import click
from click.core import ParameterSource

from pyshard.blocking import Pyshard
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.cli.shared_clients import SharedClients, outer_options, shared_by
from pyshard.cli.unreached_daemons import UnreachedDaemons
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.errors import ConfigError
from pyshard.model import address_mapping
from pyshard.model.address_mapping import mapping_in
from pyshard.net import address_parsing
from pyshard.net.connection_parameters import ConnectionParameters, connection_parameters, one_of, url_in
from pyshard.security import tls, token_file
from pyshard.security.tls import Tls
from pyshard.security.tls.config import CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE
from pyshard.settings import settings

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: The environment variable that holds the bootstrap's address.
BOOTSTRAP_VARIABLE = "PYSHARD_BOOTSTRAP"

_TLS = ("tls_ca", "tls_certificate", "tls_key")
_COMMON = ("bootstrap", "index", "deadline", "token_file", *_TLS, "address")
_NEGATIVE = re.compile(r"-(\.?\d.*|Infinity)")
_LONGEST_DEADLINE = 86_400


@attrs.frozen
class Target:
    """The cluster and index that a subcommand works on.

    :param bootstrap: the bootstrap's address, or several with commas between; None for the default one.
    :param index: the index's name; None for the default one.
    :param deadline: seconds that connecting, and each operation, may take.
    :param token_file: the client's token file; None: the one that the environment names, if any.
    :param tls: the client's files of TLS; None: those that the environment names, if any.
    :param addresses: where to dial shards in place of where the map says; None: what the environment says.
    :param read_from: where it reads; None: at primaries.
    :param clients: those of a shell, which are used again; None: there is no shell.
    """

    bootstrap: str | None
    index: str | None
    deadline: float
    token_file: str | None = None
    tls: Tls | None = None
    addresses: Mapping[str, str] | None = None
    read_from: ReadFrom | None = None
    clients: SharedClients | None = attrs.field(default=None, eq=False)

    def reading_from(self, read_from: ReadFrom | None) -> Target:
        """The same, read where an option says; None: it says nothing. A URL that says something else is refused."""
        return attrs.evolve(self, read_from=one_of("read_from", self.read_from, read_from))

    def connect(self) -> AbstractContextManager[Pyshard]:
        """A client of the cluster, for a block: it is closed at the end, unless a shell's commands share it."""
        return self.new_client() if self.clients is None else nullcontext(self.clients.client(self))

    def new_client(self, quiet: bool = False) -> Pyshard:
        """A client of the cluster. Whom it can't reach is told soon, unless `quiet`, and tried until the deadline."""
        told = None if quiet else UnreachedDaemons(self.deadline).add
        return over(Connector(self.parameters(), on_failure=told), at_once=True)

    def parameters(self) -> ConnectionParameters:
        """What a client of the cluster connects with.

        :raises ConfigError: it can't be used.
        """
        return connection_parameters(
            self.bootstrap,
            deadline=self.deadline,
            token_file=self.token_file,
            tls=self.tls,
            addresses=self.addresses,
            read_from=self.read_from,
        )


def known_indexes(ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """The indexes that begin so, in a shell that knows them."""
    shared = shared_by(ctx)
    return [] if shared is None or shared.names is None else shared.names.indexes(start)


def known_keys(ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """The keys that begin so, in a shell that knows them."""
    shared = shared_by(ctx)
    if shared is None or shared.names is None:
        return []
    return shared.names.keys(given_options(ctx)["index"], start)


class VerbCommand(click.Command):
    """A subcommand whose arguments may be negative numbers: ``pyshard write balance -5`` needs no ``--``."""

    ignore_unknown_options = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown option that stands before any ``--`` is refused."""
        positional = args[args.index("--") :] if "--" in args else []
        rest = super().parse_args(ctx, args)
        for param in self.params:
            if not isinstance(param, click.Argument) or not param.name:
                continue
            value = ctx.params.get(param.name)
            if isinstance(value, str) and re.match("-.", value) and not _NEGATIVE.fullmatch(value):
                if value in positional:
                    continue
                raise click.NoSuchOption(value, ctx=ctx)
        return rest


def _addresses(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    if not value:
        return None
    given = value[0] if len(value) == 1 else ",".join(value)
    try:
        if url_in(value) is None:
            address_parsing.parse_all(given)
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return given


def _mapping(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Mapping[str, str] | None:
    try:
        return mapping_in(value).texts if value else None
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and (math.isnan(value) or not 0 < value <= _LONGEST_DEADLINE):
        raise click.BadParameter(
            f"found {value:g}, expected seconds, above 0 and at most {_LONGEST_DEADLINE:,}", ctx, param
        )
    return value


def common_options(
    index: bool = True, deadline: float = settings.DEADLINE, variable: str | None = None
) -> Callable[[_Function], _Function]:
    """Add the shared options to a command.

    :param index: whether ``--index`` is one of them.
    :param deadline: the default in seconds, for the help.
    :param variable: the environment variable that gives the bootstrap's address.
    """
    host, port = settings.BOOTSTRAP_SERVER
    help_bootstrap = (
        "The address of the bootstrap, a Twisted client endpoint string, or a URL "
        "pyshard://HOST:PORT/INDEX?token_file=FILE. Can be given several times, or with commas between; the address of "
        "a shard will do, too, but not to change indexes or ranges. The first server that answers is used."
    )
    default_bootstrap = f"[env var: {BOOTSTRAP_VARIABLE}; default: {host}:{port}]"

    def add(function: _Function) -> _Function:
        click.option(
            "--address",
            multiple=True,
            callback=_mapping,
            metavar="HOST:PORT=HOST:PORT",
            help="A shard's address in the map, and where to dial it from here, for a cluster behind NAT or in a "
            f"container's network. Can be given several times.  [env var: {address_mapping.VARIABLE}]",
        )(function)
        click.option(
            "--token-file",
            type=click.Path(),
            metavar="FILE",
            help=f"The file with the token, for a cluster that requires one.  [env var: {token_file.VARIABLE}]",
        )(function)
        tls_options(environment=True)(function)
        click.option(
            "--deadline",
            type=float,
            callback=_seconds,
            metavar="SECONDS",
            help=f"How long each operation may take.  [default: {deadline:g}]",
        )(function)
        if index:
            help_index = "The index to work on.  [default: the default index]"
            click.option("--index", metavar="NAME", help=help_index, shell_complete=known_indexes)(function)
        click.option(
            "--bootstrap",
            envvar=variable,
            multiple=True,
            callback=_addresses,
            metavar="HOST:PORT",
            help=f"{help_bootstrap}  {default_bootstrap}",
        )(function)
        return function

    return add


def tls_options(environment: bool) -> Callable[[_Function], _Function]:
    """Add the options of TLS to a command.

    :param environment: whether the help names the environment variables that say the same.
    """

    def shown(text: str, variable: str) -> str:
        return f"{text}  [env var: {variable}]" if environment else text

    def add(function: _Function) -> _Function:
        for option, text, variable in (
            ("--tls-key", "With --tls-certificate, its private key, unless that file has it.", KEY_VARIABLE),
            ("--tls-certificate", "With --tls-ca, the certificate to show.", CERTIFICATE_VARIABLE),
            (
                "--tls-ca",
                "Use TLS: the authority that must have signed the other side's certificate.",
                CA_VARIABLE,
            ),
        ):
            click.option(option, type=click.Path(), metavar="FILE", help=shown(text, variable))(function)
        return function

    return add


def files_of(ca: str | None, certificate: str | None, key: str | None) -> Tls | None:
    """The files of TLS by the options, and by the environment where an option is missing.

    :return: None when no option was given: the client reads the environment itself then.
    :raises ConfigError: a certificate or key is given, and no authority.
    """
    given = (ca, certificate, key)
    if given == (None, None, None):
        return None
    variables = (CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE)
    found = [
        os.environ.get(variable) if option is None else option
        for option, variable in zip(given, variables, strict=True)
    ]
    return tls.from_options(found[0], found[1], found[2], "--tls-ca")


def on_cluster(index: bool = True, deadline: float = settings.DEADLINE) -> Callable[[Callable[..., None]], Any]:
    """Add the shared options to a subcommand, whose first argument is then its `Target`.

    :param index: whether the subcommand works on one index.
    :param deadline: in seconds, when no option gives it.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def with_target(**given: Any) -> None:
            context = click.get_current_context()
            if not index:
                refuse_outer(context, "index")
            chosen = given_options(context)
            for name in _COMMON:
                given.pop(name, None)
            files = files_of(*(chosen.pop(name) for name in _TLS))
            addresses = chosen.pop("address")
            target = target_of(**chosen, files=files, addresses=addresses, default_deadline=deadline)
            shared = shared_by(context)
            if shared is not None:
                target = attrs.evolve(target, clients=shared)
                if shared.names is not None and "key" in given:
                    shared.names.saw(target.index, given["key"])
            function(target, **given)

        return common_options(index, deadline)(with_target)

    return decorate


def given_options(context: click.Context) -> dict[str, Any]:
    """The shared options of a subcommand, by the names of their parameters; None: not given.

    Those behind it count first, then those before it, then those of its shell.
    """
    outer = outer_options(context)
    own = {name: context.params.get(name) for name in _COMMON}
    return {name: outer.get(name) if value is None else value for name, value in own.items()}


def target_of(
    bootstrap: str | None,
    index: str | None,
    deadline: float | None,
    token_file: str | None,
    files: Tls | None,
    addresses: Mapping[str, str] | None,
    default_deadline: float,
) -> Target:
    """The target that the options say; an address as a URL is taken apart.

    :param files: those of TLS.
    :param addresses: where to dial shards in place of where the map says.
    :param default_deadline: in seconds, where neither an option nor the URL says one.
    :raises ConfigError: an option and the URL contradict each other.
    """
    url = url_in(bootstrap)
    if url is None:
        seconds = default_deadline if deadline is None else deadline
        return Target(bootstrap, index, seconds, token_file, files, addresses)
    if deadline is None and url.deadline is None:
        deadline = default_deadline
    settled = connection_parameters(bootstrap, deadline=deadline, token_file=token_file, tls=files, addresses=addresses)
    return Target(
        bootstrap=",".join(map(str, settled.addresses)),
        index=index or settled.index or None,
        deadline=settled.deadline,
        token_file=None if settled.token_file is None else str(settled.token_file),
        tls=settled.tls,
        addresses=settled.address_mapping.texts,
        read_from=url.read_from,
    )


def refuse_outer(context: click.Context, *names: str) -> None:
    """Refuse options that stand before a subcommand for which they mean nothing.

    :param names: of the options' parameters; none: all shared options.
    :raises click.UsageError: one of them was given.
    """
    root = context.find_root()
    for name in names or _COMMON:
        if root.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} means nothing to {context.info_name!r}", context)
