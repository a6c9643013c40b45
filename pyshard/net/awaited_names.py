"""The names whose addresses a client on a reactor or a loop waits for (`pyshard.net.name_questions`).

Rules:

- All is done in the thread of the reactor or loop. The threads that ask only have it called there.
- Names begin in the order in which they were wanted, and each as soon as there is room for it.
- Who gives up is forgotten. A name that nobody waits for any more, and that wasn't begun, never is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pyshard.net.name_questions import QUESTIONS, FoundAddress, NameQuestions, Question, addresses_of, known_here

#: Is given what was found, or the error that there is nothing.
Told: TypeAlias = Callable[[list[FoundAddress] | OSError], object]


class AwaitedNames:
    """Those of one client, or of all that a daemon dials.

    :param call_here: has a function called in the thread of the reactor or loop; it may be called in any other thread.
    :param questions: asks for the names.
    """

    def __init__(self, call_here: Callable[[Callable[[], None]], object], questions: NameQuestions = QUESTIONS) -> None:
        self._call_here = call_here
        self._questions = questions
        self._waits: dict[_Wait, None] = {}  # in the order in which they came

    def look_up(self, host: str, port: int, told: Told) -> Callable[[], None]:
        """Look up the addresses of a name.

        :param told: is called with them once, at once if they are known here.
        :return: gives it up; it may be called at any time.
        """
        wait = _Wait(host, port, told)
        if known_here(host):
            wait.tell(lambda: addresses_of(host, port))
            return lambda: None
        self._waits[wait] = None
        self._look([wait])
        return lambda: self._give_up(wait)

    def _give_up(self, wait: _Wait) -> None:
        self._waits.pop(wait, None)
        self._rest()

    def _look_at_all(self) -> None:
        self._look(list(self._waits))

    def _look(self, waits: list[_Wait]) -> None:
        # Before the look: what ends behind it is heard of.
        self._questions.when_one_ends(self, lambda: self._call_here(self._look_at_all))
        has_room = True
        for wait in waits:
            if wait not in self._waits:  # somebody who was told has given it up
                continue
            if wait.question is None and has_room:
                wait.question = self._questions.ask(self, wait.host)
                has_room = wait.question is not None
            if wait.question is not None and wait.question.ended:
                del self._waits[wait]
                wait.tell(wait.found)
        self._rest()

    def _rest(self) -> None:
        if not self._waits:
            self._questions.listen_no_more(self)


class _Wait:
    """Somebody who waits for a name."""

    def __init__(self, host: str, port: int, told: Told) -> None:
        self.host = host
        self.question: Question | None = None  # None: there was no room for it yet
        self._port = port
        self._told = told

    def found(self) -> list[FoundAddress]:
        """What was found, once the question has ended."""
        assert self.question is not None
        return self.question.addresses(self._port)

    def tell(self, find: Callable[[], list[FoundAddress]]) -> None:
        """Say what a function finds."""
        outcome: list[FoundAddress] | OSError
        try:
            outcome = find()
        except OSError as error:
            outcome = error
        self._told(outcome)
