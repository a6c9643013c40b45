"""Where a daemon listens: host and port, or a Twisted server endpoint string; checked before twistd daemonizes.

Rules:

- ``HOST:PORT`` and an endpoint string may stand for one another, wherever somebody says where to listen (`listening`).

- A port in use is refused at once, in one line.
- Without tokens or clients' certificates a daemon listens only where this machine's own processes can connect, unless
  the operator says ``--insecure``. What isn't known for certain counts as reachable from elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from pyshard.errors import ConfigError
from pyshard.model.address_text import split_endpoint, split_listening
from pyshard.net.ipv6_zones import numeric_host, with_zone_number
from pyshard.security import tls
from pyshard.server.tls_listen_string import is_tls_listen_string, tls_listen_string
from pyshard.settings import settings

#: Kinds of endpoint strings that listen on a TCP port.
_TCP = ("tcp", "tcp6", "ssl")

#: All interfaces: of IPv4, and of IPv6.
_EVERYWHERE = ("0.0.0.0", "::")


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
    family, address = _look_up(host, port)
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
    return f"{kind}:port={port}:interface={numeric_host(address).replace(':', chr(92) + ':')}"


def _look_up(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """The address of a host on which to listen, one of IPv4 if there is one.

    :raises ConfigError: it has none.
    """
    try:
        found = socket.getaddrinfo(with_zone_number(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:  # ValueError: IDNA can't encode it, or it has a NUL
        reason = error.strerror if isinstance(error, OSError) else "not a name"
        raise ConfigError(f"can't listen on {host}:{port}: {host!r} has no address ({reason})") from None
    family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return family, address


def _parts(description: str) -> tuple[str, list[str], dict[str, str]]:
    """A Twisted endpoint string taken apart: its kind, its plain parts, and its named parts."""
    kind, parts = split_endpoint(description)
    return kind, [value for name, value in parts if not name], {name: value for name, value in parts if name}


def listening(given: str, option: str = "--listen") -> str:
    """The Twisted server endpoint string of where somebody wants a daemon to listen.

    :param given: ``HOST:PORT``, or such a string.
    :param option: that says it, for messages.
    :raises ConfigError: no daemon can listen there.
    """
    address = split_listening(given)
    if address is None:
        check_listen(given, option)
        return given
    host, port = address[0], port_number(address[1], option)
    try:
        _look_up(host, port)
    except ConfigError as error:
        raise ConfigError(
            f"{option}: found {given!r}, expected a Twisted server endpoint string such as "
            f"'tcp:5050:interface=127.0.0.1', or HOST:PORT ({error})"
        ) from None
    return listen_string(host, port)


def check_listen(description: str, option: str = "--listen") -> None:
    """Refuse a TCP server endpoint string whose port is in use; others show when they are listened on.

    :param option: that says it, for messages.
    :raises ConfigError: in one line.
    """
    place = _place(description)
    if place is not None:
        interface, port = place
        listen_string(interface or _EVERYWHERE[description.startswith("tcp6")], port_number(port, option))


def reached_at(given: str) -> tuple[str, int] | None:
    """Where this machine's own processes reach a daemon by TCP.

    :param given: where it listens: ``HOST:PORT``, or a Twisted server endpoint string.
    :return: host and port; None where that isn't known.
    :raises ConfigError: the port can be none.
    """
    address = split_listening(given)
    if address is None:
        place = _place(given)
        if place is None:
            return None
        address = place[0] or _EVERYWHERE[given.startswith("tcp6")], port_number(place[1], "listen")
    host, port = address
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host, port
    if found.is_unspecified:
        host = "127.0.0.1" if found.version == 4 else "::1"
    return host, port


def _place(description: str) -> tuple[str, str] | None:
    """The interface, empty if none is said, and the port of a TCP server endpoint string; None: it has no such port."""
    kind, plain, named = _parts(description)
    port = named.get("port", plain[0] if plain else "")
    if kind not in _TCP or not (port.isascii() and port.isdigit() and port.strip("0")):
        return None
    return _interface(description), port


def _interface(description: str) -> str:
    """The interface of a TCP server endpoint string, said by its name or its place; empty: none is said."""
    kind, plain, named = _parts(description)
    behind = 1 if "port" not in named else 0
    places = plain[behind:] if kind != "ssl" else []
    return named.get("interface", places[0] if places else "")


def is_local(description: str) -> bool:
    """Whether only this machine's own processes can reach what listens on a Twisted server endpoint string.

    What isn't known for certain counts as reachable.
    """
    kind = _parts(description)[0]
    if kind == "unix":
        return True
    if kind not in _TCP:
        return False
    interface = _interface(description)
    if interface == "localhost":
        return True
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False


def check_reach(description: str, guarded: bool, by_tls: bool = True) -> None:
    """Refuse to listen where others than this machine's processes can connect and do everything.

    :param description: a Twisted server endpoint string.
    :param guarded: whether peers need tokens or certificates, or the operator wants it so.
    :param by_tls: whether certificates would do.
    :raises ConfigError: in one line.
    """
    if not guarded and not is_local(description):
        certificates = '--tls-ca FILE (the documentation, "TLS"), ' if by_tls else ""
        raise ConfigError(
            f"found {description!r}, on which others than this machine could connect, and no token file; expected "
            f"--token-file FILE ('pyshard token' makes tokens), {certificates}an address of this machine alone such as "
            "127.0.0.1, or --insecure"
        )


def _backlog(description: str) -> str:
    """What lets the system keep more connections than Twisted's 50 for a daemon that is busy when many come at once."""
    kind, plain, named = _parts(description)
    if kind not in _TCP or not (plain or named) or "backlog" in named:
        return ""
    return f":backlog={settings.LISTEN_BACKLOG}"


def server_endpoint(reactor: IReactorTime, description: str, option: str = "--listen") -> IStreamServerEndpoint:
    """The endpoint of a Twisted server endpoint string.

    :param reactor: gives ports, and the time.
    :param option: that says it, for messages.
    :raises ConfigError: it is none.
    """
    if is_tls_listen_string(description):
        return _tls_endpoint(reactor, description, option)
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description + _backlog(description))
    except (ImportError, NameError):  # what Twisted's TLS endpoints raise without pyOpenSSL
        raise ConfigError(
            f"{option}: found {description!r}, but TLS isn't installed; expected pip install 'pyshard[tls]' before"
        ) from None
    except Exception as error:  # noqa: BLE001  # each kind of endpoint has a parser of its own, which raises anything
        raise ConfigError(
            f"{option}: found {description!r}, expected a Twisted server endpoint string such as "
            f"'tcp:5050:interface=127.0.0.1' ({error})"
        ) from None
    return endpoint


def _tls_endpoint(reactor: IReactorTime, description: str, option: str) -> IStreamServerEndpoint:
    """The same, of a string of TLS: pyshard's own, which has bounds that Twisted's doesn't have."""
    said = tls_listen_string(description, option)
    below = server_endpoint(reactor, said.below, option)
    try:
        return tls.listening(below, said.files, True, reactor)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None
