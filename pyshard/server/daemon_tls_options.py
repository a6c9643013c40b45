"""What the options of both daemons say of TLS, and the endpoint that comes of it.

Like `pyshard.server.daemon_options` it does its work before twistd daemonizes, so that a mistake reaches the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from pyshard.errors import ConfigError
from pyshard.security import tls
from pyshard.security.file_change import Reload
from pyshard.security.tls import Tls
from pyshard.server.listen_address import check_reach, server_endpoint

#: The options of both daemons about TLS.
OPTIONS: list[list[object]] = [
    [
        "tls-ca",
        None,
        None,
        "Speak TLS: file with the authority's certificate from which peers must have theirs; see the documentation, "
        '"TLS" [default: plain TCP].',
    ],
    ["tls-certificate", None, None, "With --tls-ca, file with this daemon's certificate."],
    [
        "tls-key",
        None,
        None,
        "With --tls-ca, file with its private key [default: the certificate's file].",
    ],
]
FLAG: list[object] = ["tls-any-client", None, "With --tls-ca, take clients without a certificate, too."]


def secures_itself(description: str) -> bool:
    """Whether a Twisted server endpoint string is one of TLS."""
    return description.partition(":")[0] in ("ssl", "tls")


def tls_files(options: Mapping[str, Any]) -> Tls | None:
    """What a daemon's options say of TLS. A daemon also dials shards, for which it needs no certificate of its own.

    :param options: of the command line; ``listen`` is known.
    :raises ConfigError: they lack something, or contradict each other.
    """
    certificate = options["tls-certificate"]
    found = tls.from_options(options["tls-ca"], certificate, options["tls-key"], "--tls-ca")
    if found is None:
        if options["tls-any-client"]:
            raise ConfigError("--tls-any-client: found it without --tls-ca, expected both or neither")
    elif secures_itself(options["listen"]):
        if options["tls-any-client"]:
            raise ConfigError(
                f"--tls-any-client: found it with --listen {options['listen']}, which takes any client by itself"
            )
    else:
        checked_files(found)
    return found


def checked_files(files: Tls | None) -> Tls | None:
    """The files of a daemon that listens with TLS.

    :raises ConfigError: there is no certificate, or a file can't be used.
    """
    if files is not None:
        if files.certificate is None:
            raise ConfigError("--tls-certificate: found nothing beside --tls-ca, expected the daemon's certificate")
        tls.check(files)
    return files


def listening(
    reactor: IReactorTime, options: Mapping[str, Any], reloads: list[Reload] | None = None
) -> IStreamServerEndpoint:
    """The endpoint on which a daemon listens.

    :param options: checked ones, with ``tls`` and ``tokens``.
    :param reloads: gets what reads certificates again.
    :raises ConfigError: it can't be had, or may not be used without tokens or clients' certificates.
    """
    where, files, any_client = options["listen"], options["tls"], options["tls-any-client"]
    endpoint = server_endpoint(reactor, where)
    if files is None or secures_itself(where):
        check_reach(where, bool(options["tokens"] or options["insecure"]))
        return endpoint
    check_reach(where, bool(options["tokens"] or options["insecure"] or (files.private and not any_client)))
    return tls.listening(endpoint, files, any_client, reactor, reloads=reloads)
