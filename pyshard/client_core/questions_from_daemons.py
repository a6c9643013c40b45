"""How much a daemon may ask of whoever dialed it. Pure.

A daemon asks for a sign of life after ten minutes of silence, and once to leave. Each question costs this side its
answer, and takes the time of other connections. So one that asks without end breaks the protocol, and loses its
connection.

Rules:

- every question counts, known or not, and a long one counts as many: what it asks for makes no difference to what it
  costs;
- some may come at once, and then a few each second: any honest daemon has more than it needs;
- the allowance is a connection's own. A daemon that is dialed anew begins with a full one, after a pause that grows.
"""

from __future__ import annotations

from pyshard.settings import settings

_LONG = 1024  # bytes of a question that count as one more


class QuestionAllowance:
    """What one peer may still ask.

    :param now: the time, in seconds of any clock that never goes back.
    """

    __slots__ = ("_left", "_since")

    def __init__(self, now: float) -> None:
        self._left = float(settings.PEER_QUESTIONS)
        self._since = now

    def breach(self, size: int, now: float) -> str | None:
        """Count one question.

        :param size: bytes of its box.
        :return: how the peer broke the protocol by it, in words; None: it didn't.
        """
        earned = max(0.0, now - self._since) * settings.PEER_QUESTIONS_PACE
        self._left = min(self._left + earned, float(settings.PEER_QUESTIONS)) - 1 - size // _LONG
        self._since = now
        if self._left >= 0:
            return None
        most, pace = settings.PEER_QUESTIONS, settings.PEER_QUESTIONS_PACE
        return f"it asked more than {most} questions at once, or {pace:g} a second"
