"""What an exception in the middle of a blocking call says of a change that was under way.

Rule: an exception of anybody's (KeyboardInterrupt, a time limit, an iterable's own) that cuts a change short has
`OutcomeUnknown` for its cause, since the change may have happened. One that has a cause keeps it.
"""

from __future__ import annotations

from pyshard.errors import OutcomeUnknown, PyshardError


def tell_doubt(error: BaseException, change: str) -> None:
    """Give an exception its cause, unless it is the outcome of the call.

    :param change: what may have happened, as a message begins.
    """
    if error.__cause__ is None and not isinstance(error, PyshardError):
        error.__cause__ = OutcomeUnknown(f"{change}: it may or may not have happened")
