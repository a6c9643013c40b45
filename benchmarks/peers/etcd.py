"""etcd: one server, through etcd3gw, which calls its JSON gateway. What it acknowledges is on the disk."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import requests
from etcd3gw import Etcd3Client
from processes import HOST, PATIENCE, Processes, Unavailable, free_port
from requests.adapters import HTTPAdapter
from shapes import Pair

from peers.interface import Blocking, Side
from peers.messagepack import decode, encode
from pyshard import Document

#: Operations of one transaction, at most: the server's default.
_TRANSACTION = 128

#: Connections that are kept, so that none of the threads has to make a new one for each call.
_CONNECTIONS = 16


class EtcdBlocking(Blocking):
    """etcd3gw."""

    title = "etcd3gw, one etcd"

    def __init__(self, port: int) -> None:
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
        self._client = Etcd3Client(HOST, port, timeout=PATIENCE, session=self._session)

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self._client.put(key, encode(doc))

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        found = self._client.get(key)
        return decode(found[0]) if found else None

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; a transaction for each 128 of them."""
        for begin in range(0, len(pairs), _TRANSACTION):
            puts = [
                {"request_put": {"key": _text(key.encode()), "value": _text(encode(doc))}}
                for key, doc in pairs[begin : begin + _TRANSACTION]
            ]
            self._client.transaction({"compare": [], "success": puts, "failure": []})

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; one call after the other."""
        return [self.read(key) for key in keys]

    def close(self) -> None:
        """See `Blocking`."""
        self._session.close()


class EtcdSide(Side):
    """One etcd server."""

    def __init__(self, folder: Path) -> None:
        server = shutil.which("etcd")
        if server is None:
            raise Unavailable("there is no etcd; Debian's package is etcd-server")
        self._port = free_port()
        self._processes = Processes(folder)
        clients, peers = f"http://{HOST}:{self._port}", f"http://{HOST}:{free_port()}"
        options = {
            "data-dir": str(folder / "data"),
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
        }
        command = [server, *(word for name, value in options.items() for word in (f"--{name}", value))]
        try:
            self.pids = [self._processes.start("etcd", *command)]
            self._processes.wait_listening(self._port)
        except BaseException:
            self.close()
            raise

    def blocking(self) -> Blocking:
        """See `Side`."""
        return EtcdBlocking(self._port)

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()


def _text(given: bytes) -> str:
    """Bytes as the JSON gateway takes them."""
    return base64.b64encode(given).decode()
