"""Calls of etcd's v3 gateway: JSON over HTTP, to whichever member answers.

Rules:

- A member that can't be reached, or doesn't answer in time, is left for the next one. All tries together have an end,
  and so has each exchange with a member, logins included.
- A transaction that was sent, and whose answer is lost or isn't definite, has an unknown outcome. It isn't sent to the
  next member here: whoever wants it done tries it again.
- A login is made before the first call, and again when it isn't valid any more. User and password are in a file, which
  is read for each login, and in no message.
- What a member sends has a bound, and is shown in messages as a peer's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from pyshard.bootstrap.state_stores.bounded_http import BytesBody, NotConnected, bounded_agent, close, read_body
from pyshard.bootstrap.state_stores.etcd_messages import (
    AUTHENTICATE,
    TXN,
    WATCH,
    ErrorMeaning,
    authenticate_request,
    is_begin_of_watch,
    read_error,
    read_token,
)
from pyshard.errors import BadRequest, ConfigError, OutcomeUnknown, Unavailable
from pyshard.model.address_text import host_and_port
from pyshard.net.client_endpoints import Dial
from pyshard.net.disconnect_reason import reason_of
from pyshard.security.secret_file import read_secret
from pyshard.settings import settings

CONNECTED_WITHIN = 1.0  # seconds that a connection to a member may take
ANSWERED_WITHIN = 2.0  # seconds that one try may take: longer than etcd needs to elect a leader
ALL_WITHIN = settings.TIMEOUT  # seconds that the tries of one call may take

#: Bytes of an answer: a state in base64, and room to spare.
LONGEST_ANSWER = 2 * settings.MAX_STATE_BYTES

_NO_TIME = "no time was left to ask it"
_LONGEST_LINE = 64 * 1024  # bytes of the line with which a watch begins
_LONGEST_CREDENTIALS = 4096  # bytes of the file with user and password


class _Unanswered(Exception):
    """A member was asked, and gave no definite answer."""


class _LoginEnded(Exception):
    """A member did nothing, since it wants a new login."""


class EtcdGateway:
    """Calls an etcd cluster.

    :param clock: times the calls.
    :param members: host and port of each.
    :param dial: leads to them, with TLS if there is to be some.
    :param credentials: the file with ``user:password``; None: etcd wants no login.
    """

    def __init__(
        self, clock: IReactorTime, members: tuple[tuple[str, int], ...], dial: Dial, credentials: Path | None
    ) -> None:
        self._clock = clock
        self._members = [host_and_port(host, port) for host, port in members]
        self._credentials = credentials
        self._token = ""
        self._agent, self._pool = bounded_agent(clock, dial, CONNECTED_WITHIN, LONGEST_ANSWER)

    async def ask(self, path: bytes, body: bytes, end: float) -> bytes:
        """The answer to a question that changes nothing.

        :param end: when it must be there, by the clock; `ALL_WITHIN` from now, if that is sooner.
        :raises Unavailable: no member answers.
        :raises ConfigError: etcd refuses it.
        """
        end = min(end, self._clock.seconds() + ALL_WITHIN)
        why = f"etcd: {_NO_TIME}"
        for member in self._in_turn(end):
            try:
                return await self._call(member, path, body, end)
            except (NotConnected, _Unanswered) as error:
                why = self._left(member, error)
        raise Unavailable(why)

    async def transact(self, body: bytes, end: float) -> bytes:
        """The answer to a transaction.

        :param end: as with `ask`.
        :raises Unavailable: no member can be reached; nothing was done.
        :raises ConfigError: etcd refuses it; nothing was done.
        :raises OutcomeUnknown: it was done, or will be, or won't.
        """
        end = min(end, self._clock.seconds() + ALL_WITHIN)
        why = f"etcd: {_NO_TIME}"
        for member in self._in_turn(end):
            try:
                return await self._call(member, TXN, body, end)
            except NotConnected as error:
                why = self._left(member, error)
            except _Unanswered as error:
                raise OutcomeUnknown(self._left(member, error)) from None
        raise Unavailable(why)

    async def watch(self, body: bytes) -> None:
        """Return when a watch tells of something, or has ended."""
        headers = self._headers()
        url = b"http://%s%s" % (self._members[0].encode("ascii"), WATCH)
        try:
            response = await self._agent.request(b"POST", url, headers, BytesBody(body))
            told: Deferred[None] = Deferred(lambda _: watching.end())
            watching = _WatchBody(told)
            response.deliverBody(watching)
            if response.code != 200:
                watching.end()
            await told
        except (NotConnected, ResponseFailed, RequestTransmissionFailed):
            return

    def close(self) -> Deferred[None]:
        """Close all connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    # ------------------------------------------------------------------ inside

    def _in_turn(self, end: float) -> Iterator[str]:
        """The members, the one first that answered last, as long as there is time."""
        for member in list(self._members):
            if self._clock.seconds() < end:
                yield member

    def _left(self, member: str, error: Exception) -> str:
        """Ask this member last from now on.

        :return: what is wrong with it.
        """
        self._members.remove(member)
        self._members.append(member)
        return f"etcd at {member}: {error}"

    def _headers(self) -> Headers:
        headers = Headers({b"Content-Type": [b"application/json"]})
        if self._token:
            headers.addRawHeader(b"Authorization", self._token.encode("ascii"))
        return headers

    async def _call(self, member: str, path: bytes, body: bytes, end: float) -> bytes:
        """The answer of one member, with up to two logins.

        :raises NotConnected: it wasn't asked.
        :raises _Unanswered: it may have done it.
        :raises ConfigError: it won't do it.
        """
        if self._credentials is not None and not self._token:
            await self._log_in(member, self._credentials, end)
        try:
            return await self._exchange(member, path, body, end)
        except _LoginEnded as ended:
            if self._credentials is None:
                raise ConfigError(f"etcd at {member}: {ended}; name user and password by --state-credentials") from None
        self._token = ""
        await self._log_in(member, self._credentials, end)
        try:
            return await self._exchange(member, path, body, end)
        except _LoginEnded as ended:
            raise ConfigError(f"etcd at {member}: it refuses the login that it gave: {ended}") from None

    async def _log_in(self, member: str, credentials: Path, end: float) -> None:
        text = read_secret(credentials, "etcd credentials", _LONGEST_CREDENTIALS).decode("utf-8", "replace")
        user, colon, password = text.rstrip("\r\n").partition(":")
        if not (user and colon and password) or "\n" in password:
            raise ConfigError(f"etcd credentials {credentials}: expected one line, USER:PASSWORD")
        try:
            request = authenticate_request(user, password)
            self._token = read_token(await self._exchange(member, AUTHENTICATE, request, end))
        except _LoginEnded as ended:
            raise ConfigError(f"etcd at {member} refuses user or password of {credentials}: {ended}") from None
        except BadRequest as error:
            raise _Unanswered(f"its answer to a login can't be read: {error}") from None

    async def _exchange(self, member: str, path: bytes, body: bytes, end: float) -> bytes:
        """Send a request to a member; its answer, which is no error.

        :raises NotConnected, _Unanswered, _LoginEnded, ConfigError: as `_call`.
        """
        within = min(ANSWERED_WITHIN, end - self._clock.seconds())
        if within <= 0:
            raise NotConnected(_NO_TIME)
        posting = Deferred.fromCoroutine(self._post(member, path, body))
        try:
            status, answer = await posting.addTimeout(within, self._clock)
        except (ResponseFailed, RequestTransmissionFailed) as error:
            raise _Unanswered(_reason(error, within)) from None
        except (TimeoutError, CancelledError):
            raise _Unanswered(_no_answer(within)) from None
        except PotentialDataLoss:
            raise _Unanswered("its answer has no end") from None
        refused = read_error(status, answer)
        if refused is None:
            return answer
        if refused.meaning is ErrorMeaning.LOGIN:
            raise _LoginEnded(refused.message)
        if refused.meaning is ErrorMeaning.DEFINITE:
            raise ConfigError(f"etcd at {member} refuses: {refused.message}")
        raise _Unanswered(refused.message)

    async def _post(self, member: str, path: bytes, body: bytes) -> tuple[int, bytes]:
        url = b"http://%s%s" % (member.encode("ascii"), path)
        response = await self._agent.request(b"POST", url, self._headers(), BytesBody(body))
        return response.code, await read_body(response)


