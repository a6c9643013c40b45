"""A little of etcd's v3 gateway on a network in memory: it does what it is told, rightly or wrongly."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bootstrap.states import STATE
from deferreds import watch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from pyshard.bootstrap.state_stores.etcd_gateway import EtcdGateway
from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore
from pyshard.bootstrap.state_stores.state_address import EtcdAddress
from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, SwapApplied
from pyshard.testing import MemoryNetwork

_T = TypeVar("_T")

#: What a member does in place of an answer: writes what it likes to the request, or leaves it open.
Deed = Callable[[Request], None]


class FakeEtcd:
    """The data of a cluster.

    :ivar asked: member and path of each request.
    :ivar deeds: member → what it does in place of the next answers.
    :ivar done_first: whether the deed comes after the transaction was done.
    :ivar token: what a login gives; empty: none is wanted.
    """

    def __init__(self) -> None:
        self.revision = 1
        self.stored: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[int, str]] = []
        self.deeds: dict[int, list[Deed]] = {}
        self.done_first = False
        self.token = ""
        self.user = {"name": "pyshard", "password": "secret"}
        self.watches: list[Request] = []

    def answer(self, member: int, request: Request) -> bytes | int:
        """Answer a request, or do a deed."""
        path = request.path.decode()
        self.asked.append((member, path))
        deed = self.deeds[member].pop(0) if self.deeds.get(member) else None
        if deed is not None and not self.done_first:
            deed(request)
            return NOT_DONE_YET
        assert request.content is not None
        code, answer = self._answered(path, json.load(request.content), request)
        if deed is not None:
            deed(request)
            return NOT_DONE_YET
        request.setResponseCode(code)
        if answer is None:
            return NOT_DONE_YET
        return json.dumps(answer).encode()

    def end_watches(self, text: bytes = b"") -> None:
        """Tell something to all who watch."""
        watches, self.watches = self.watches, []
        for request in watches:
            request.write(text or b'{"result":{"events":[{}]}}\n')

    def _answered(self, path: str, asked: dict[str, Any], request: Request) -> tuple[int, dict[str, Any] | None]:
        if path == "/v3/auth/authenticate":
            if asked != self.user:
                return 400, {"error": "authentication failed, invalid user ID or password", "code": 3}
            return 200, {"token": self.token}
        if self.token and request.getHeader("authorization") != self.token:
            return 401, {"error": "invalid auth token", "code": 16}
        if path == "/v3/kv/range":
            return 200, self._range(asked["key"])
        if path == "/v3/watch":
            request.write(b'{"result":{"created":true}}\n')
            wanted = asked["create_request"]
            self.watches.append(request)
            if self.stored.get(wanted["key"], (0, ""))[0] >= int(wanted["start_revision"]):
                self.end_watches()
            return 200, None
        compared = asked["compare"][0]
        there = self.stored.get(compared["key"], (0, ""))
        if str(there[0]) != compared["mod_revision"]:
            answer = {"response_range": self._range(compared["key"])}
            return 200, {"header": {"revision": str(self.revision)}, "responses": [answer]}
        self.revision += 1
        self.stored[compared["key"]] = self.revision, asked["success"][0]["request_put"]["value"]
        self.end_watches()
        return 200, {"header": {"revision": str(self.revision)}, "succeeded": True, "responses": [{"response_put": {}}]}

    def put(self, key: bytes, value: bytes) -> None:
        """Put something there."""
        self.revision += 1
        self.stored[base64.b64encode(key).decode()] = self.revision, base64.b64encode(value).decode()

    def _range(self, key: str) -> dict[str, Any]:
        if key not in self.stored:
            return {"header": {}}
        revision, value = self.stored[key]
        return {"header": {}, "kvs": [{"key": key, "mod_revision": str(revision), "value": value}], "count": "1"}


class _Member(Resource):
    isLeaf = True

    def __init__(self, etcd: FakeEtcd, number: int) -> None:
        super().__init__()
        self._etcd = etcd
        self._number = number

    def render_POST(self, request: Request) -> bytes | int:  # noqa: N802  # the resource's
        return self._etcd.answer(self._number, request)


class EtcdBench:
    """Some members of a fake etcd, and a state store that asks them.

    :param credentials: the file with user and password.
    :param network: one that has the members already; None: a new one.
    """

    def __init__(self, credentials: Path | None = None, network: MemoryNetwork | None = None) -> None:
        self.clock = Clock() if network is None else network.clock
        self.network = network or MemoryNetwork(self.clock)
        self.etcd = FakeEtcd()
        self.members = tuple((f"etcd{number}", 2379) for number in range(3))
        if network is None:
            for number, (host, port) in enumerate(self.members):
                site = Site(_Member(self.etcd, number), reactor=self.clock)
                site.timeOut = None
                self.network.listen(host, port).listen(site)
        address = EtcdAddress(self.members, "test")
        self.key = address.key
        self.gateway = EtcdGateway(self.clock, self.members, self.network.dial, credentials)
        self.store = EtcdStateStore(address, self.gateway)

    @classmethod
    def joining(cls, other: EtcdBench) -> EtcdBench:
        """The state store of another process."""
        return cls(network=other.network)

    def run(self, work: Deferred[_T], seconds: float = 10) -> _T:
        """The result of what was asked."""
        outcome = watch(work)
        self.network.settle()
        for _ in range(round(seconds / 0.1)):
            if outcome:
                break
            self.network.advance(0.1)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def close(self) -> None:
        """Close all connections."""
        self.store.close()
        self.network.settle()

    def do(self, member: int, *deeds: Deed) -> None:
        """Have a member do these in place of its next answers."""
        self.etcd.deeds[member] = list(deeds)

    def put(self) -> Revision:
        """Put `STATE` there."""
        outcome = self.run(self.store.swap(STATE, NOTHING, "a-1"))
        assert isinstance(outcome, SwapApplied)
        self.etcd.asked.clear()
        return outcome.revision


def answer(code: int, text: bytes) -> Deed:
    """Answer something."""

    def deed(request: Request) -> None:
        request.setResponseCode(code)
        request.write(text)
        request.finish()

    return deed
