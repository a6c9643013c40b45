"""What is asked of etcd, and what it answers, as JSON of its v3 gateway. Pure.

Rules:

- keys and values are in base64, and numbers of 64 bits are strings, as the gateway has them;
- one key has the state, with the id of the swap that put it there (`Entry`). So who sent a swap knows it again;
- an error may stand in an answer of status 200, too. It is looked for first;
- an answer has a few elements. One that has thousands isn't decoded: it would take 30 times its bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

import attrs
import msgspec

from pyshard.bootstrap.state_stores.state_store import Revision, StoredState, SwapApplied, SwapOutcome, SwapRefused
from pyshard.errors import BadRequest, ConfigError, of_peer
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader
from pyshard.settings import settings

#: The format number of what stands under the key.
FORMAT = 1

RANGE, TXN, WATCH, AUTHENTICATE = b"/v3/kv/range", b"/v3/kv/txn", b"/v3/watch", b"/v3/auth/authenticate"

_MOST_ELEMENTS = 1000  # of JSON in an answer, at the most; the state is one text in it

_T = TypeVar("_T")
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Entry(msgspec.Struct):
    """What stands under the key.

    :param state: the state's own JSON text.
    """

    format: _Number
    write: Annotated[str, msgspec.Meta(max_length=settings.MAX_NAME)]
    state: msgspec.Raw


class _KeyValue(msgspec.Struct):
    mod_revision: _Number
    value: bytes = b""


class _RangeAnswer(msgspec.Struct):
    kvs: list[_KeyValue] = []


class _TxnResponse(msgspec.Struct):
    response_range: _RangeAnswer | None = None


class _Header(msgspec.Struct):
    revision: _Number


class _TxnAnswer(msgspec.Struct):
    header: _Header
    succeeded: bool = False
    responses: list[_TxnResponse] = []


class _AuthenticateAnswer(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


class _StreamError(msgspec.Struct):
    grpc_code: _Number = 2
    message: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: str | _StreamError
    code: _Number = 2


class ErrorMeaning(Enum):
    """What an error of etcd means."""

    LOGIN = "the login isn't valid any more, and nothing was done"
    DEFINITE = "it won't be done"
    UNKNOWN = "it may have been done, or will be"


@attrs.frozen
class EtcdError:
    """An error that etcd answers.

    :param message: its own words, as messages can show them.
    """

    meaning: ErrorMeaning
    message: str


# gRPC's codes of errors with which nothing was done: invalid argument, not found, permission denied, resource
# exhausted, failed precondition, out of range, unimplemented.
_DEFINITE = {3, 5, 7, 8, 9, 11, 12}
_UNAUTHENTICATED = 16
_OLD_LOGIN = "revision of auth store is old"  # with the code of an invalid argument


def range_request(key: bytes) -> bytes:
    """A question for the key, answered by a majority of the members."""
    return msgspec.json.encode({"key": key})


def txn_request(key: bytes, expected: Revision, state: ClusterState, write: str) -> bytes:
    """Put a state under the key if what is there has the expected revision; else give what is there."""
    value = msgspec.json.encode(Entry(FORMAT, write, msgspec.Raw(cluster_state_json.to_json(state))))
    return msgspec.json.encode(
        {
            "compare": [{"target": "MOD", "result": "EQUAL", "key": key, "mod_revision": str(expected)}],
            "success": [{"request_put": {"key": key, "value": value}}],
            "failure": [{"request_range": {"key": key}}],
        }
    )


def watch_request(key: bytes, after: Revision) -> bytes:
    """Have changes of the key told that come after a revision."""
    return msgspec.json.encode({"create_request": {"key": key, "start_revision": str(after + 1)}})


def authenticate_request(user: str, password: str) -> bytes:
    """A login."""
    return msgspec.json.encode({"name": user, "password": password})


def read_error(status: int, answer: bytes) -> EtcdError | None:
    """The error that an answer is; None: it is none."""
    try:
        found = _decoded(answer, _ErrorAnswer)
    except BadRequest:
        if status == 200:
            return None
        return EtcdError(ErrorMeaning.UNKNOWN, f"it answered with HTTP status {status}")
    if isinstance(found.error, _StreamError):
        code, message = found.error.grpc_code, found.error.message
    else:
        code, message = found.code, found.error
    if code == _UNAUTHENTICATED or _OLD_LOGIN in message:
        return EtcdError(ErrorMeaning.LOGIN, of_peer(message))
    return EtcdError(ErrorMeaning.DEFINITE if code in _DEFINITE else ErrorMeaning.UNKNOWN, of_peer(message))


def read_range(answer: bytes, states: StateReader) -> StoredState | None:
    """What stands under the key, as a range's answer has it.

    :param states: reads it.
    :raises BadRequest: it is no such answer.
    :raises ConfigError: it is no state.
    """
    return _stored(_decoded(answer, _RangeAnswer), states)


def read_txn(answer: bytes, write: str, states: StateReader) -> SwapOutcome:
    """What became of a swap.

    :param write: its id.
    :param states: reads what is there.
    :raises BadRequest: it is no answer of a transaction.
    :raises ConfigError: what is there is no state.
    """
    found = _decoded(answer, _TxnAnswer)
    if found.succeeded:
        return SwapApplied(Revision(found.header.revision))
    there = next((each.response_range for each in found.responses if each.response_range is not None), None)
    if there is None:
        raise BadRequest("it doesn't say what is there")
    stored = _stored(there, states)
    if stored is not None and stored.write == write:
        return SwapApplied(stored.revision)
    return SwapRefused(stored)


def read_token(answer: bytes) -> str:
    """The token that a login has given.

    :raises BadRequest: it is no such answer.
    """
    token: str = _decoded(answer, _AuthenticateAnswer).token
    if not (token.isascii() and token.isprintable()):
        raise BadRequest("it has a token that can't be sent")
    return token


def is_begin_of_watch(line: bytes) -> bool:
    """Whether a line of a watch's answer only says that it has begun, and will tell of changes."""
    try:
        result = msgspec.json.decode(line, type=_WatchLine, strict=False).result
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return result.created and not result.canceled and not result.compact_revision and not result.events


class _WatchResult(msgspec.Struct):
    created: bool = False
    canceled: bool = False
    compact_revision: _Number = 0
    events: list[msgspec.Raw] = []


class _WatchLine(msgspec.Struct):
    result: _WatchResult


def _decoded(answer: bytes, kind: type[_T]) -> _T:
    """An answer, read.

    :raises BadRequest: it can't be.
    """
    elements = sum(map(answer.count, (b",", b"[", b"{")))
    if elements > _MOST_ELEMENTS:
        raise BadRequest(f"it has about {elements:,} elements, expected at most {_MOST_ELEMENTS:,}")
    try:
        return msgspec.json.decode(answer, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(of_peer(str(error))) from None


def _stored(found: _RangeAnswer, states: StateReader) -> StoredState | None:
    if not found.kvs:
        return None
    there = found.kvs[0]
    try:
        entry = msgspec.json.decode(there.value, type=Entry)
        if entry.format != FORMAT:
            raise ConfigError(f"the key's content is of format {entry.format}; this version knows format {FORMAT}")
        state = states.read(bytes(entry.state))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRequest) as error:
        raise ConfigError(f"the key has something else than a cluster's state: {of_peer(str(error))}") from None
    return StoredState(state, Revision(there.mod_revision), entry.write)
