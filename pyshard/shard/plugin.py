"""``twistd pyshard-shard``: its options, checked before twistd daemonizes, and the service that they make."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from pyshard.clocks import wall_seconds
from pyshard.errors import ConfigError
from pyshard.http.http_option import HTTP_OPTION, add_http, http_endpoint
from pyshard.net import client_endpoints
from pyshard.net.authenticating_endpoint import authenticated_dial
from pyshard.net.steady_clock import run_steadily
from pyshard.net.twisted_internals import poll_lightly
from pyshard.security import tls
from pyshard.security.file_change import Reload
from pyshard.security.private_files import open_to_others
from pyshard.security.token_file import TokenFile
from pyshard.server import daemon_log, daemon_options, daemon_tls_options, listen_address
from pyshard.server.daemon_command_line import DaemonCommandLine
from pyshard.server.daemon_service import DaemonService
from pyshard.server.file_limits import with_files
from pyshard.server.option_numbers import whole_number
from pyshard.server.pid_file import remove_stale
from pyshard.server.shard_addresses_option import ShardAddressesOption, dial_by
from pyshard.server.signals_and_exit import DaemonReactor, end
from pyshard.server.systemd_notify import systemd_notifier
from pyshard.server.twistd_file_options import twistd_files
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import DataDirectory, Durability, FollowedBound, IStore, MemoryStore
from pyshard.storage.memory.allocator_pools import pool_reader

_log = Logger()


class ShardOptions(DaemonCommandLine, ShardAddressesOption):
    """Command line of one shard."""

    command = "pyshard-shard"
    synopsis = "[options]"
    longdesc = (
        "Run one shard. It waits until a bootstrap configures it, then serves. Without --data-dir its documents are in "
        "memory and a restart loses them. "
        "Two daemons in one folder need a --pidfile each (an option of twistd itself, before the plugin's name)."
    )
    optParameters = [
        ["port", "p", settings.SHARD_PORT, "TCP port to listen on."],
        ["host", None, "127.0.0.1", "Name or IP address to listen on."],
        [
            "listen",
            "l",
            None,
            "HOST:PORT, or a Twisted server endpoint string, to listen on, in place of --host and --port.",
        ],
        ["data-dir", "d", None, "Directory that keeps the documents over a restart [default: memory]."],
        [
            "durability",
            None,
            None,
            "With --data-dir, when a change is acknowledged: fsync (it is on the disk), async (it will be within a "
            "second) or none (when the system likes) [default: fsync].",
        ],
        [
            "followed-log-size",
            None,
            settings.FOLLOWED_LOG_BYTES,
            "Bytes of changes that are kept for those who follow the shard: of its log, or of memory.",
        ],
        ["followed-log-seconds", None, int(settings.FOLLOWED_LOG_SECONDS), "How long such changes are kept."],
        [
            "slow-operation",
            None,
            round(1000 * settings.SLOW_OPERATION),
            "Milliseconds from which on an operation is slow, and has a line in the log; 0: none is.",
        ],
        daemon_options.TOKEN_FILE_OPTION,
        *daemon_options.CONNECTION_OPTIONS,
        HTTP_OPTION,
        *daemon_log.OPTIONS,
        *daemon_tls_options.OPTIONS,
    ]
    optFlags = [daemon_options.INSECURE_FLAG, daemon_tls_options.FLAG]

    def postOptions(self) -> None:
        """Check where to listen, before anything is started."""
        files = twistd_files(self.parent)
        remove_stale(files.pid)
        try:
            self["open log"] = daemon_log.chosen_log(self, files)
            if self["listen"] is None:
                self["listen"] = listen_address.listen_string(
                    self["host"], listen_address.port_number(self["port"], "--port")
                )
            else:
                self["listen"] = listen_address.listening(self["listen"])
            self["addresses"] = self.addresses()
            self["tls"] = daemon_tls_options.tls_files(self)
            self["tokens"] = daemon_options.token_file(self["token-file"], self["insecure"])
            self["connections"] = daemon_options.connection_limits(
                self["max-connections"], self["max-connections-per-address"], bool(self["tokens"])
            )
            self["http"] = http_endpoint(self)
            self["slow"] = whole_number(self["slow-operation"], "--slow-operation", 0) / 1000 or None
            self["store"] = self._store()
        except ConfigError as error:
            end(error)

    def _store(self) -> Callable[[Callable[..., object]], IStore]:
        """What opens the store later, given the reactor's callFromThread; the data directory is locked from now on."""
        given = self["durability"]
        modes = [mode.value for mode in Durability]
        if given is not None and given not in modes:
            raise ConfigError(f"--durability: found {given!r}, expected one of {', '.join(modes)}")
        bound = FollowedBound(
            whole_number(self["followed-log-size"], "--followed-log-size", 0),
            whole_number(self["followed-log-seconds"], "--followed-log-seconds", 0),
        )
        if self["data-dir"] is None:
            if given is not None:
                raise ConfigError("--durability: found it without --data-dir, expected both or neither")
            return lambda _: MemoryStore(
                uuid.uuid4().hex, wall_seconds, _spare_what_stays, bound=bound, pools=pool_reader()
            )
        from pyshard.storage import LmdbStore  # here, since a shard in memory has no use for it

        directory = DataDirectory(Path(self["data-dir"]).absolute())
        LmdbStore.check(directory, wall_seconds)
        if (self["tokens"] or self["tls"]) and (exposed := open_to_others(directory.path)):
            _log.warn("data directory {why}", why=exposed)
        durability = Durability(given or Durability.FSYNC.value)
        return lambda call_from_thread: LmdbStore(directory, wall_seconds, call_from_thread, durability, bound=bound)


def _spare_what_stays() -> None:
    """Have the garbage collector pass over what is there now, once it has looked for what is young and of no use."""
    gc.collect(1)
    gc.freeze()


#: The name that twistd looks for.
Options = ShardOptions


def makeService(options: ShardOptions) -> DaemonService:
    """The service that twistd runs."""
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    assert IReactorFromThreads.providedBy(reactor)
    run_steadily(reactor)
    poll_lightly(reactor)
    reloads: list[Reload] = []
    try:
        endpoint = daemon_tls_options.listening(reactor, options, reloads)
        plain = client_endpoints.dial_with(reactor, reactor)
        # Its files are read again when they have changed. That the listener does so is said once.
        dial = plain if options["tls"] is None else tls.dialing(plain, options["tls"], reactor)
        log = options["open log"]() if options["open log"] else None
    except ConfigError as error:
        end(error)

    def open_shard() -> Shard:
        store = options["store"](reactor.callFromThread)
        try:
            return Shard(store, reactor.seconds)
        except ConfigError as error:
            end(error)

    tokens: TokenFile | None = options["tokens"]
    service = ShardService(
        open_shard,
        reactor,
        endpoint,
        tokens.current if tokens else None,
        with_files(options["connections"]),
        authenticated_dial(dial_by(options["addresses"], dial), tokens.admin_secret if tokens else None),
        slow=options["slow"],
    )
    try:
        add_http(service, service, reactor, options)
    except ConfigError as error:
        end(error)
    reload = [*reloads, *([tokens.reload] if tokens else [])]
    notifier = systemd_notifier(os.environ, os.getpid(), reactor)
    return DaemonService(cast("DaemonReactor", reactor), service, log, reload, notifier)
