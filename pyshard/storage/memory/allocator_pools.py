"""How well the pools of Python's allocator are filled, in this process.

CPython takes objects of up to 512 bytes out of *pools*, of 16 KiB each. A pool has objects of one size, and can't be
used for another one while a single object in it lives. So objects that come in one size, go but for a few, and come in
the next one leave nearly empty pools behind. Python tells of that by `sys._debugmallocstats`, as a text on the standard
error output. The function behind it writes to any file of C's, so here to one in memory.

It reads the head of each pool: a millisecond where there is 1 GiB, and 7 where no head is in a processor's cache.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import TypeAlias

import attrs

_LARGEST = 512  # bytes of the largest object that is in a pool
_STEP = 16  # bytes by which the sizes of pools differ
_HEAD = getsizeof(b"")  # bytes of a bytes object beside its content
_LONGEST = _LARGEST - _HEAD

_LINE = re.compile(rb"^ *\d+ +(\d+) +\d+ +(\d+) +(\d+)$", re.MULTILINE)


@attrs.frozen
class PoolUse:
    """The pools of one size.

    :ivar size: of an object, in bytes.
    :ivar objects: how many there are.
    :ivar room: for how many more there is room in pools in use.
    """

    size: int
    objects: int
    room: int


#: Tells of all pools in use; nothing if that isn't known.
ReadPools: TypeAlias = Callable[[], Sequence[PoolUse]]


def lengths_in(size: int) -> range:
    """How many bytes a bytes object has that is from pools of some size."""
    return range(max(size - _STEP - _HEAD + 1, 0), min(size, _LARGEST) - _HEAD + 1)


def copied(text: bytes) -> bytes:
    """An equal object, which the allocator puts where it likes; the same one if it isn't from a pool."""
    return bytes(memoryview(text)) if len(text) <= _LONGEST else text  # `bytes(text)` would be the same object


def pools_in(report: bytes) -> list[PoolUse]:
    """What Python's own report says of pools; nothing if it has no such part."""
    return [PoolUse(*map(int, line)) for line in _LINE.findall(report)]


def _no_pools() -> Sequence[PoolUse]:
    return ()


def pool_reader() -> ReadPools:
    """What tells of the pools of this process, or of none where Python, or the system, has no such report."""
    try:
        library, report = ctypes.CDLL(None), ctypes.pythonapi._PyObject_DebugMallocStats
        open_memory, close, free = library.open_memstream, library.fclose, library.free
    except (AttributeError, OSError, TypeError):  # the last on systems where a program has no handle of itself
        return _no_pools
    open_memory.restype, open_memory.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]
    close.argtypes = free.argtypes = report.argtypes = [ctypes.c_void_p]

    def read() -> Sequence[PoolUse]:
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        file = open_memory(ctypes.byref(text), ctypes.byref(size))
        if not file:
            return ()
        report(file)
        close(file)
        try:
            return pools_in(ctypes.string_at(text, size.value))
        finally:
            free(text)

    return read
