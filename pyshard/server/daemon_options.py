"""What the options of both daemons share: where to listen, for whom and how many; or else to end with one line.

Everything here runs before twistd daemonizes, so that a mistake reaches the terminal and the exit code.
"""

from __future__ import annotations

import ipaddress
import re
import resource
import signal
import socket
from collections.abc import Callable
from typing import NoReturn, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from pyshard.errors import ConfigError
from pyshard.security.token_file import TokenFile, daemon_token_file
from pyshard.server.admission import ConnectionLimits
from pyshard.settings import settings

_log = Logger()


def end(error: ConfigError) -> NoReturn:
    """End the process with an error's line on standard error and exit code 1."""
    raise SystemExit(f"pyshard: {error}")


class DaemonReactor(Protocol):
    """What `OrderlyExit` needs of a reactor."""

    def callWhenRunning(self, function: Callable[[], object]) -> object: ...
    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> object: ...
    def callFromThread(self, function: Callable[..., object], *arguments: object) -> object: ...
    def stop(self) -> None: ...


class OrderlyExit(Service):
    """Has SIGTERM and SIGINT stop the reactor, and the process then end with exit code 0.

    Twisted's own handlers stop the reactor too, but then end the process by the signal, which supervisors take for a
    failure, and stop it once more at a second signal. Here a second one changes nothing: stopping has its own bounds.

    :param reactor: the one that twistd runs.
    """

    _log = Logger()

    def __init__(self, reactor: DaemonReactor) -> None:
        self._reactor = reactor
        self._stopping = False

    def startService(self) -> None:
        super().startService()
        # In the reactor's first turn: its own handlers are there by then.
        self._reactor.callWhenRunning(lambda: self._reactor.callLater(0, self._install))

    def handle(self, number: int, frame: object) -> None:
        """The signals' handler."""
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)

    def _stop(self, name: str) -> None:
        if not self._stopping:
            self._stopping = True
            self._log.info("Received {name}, shutting down.", name=name)
            self._reactor.stop()


def port_number(given: object, option: str) -> int:
    """The port that an option gives.

    :raises ConfigError: it names the option, what was found and what was expected.
    """
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ConfigError(f"{option}: found {text!r}, expected a port from 1 to 65535")
    return int(text)


