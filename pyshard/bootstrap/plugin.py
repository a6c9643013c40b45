"""``twistd pyshard-bootstrap``: its options, checked before twistd daemonizes, and the service that they make."""

from __future__ import annotations

import os
import uuid
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool

from pyshard.bootstrap import state_file, state_options
from pyshard.bootstrap.bootstrap import Bootstrap, first_state
from pyshard.bootstrap.opened_state import open_file, warn_when_known
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.state_store import StateStore
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.http.http_option import HTTP_OPTION, add_http, http_endpoint
from pyshard.model import config_file
from pyshard.net import client_endpoints
from pyshard.net.authenticating_endpoint import authenticated_dial
from pyshard.net.steady_clock import run_steadily
from pyshard.net.twisted_internals import poll_lightly
from pyshard.security import tls
from pyshard.security.file_change import Reload
from pyshard.security.token_file import TokenFile
from pyshard.server import daemon_log, daemon_options, daemon_tls_options, listen_address
from pyshard.server.daemon_command_line import DaemonCommandLine
from pyshard.server.daemon_service import DaemonService
from pyshard.server.file_limits import with_files
from pyshard.server.pid_file import remove_stale
from pyshard.server.shard_addresses_option import ShardAddressesOption
from pyshard.server.signals_and_exit import DaemonReactor, end
from pyshard.server.systemd_notify import systemd_notifier
from pyshard.server.twistd_file_options import twistd_files

if TYPE_CHECKING:
    from pyshard.http.token_guard import TokenGuard
    from pyshard.http.web_page import Root


class BootstrapOptions(DaemonCommandLine, ShardAddressesOption):
    """Command line of the bootstrap."""

    command = "pyshard-bootstrap"
    synopsis = "--config FILE [options]"
    longdesc = (
        "Run the bootstrap: configure the shards of a config file, keep them configured, and tell clients the map. "
        "Two daemons in one folder need a --pidfile each (an option of twistd itself, before the plugin's name)."
    )
    optParameters = [
        ["config", "c", None, "The cluster's config file, such as share/pyshard/shards.json of pyshard's environment."],
        *state_options.OPTIONS,
        [
            "listen",
            "l",
            None,
            "HOST:PORT, or a Twisted server endpoint string, to listen on [default: the config file's 'bootstrap'].",
        ],
        daemon_options.TOKEN_FILE_OPTION,
        *daemon_options.CONNECTION_OPTIONS,
        HTTP_OPTION,
        *daemon_log.OPTIONS,
        *daemon_tls_options.OPTIONS,
    ]
    optFlags = [daemon_options.INSECURE_FLAG, daemon_tls_options.FLAG]

    def postOptions(self) -> None:
        """Read the config file and the state, and check where to listen, before anything is started."""
        files = twistd_files(self.parent)
        remove_stale(files.pid)
        try:
            self["open log"] = daemon_log.chosen_log(self, files)
            if self["config"] is None:
                raise ConfigError(
                    "--config: found nothing, expected the cluster's config file, such as "
                    "share/pyshard/shards.json of pyshard's environment"
                )
            path = Path(self["config"]).absolute()
            cluster = config_file.load(self["config"])
            self["state"] = place = state_options.place_of_options(self, state_file.default_path(path))
            self["addresses"] = self.addresses()
            if self["listen"] is not None:
                self["listen"] = listen_address.listening(self["listen"])
            elif cluster.bootstrap_listen:
                self["listen"] = listen_address.listening(cluster.bootstrap_listen, "bootstrap.listen")
            else:
                self["listen"] = listen_address.listen_string(cluster.bootstrap_host, cluster.bootstrap_port)
            self["tls"] = daemon_tls_options.tls_files(self)
            self["tokens"] = daemon_options.token_file(self["token-file"], self["insecure"])
            self["connections"] = daemon_options.connection_limits(
                self["max-connections"], self["max-connections-per-address"], bool(self["tokens"])
            )
            self["http"] = http_endpoint(self)
            # Last: a bootstrap that can't listen, since one runs already, has no business with the state's file.
            self["configured"], self["config path"] = cluster.map, path
            self["first state"] = partial(first_state, uuid.uuid4().hex, cluster.map)
            self["state store"] = self["stored state"] = None
            if isinstance(place.address, Path):
                self["state store"], self["stored state"] = open_file(place.address, cluster.map, path)
        except (ConfigError, OutcomeUnknown) as error:
            end(error)


#: The name that twistd looks for.
Options = BootstrapOptions


def makeService(options: BootstrapOptions) -> DaemonService:
    """The service that twistd runs."""
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    assert IReactorThreads.providedBy(reactor)
    run_steadily(reactor)
    poll_lightly(reactor)
    reloads: list[Reload] = []
    try:
        endpoint = daemon_tls_options.listening(reactor, options, reloads)
        plain = client_endpoints.dial_with(reactor, reactor)
        dial = plain if options["tls"] is None else tls.dialing(plain, options["tls"], reactor, reloads=reloads)
        log = options["open log"]() if options["open log"] else None
        store: StateStore = options["state store"] or state_options.open_etcd(options["state"], reactor, reloads)
    except ConfigError as error:
        end(error)
    if isinstance(store, FileStateStore):
        store.work_in(lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work))
    bootstrap = Bootstrap(store, reactor, uuid.uuid4().hex, options["stored state"])
    if store.shared:
        warn_when_known(bootstrap, options["configured"], options["config path"])
    tokens: TokenFile | None = options["tokens"]
    dial = authenticated_dial(dial, tokens.admin_secret if tokens else None)
    service = BootstrapService(
        bootstrap,
        reactor,
        endpoint,
        dial,
        Random(),
        tokens.current if tokens else None,
        with_files(options["connections"]),
        options["addresses"],
        options["first state"] if store.shared else None,
    )

    def add_pages(root: Root, guard: TokenGuard) -> None:
        from pyshard.bootstrap.status_page.status_pages import add_status_pages

        add_status_pages(root, guard, service, reactor)

    try:
        add_http(service, service, reactor, options, add_pages)
    except ConfigError as error:
        end(error)
    reload = [*reloads, *([tokens.reload] if tokens else [])]
    notifier = systemd_notifier(os.environ, os.getpid(), reactor)
    return DaemonService(cast("DaemonReactor", reactor), service, log, reload, notifier)
