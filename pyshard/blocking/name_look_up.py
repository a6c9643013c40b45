"""Looks up the addresses of a name, while the thread that waits for them can do other things.

Rules:

- A name that has to be asked of a server is looked up in a thread of its own, of which a process has only so many
  (`pyshard.net.name_questions`). Numbers and ``localhost`` need none.
- Whoever waits looks again and again, with pauses that grow. So one slow name holds up no other shard of a bulk verb,
  and a name for which there was no room is asked for once there is, if somebody still waits for it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pyshard.blocking.calling_thread_tasks import Interest, Steps
from pyshard.clocks import steady_seconds
from pyshard.net.name_questions import QUESTIONS, FoundAddress, NameQuestions, Question, addresses_of, known_here

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between two looks whether there is an answer


def look_up(
    owner: object, host: str, port: int, until: float, questions: NameQuestions = QUESTIONS
) -> Steps[Sequence[FoundAddress]]:
    """The addresses of a name, the best first.

    :param owner: the client that wants them.
    :param questions: asks for the name.
    :raises OSError: there is none, or it wasn't found by then.
    """
    if known_here(host):
        return addresses_of(host, port)
    began = steady_seconds()
    question: Question | None = None
    pause = _FIRST_PAUSE
    while True:
        question = question or questions.ask(owner, host)
        if question is not None and question.ended:
            return question.addresses(port)
        now = steady_seconds()
        if now >= until:
            raise OSError(errno.EHOSTUNREACH, f"{host!r} was not looked up within {max(0.0, until - began):.2g} s")
        yield from Interest((), min(until, now + pause))
        pause = min(2 * pause, _LONGEST_PAUSE)
