"""One error out of those of several peers that were asked the same. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.client_core.unreached_daemon import parted
from pyshard.errors import ClientClosed, PyshardError, Unavailable


def error_of_all(errors: Sequence[PyshardError]) -> PyshardError:
    """One error for those of several peers: of their common class, or `Unavailable`.

    Its message has all of theirs, and what to do about them once, at its end.

    :param errors: at least one.
    """
    kinds = {type(error) for error in errors}
    if len(errors) == 1 or kinds == {ClientClosed}:
        return errors[0]
    kind = kinds.pop() if len(kinds) == 1 else Unavailable
    messages = [parted(str(error)) for error in errors]
    cures = dict.fromkeys(cure for _, cure in messages if cure)
    return kind("; ".join([*(message for message, _ in messages), *cures]))
