"""The original pyshard 0.2.3, in an environment of its own, since its package has the same name.

Rules:

- its client can't be imported here, so a worker makes the calls and times them, with that environment's Python;
- it can't replace a document, so only reads are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path

from processes import HOST, PATIENCE, Processes, Unavailable, free_port
from shapes import Pair

from peers.interface import Blocking, Side, Timed
from pyshard import Document

VERSION = "0.2.3"

_WORKER = str(Path(__file__).with_name("original_worker.py"))
_SIZE = 1 << 40


class OriginalBlocking(Blocking):
    """Its `Pyshard`, in the worker."""

    title = f"original pyshard {VERSION}"

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self._worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self.write_many([(key, doc)])

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        return self.read_each([key]).values[0]

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; one call after the other."""
        self._ask({"write": pairs})

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; one call after the other."""
        return self.read_each(keys).values

    def write_each(self, pairs: Sequence[Pair]) -> Timed:
        """See `Blocking`."""
        return self._ask({"write": list(pairs)})

    def read_each(self, keys: Sequence[str]) -> Timed:
        """See `Blocking`."""
        return self._ask({"read": list(keys)})

    def _ask(self, question: object) -> Timed:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps(question) + "\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of the original pyshard ended with code {self._worker.wait()}")
        answer = json.loads(line)
        return Timed(answer["seconds"], answer["values"])

    def close(self) -> None:
        """See `Blocking`; the worker is killed."""
        self._worker.kill()
        self._worker.communicate()


class OriginalSide(Side):
    """Its bootstrap and two of its shards.

    :param folder: where they run.
    """

    def __init__(self, folder: Path) -> None:
        python = environment()
        ports = [free_port(), free_port()]
        self._port = free_port()
        self._python = python
        self._processes = Processes(folder)
        shards = [
            {"name": f"shard{number}", "start": number / 2, "end": (number + 1) / 2, "size": _SIZE}
            | {"host": HOST, "port": port}
            for number, port in enumerate(ports)
        ]
        config = folder / "shards.json"
        config.write_text(json.dumps({"shards": shards}))
        try:
            self.pids = [
                self._processes.start(f"shard{number}", *self._command("shard", port, number / 2, (number + 1) / 2))
                for number, port in enumerate(ports)
            ]
            self._processes.wait_listening(*ports)
            self._processes.start("bootstrap", *self._command("bootstrap", self._port, config))
            self._processes.wait_listening(self._port)
        except BaseException:
            self.close()
            raise

    def _command(self, *arguments: object) -> list[str]:
        return [self._python, "-I", _WORKER, *map(str, arguments)]

    def blocking(self) -> Blocking:
        """See `Side`."""
        return OriginalBlocking(self._command("client", self._port))

    def fill(self, calls: Iterable[list[Pair]]) -> None:
        """See `Side`; existing documents stay as they are."""
        super().fill(calls)

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()


def environment() -> str:
    """The Python of the environment, which is made beside the running one if it doesn't exist.

    :raises Unavailable: pip can't install it.
    """
    inside = sys.prefix != sys.base_prefix
    folder = Path(sys.prefix if inside else tempfile.gettempdir()) / f"pyshard-{VERSION}"
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        venv.create(folder, clear=True, symlinks=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--retries=1", "--timeout=15"]
        command = [*pip, "install", "--quiet", f"pyshard=={VERSION}"]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"pip can't install pyshard {VERSION} within {PATIENCE:g} s") from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no message"])[-1]
            raise Unavailable(f"pip can't install pyshard {VERSION}: {last}") from None
        done.touch()
    return str(python)
