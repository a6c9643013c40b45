# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""What is done to columns of a run, compiled; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_CheckExact
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport uint8_t


def total_size(column):
    """See `pyshard.protocol.columns.total_size_plainly`."""
    cdef Py_ssize_t total = 0
    for each in column:
        if PyBytes_CheckExact(each):
            total += PyBytes_GET_SIZE(each)
        elif each:
            total += len(each)
    return total


def longest(column):
    """See `pyshard.protocol.columns.longest_plainly`."""
    cdef Py_ssize_t most = 0, size
    for each in column:
        size = PyBytes_GET_SIZE(each) if PyBytes_CheckExact(each) else len(each)
        if size > most:
            most = size
    return most


def picked(positions, column):
    """See `pyshard.protocol.columns.picked_plainly`."""
    cdef list found = []
    cdef Py_ssize_t position, count
    if not PyList_CheckExact(column):
        for place in positions:
            found.append(column[place])
        return found
    count = len(<list>column)
    for position in positions:
        if not 0 <= position < count:
            raise IndexError("a position outside of the column")
        found.append((<list>column)[position])
    return found


def pair_columns(list pairs not None):
    """See `pyshard.client_core.pair_columns.pair_columns_plainly`.

    :return: None: one of them is no pair, or none of the type tuple.
    """
    cdef list firsts = [], seconds = []
    for pair in pairs:
        if not PyTuple_CheckExact(pair) or len(<tuple>pair) != 2:
            return None
        firsts.append((<tuple>pair)[0])
        seconds.append((<tuple>pair)[1])
    return firsts, seconds


def are_outlines(records, int format, const uint8_t[:] first_bytes not None, Py_ssize_t head):
    """Whether each byte string has the head of a record, with a size, and a document behind it.

    :param format: the head's first byte; the others are the size.
    :param first_bytes: for each byte 1 if a document may begin with it, else 0.
    :param head: bytes of a head.
    """
    cdef const uint8_t* at
    cdef Py_ssize_t place
    cdef int size
    for record in records:
        if not PyBytes_CheckExact(record) or PyBytes_GET_SIZE(record) <= head:
            return False
        at = <const uint8_t*>PyBytes_AS_STRING(record)
        size = 0
        for place in range(1, head):
            size |= at[place]
        if at[0] != format or not size or not first_bytes[at[head]]:
            return False
    return True