class _WatchBody(Protocol):
    """The answer to a watch, a line for each thing it tells. Of these only the first one is read.

    :param told: fires when there is more than the line that it has begun, or it has ended.
    """

    def __init__(self, told: Deferred[None]) -> None:
        self._told = told
        self._line = b""
        self._begun = False

    def dataReceived(self, data: bytes) -> None:  # the protocol's
        if not self._begun:
            self._line += data
            first, newline, data = self._line.partition(b"\n")
            if not newline and len(first) <= _LONGEST_LINE:
                return
            self._begun = True
            if not is_begin_of_watch(first):
                self.end()
        if data.strip():
            self.end()

    def connectionLost(self, reason: Failure | None = None) -> None:  # the protocol's
        self._tell()

    def end(self) -> None:
        """Hear no more."""
        close(self)
        self._tell()

    def _tell(self) -> None:
        if not self._told.called:
            self._told.callback(None)


def _no_answer(within: float) -> str:
    return f"no answer within {within:.2g} s"


def _reason(error: ResponseFailed | RequestTransmissionFailed, within: float) -> str:
    """What is behind an error of Twisted's client, in one line."""
    reasons: list[Failure] = list(error.reasons)
    while reasons and isinstance(reasons[0].value, (ResponseFailed, RequestTransmissionFailed)):
        reasons = list(reasons[0].value.reasons)
    if not reasons:
        return "the connection was closed"
    return _no_answer(within) if reasons[0].check(CancelledError) else reason_of(reasons[0])
