"""Shows how far a subcommand is: on standard error, if that is a terminal, once it has taken more than a second.

Rules:

- what is over sooner shows nothing, and doesn't wait for rich to be loaded;
- a bar is there after that second also while nothing is done yet;
- it is gone when the subcommand ends, however that ends.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress

_SOON = 1.0  # seconds
_PATIENCE = 1.0  # seconds for which the end waits for a bar that is just being drawn


class ProgressOnTerminal:
    """Shows how far a subcommand is, while its block lasts.

    :param what: what is done, such as ``documents restored``; the number of them stands in front.
    :param after: seconds until the bar is there.
    """

    def __init__(self, what: str, after: float = _SOON) -> None:
        self._text = f"{{task.fields[count]:,}} {what}"
        self._after = after
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._ended = False
        self._done: tuple[float, float | None, int] = (0, None, 0)
        self._timer: threading.Timer | None = None

    @property
    def shown(self) -> bool:
        """Whether anybody would see it."""
        return sys.stderr is not None and sys.stderr.isatty()

    def show(self, done: float, total: float | None, count: int | None = None) -> None:
        """So much is done.

        :param total: of so much; None: it isn't known.
        :param count: the number in front; None: it is `done`.
        """
        self._done = (done, total, int(done) if count is None else count)
        if self._bar is not None:
            self._update(self._bar)

    def __enter__(self) -> Self:
        """Begin to wait for the second to be over."""
        if self.shown:
            if self._after:
                self._timer = threading.Timer(self._after, self._begin)
                self._timer.daemon = True
                self._timer.start()
            else:
                self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        held = self._lock.acquire(timeout=_PATIENCE)
        if self._bar is not None:
            self._bar.stop()
        if held:
            self._lock.release()

    def _begin(self) -> None:
        from pyshard.cli.progress_bar import progress_bar

        with self._lock:
            if self._ended:
                return
            bar = progress_bar(self._text)
            bar.add_task("", total=None, count=0)
            bar.tasks[0].start_time = bar.get_time() - self._after
            self._bar = bar  # before it is told what is done, so that it misses nothing that comes meanwhile
            self._update(bar)
            bar.start()

    def _update(self, bar: Progress) -> None:
        done, total, count = self._done
        bar.update(bar.task_ids[0], completed=done, total=total, count=count)
