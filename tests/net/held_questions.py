"""Questions for names in memory: no thread begins, and each is answered when the test says so."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from pyshard.net.name_questions import FoundAddress, NameQuestions, Question


def address(host: str, port: int) -> FoundAddress:
    """What the system gives for an IPv4 address."""
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)


class HeldQuestions:
    """A server of names that has every name wait.

    :param monkeypatch: has the system's function ask it.
    :param most: how many names are asked for at a time.
    :ivar asked: what the system was asked for.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 100) -> None:
        self.questions = NameQuestions(most, self._begin)
        self.asked: list[tuple[str, int]] = []
        self._held: dict[str, Callable[[], None]] = {}
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    @property
    def under_way(self) -> list[str]:
        """The names that were begun and have no answer, in the order in which they were."""
        return list(self._held)

    def answer(self, host: str) -> None:
        """Answer the question for a name."""
        self._held.pop(host)()

    def _begin(self, question: Question, work: Callable[[], None]) -> None:
        assert question.host not in self._held
        self._held[question.host] = work

    def _getaddrinfo(self, host: str, port: int, **_: object) -> list[FoundAddress]:
        self.asked.append((host, port))
        if host == "none.test":
            raise socket.gaierror(-2, "Name or service not known")
        return [address("10.0.0.1", port), address("10.0.0.2", port)]