def listen_string(host: str, port: int) -> str:
    """The Twisted server endpoint string for a host (a name or an address of this machine) and port.

    :raises ConfigError: the host is no address of this machine, or the port is in use.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:  # ValueError: IDNA can't encode it, or it has a NUL
        reason = error.strerror if isinstance(error, OSError) else "not a name"
        raise ConfigError(f"can't listen on {host}:{port}: {host!r} has no address ({reason})") from None
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise ConfigError(
                f"can't listen on {host}:{port}: {(error.strerror or str(error)).lower()}; "
                "stop what listens there, or choose another port"
            ) from None
    kind = "tcp6" if family == socket.AF_INET6 else "tcp"
    return f"{kind}:port={port}:interface={str(address[0]).replace(':', chr(92) + ':')}"


def check_listen(description: str) -> None:
    """Refuse a TCP server endpoint string whose port is in use; others show when they are listened on.

    :raises ConfigError: in one line.
    """
    kind, *rest = re.split(r"(?<!\\):", description)
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    plain = [part for part in rest if "=" not in part]
    port = named.get("port", plain[0] if plain else "")
    if kind in ("tcp", "tcp6", "ssl") and port.isdigit() and int(port):
        interface = named.get("interface", "").replace("\\:", ":") or ("::" if kind == "tcp6" else "0.0.0.0")
        listen_string(interface, port_number(port, "--listen"))


def is_local(description: str) -> bool:
    """Whether only this machine's own processes can reach what listens on a Twisted server endpoint string.

    What isn't known for certain counts as reachable.
    """
    kind, *rest = re.split(r"(?<!\\):", description)
    if kind == "unix":
        return True
    if kind not in ("tcp", "tcp6", "ssl"):
        return False
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    plain = [part for part in rest if "=" not in part]
    behind = 1 if "port" not in named else 0
    places = plain[behind:] if kind != "ssl" else []  # an interface by its place
    interface = named.get("interface", places[0] if places else "").replace("\\:", ":")
    if interface == "localhost":
        return True
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False


def check_reach(description: str, guarded: bool) -> None:
    """Refuse to listen where others than this machine's processes can connect and do everything.

    :param description: a Twisted server endpoint string.
    :param guarded: whether peers need tokens or certificates, or the operator wants it so.
    :raises ConfigError: in one line.
    """
    if not guarded and not is_local(description):
        raise ConfigError(
            f"found {description!r}, on which others than this machine could connect, and no token file; expected "
            "--token-file FILE ('pyshard token' makes tokens), --tls-ca FILE (docs/tls.md), an address of this machine "
            "alone such as 127.0.0.1, or --insecure"
        )


def token_file(given: str | None, insecure: bool) -> TokenFile | None:
    """The token file that an option gives.

    :raises ConfigError: it can't be used, or --insecure contradicts it.
    """
    if given is None:
        return None
    if insecure:
        raise ConfigError("--insecure: found it with --token-file, expected one of the two")
    return daemon_token_file(given)


#: The options of both daemons about tokens.
TOKEN_FILE_OPTION: list[object] = [
    "token-file",
    "t",
    None,
    "File with the tokens that peers must present, the same for all daemons of a cluster; see SECURITY.md "
    "[default: whoever can connect may do everything].",
]
INSECURE_FLAG: list[object] = ["insecure", None, "Listen without a token file where others can connect."]

#: The options of both daemons about connections.
CONNECTION_OPTIONS: list[list[object]] = [
    ["max-connections", None, settings.MAX_CONNECTIONS, "Connections that are served at the same time."],
    [
        "max-connections-per-address",
        None,
        settings.MAX_CONNECTIONS_PER_ADDRESS,
        "Connections from one address (of IPv6: from one network of 64 bits) at the same time.",
    ],
]


def connection_limits(total: object, address: object, guarded: bool) -> ConnectionLimits:
    """The limits that the options give.

    :param total: what --max-connections gives.
    :param address: what --max-connections-per-address gives.
    :param guarded: whether there are tokens; without, nobody is a stranger.
    :raises ConfigError: an option is no such number.
    """
    limits = ConnectionLimits(
        _connections(total, "--max-connections"), _connections(address, "--max-connections-per-address")
    )
    if not guarded:
        limits = attrs.evolve(limits, strangers=0)
    return limits


def with_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Have this process be allowed the files that some limits need; lower limits where the system doesn't let it."""
    lower = limits.within(_allow_files(limits.files))
    if lower != limits:
        _log.warn(
            "this process may not have the {files:,} files open that {wanted:,} connections need: it serves "
            "{served:,}; raise the limit (ulimit -n), or give it a lower --max-connections",
            files=limits.files,
            wanted=limits.total,
            served=lower.total,
        )
    return lower


def _connections(given: object, option: str) -> int:
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text)):
        raise ConfigError(f"{option}: found {text!r}, expected a number from 1 to 9999999")
    return int(text)


def _allow_files(wanted: int) -> int:
    """Raise the number of files that this process may have open, where it is lower; what it may have then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the one that it tells
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft


def _backlog(description: str) -> str:
    """What lets the system keep more connections than Twisted's 50 for a daemon that is busy when many come at once."""
    kind, *rest = re.split(r"(?<!\\):", description)
    if kind not in ("tcp", "tcp6", "ssl") or not rest or any(part.startswith("backlog=") for part in rest):
        return ""
    return f":backlog={settings.LISTEN_BACKLOG}"


def server_endpoint(reactor: object, description: str) -> IStreamServerEndpoint:
    """The endpoint of a Twisted server endpoint string.

    :raises ConfigError: it is none.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description + _backlog(description))
    except (ImportError, NameError):  # what Twisted's TLS endpoints raise without pyOpenSSL
        raise ConfigError(
            f"--listen: found {description!r}, but TLS isn't installed; expected pip install 'pyshard[tls]' before"
        ) from None
    except Exception as error:  # noqa: BLE001  # each kind of endpoint has a parser of its own, which raises anything
        raise ConfigError(
            f"--listen: found {description!r}, expected a Twisted server endpoint string such as "
            f"'tcp:5050:interface=127.0.0.1' ({error})"
        ) from None
    return endpoint
