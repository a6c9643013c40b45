"""One error out of those of several peers that were asked the same. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.errors import ClientClosed, PyshardError, Unavailable


def error_of_all(errors: Sequence[PyshardError]) -> PyshardError:
    """One error for those of several peers: of their common class, or `Unavailable`; its message has all of theirs.

    :param errors: at least one.
    """
    kinds = {type(error) for error in errors}
    if len(errors) == 1 or kinds == {ClientClosed}:
        return errors[0]
    kind = kinds.pop() if len(kinds) == 1 else Unavailable
    return kind("; ".join(str(error) for error in errors))
