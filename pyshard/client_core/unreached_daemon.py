"""What to do about a daemon that gives no answer: one wording for all clients and the command. Pure.

Rules:

- the reason decides. One that says what to do by itself, as those of TLS do, gets nothing more;
- a cure stands at the end of its message, so that several messages can have it once (`parted`).
"""

from __future__ import annotations

from pyshard.errors import Unavailable

_START_BOOTSTRAP = "is it running, at this address? 'twistd pyshard-bootstrap --config FILE' starts a bootstrap"
_START_SHARD = (
    "is it running, at this address? Start it as before: 'twistd pyshard-shard', with its --data-dir if it had one"
)
_LOOK_AT_NETWORK = "is its machine up, is the address right, and does a firewall drop what is sent there?"
_LOOK_AT_NAME = "correct the host's name, or give an address"
_LOOK_AT_DAEMON = "it may be stopped or very busy: its log and 'pyshard doctor' say more"

_REFUSED = ("connection refused",)
_DROPPED = (
    "no connection and no word of a pyshard daemon",
    "timed out",
    "no route to host",
    "network is unreachable",
    "not reached yet",
)
_NAMELESS = ("has no address", "dns lookup failed")
_SILENT = ("connected and silent", "it was silent", "no answer for ", "no answer came ")

_CURES = (_START_BOOTSTRAP, _START_SHARD, _LOOK_AT_NETWORK, _LOOK_AT_NAME, _LOOK_AT_DAEMON)
_BEFORE_CURE = "; "

#: How the names of shards and of their replicas begin; all others are bootstraps, or perhaps bootstraps.
_SHARDS = ("shard ", "the shard ", "the replica ")


def with_cure(message: str, peer: str, why: str) -> str:
    """A message about a daemon that gave no answer, with what to do at its end.

    :param peer: the daemon, as messages call it.
    :param why: it gave none, in one line.
    """
    cure = _cure_of(peer, why)
    return f"{message}{_BEFORE_CURE}{cure}" if cure else message


def parted(message: str) -> tuple[str, str]:
    """A message without the cure at its end, and the cure; empty: it has none."""
    for cure in _CURES:
        if message.endswith(_BEFORE_CURE + cure):
            return message[: -len(_BEFORE_CURE + cure)], cure
    return message, ""


def no_answer(peer: str, seconds: float, why: str) -> Unavailable:
    """The error for a call at whose deadline a daemon has not answered, and which changed nothing.

    :param peer: the daemon, as messages call it.
    :param seconds: the deadline.
    :param why: in one line.
    """
    return Unavailable(with_cure(f"{peer} gave no answer within {seconds:g} s: {why}", peer, why))


def _cure_of(peer: str, why: str) -> str:
    if _has(why, _REFUSED):
        return _START_SHARD if peer.startswith(_SHARDS) else _START_BOOTSTRAP
    for words, cure in ((_DROPPED, _LOOK_AT_NETWORK), (_NAMELESS, _LOOK_AT_NAME), (_SILENT, _LOOK_AT_DAEMON)):
        if _has(why, words):
            return cure
    return ""


def _has(why: str, words: tuple[str, ...]) -> bool:
    return any(word in why.lower() for word in words)  # Twisted and the system differ in capitals
