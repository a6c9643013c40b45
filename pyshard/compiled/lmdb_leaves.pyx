# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Keys and records ⇄ what lies in LMDB, compiled; see `pyshard.compiled`."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from pyshard.compiled.page_reads cimport PAGE, await_pages

cdef enum:
    KEY_HEAD = 9  # bytes of a database key before its key
    VALUE_HEAD = 16  # bytes of a value before its record
    LONGEST = 502  # bytes of the longest key that stands in the database key itself


def database_keys(uint32_t index, slots, keys):
    """See `pyshard.storage.durable.lmdb_encoding.database_keys`.

    :param slots: a list or tuple or the like: the slot of each key.
    """
    cdef list found = []
    cdef bytes key, db_key
    cdef char* at
    cdef uint32_t slot
    cdef Py_ssize_t length
    for place, key in zip(slots, keys):
        if key is None:
            raise TypeError("a key is bytes, not None")
        slot = place
        length = PyBytes_GET_SIZE(key)
        db_key = PyBytes_FromStringAndSize(NULL, KEY_HEAD + length)
        at = PyBytes_AS_STRING(db_key)
        put_big_endian(at, index, 4)
        put_big_endian(at + 4, slot, 4)
        at[8] = 0
        memcpy(at + KEY_HEAD, PyBytes_AS_STRING(key), length)
        found.append(db_key)
    return found


def stored_values(versions, records):
    """See `pyshard.storage.durable.lmdb_encoding.pack_many`."""
    cdef list found = []
    cdef bytes record, value
    cdef char* at
    cdef uint64_t version
    cdef Py_ssize_t length
    for number, record in zip(versions, records):
        if record is None:
            raise TypeError("a record is bytes, not None")
        version = number
        length = PyBytes_GET_SIZE(record)
        value = PyBytes_FromStringAndSize(NULL, VALUE_HEAD + length)
        at = PyBytes_AS_STRING(value)
        put_big_endian(at, version, 8)
        memset(at + 8, 0, 8)
        memcpy(at + VALUE_HEAD, PyBytes_AS_STRING(record), length)
        found.append(value)
    return found


def are_short_rows(dict records not None, uint32_t slots):
    """Whether `pyshard.storage.durable.lmdb_encoding.is_row` says yes to each record, and none is removed, or long.

    :param records: database key → value.
    :param slots: how many there are.
    """
    cdef bytes db_key, value
    cdef const unsigned char* at
    for key, put in records.items():
        db_key, value = key, put
        if db_key is None or value is None:
            raise TypeError("database keys and values are bytes, not None")
        at = <const unsigned char*>PyBytes_AS_STRING(db_key)
        if not KEY_HEAD <= PyBytes_GET_SIZE(db_key) <= KEY_HEAD + LONGEST or at[8] or big_endian(at + 4, 4) >= slots:
            return False
        at = <const unsigned char*>PyBytes_AS_STRING(value)
        if PyBytes_GET_SIZE(value) < VALUE_HEAD or not big_endian(at, 8) or at[0] & 0x80 or at[8] & 0x80:
            return False
    return True


def expiring(values):
    """See `pyshard.storage.durable.lmdb_encoding.expiring`."""
    cdef Py_ssize_t count = 0
    cdef Py_buffer view
    for value in values:
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            if view.len < VALUE_HEAD:
                raise ValueError(f"a value has {VALUE_HEAD} bytes at the least, not {view.len}")
            count += big_endian(<const unsigned char*>view.buf + 8, 8) != 0
        finally:
            PyBuffer_Release(&view)
    return count


cdef inline uint64_t big_endian(const unsigned char* at, int size) noexcept nogil:
    cdef uint64_t number = 0
    cdef int byte
    for byte in range(size):
        number = number << 8 | at[byte]
    return number


cdef inline void put_big_endian(char* at, uint64_t number, int size) noexcept nogil:
    cdef int byte
    for byte in range(size):
        at[byte] = <char>(number >> 8 * (size - 1 - byte) & 0xFF)


def stored_results(values, Py_ssize_t room, Py_ssize_t kept, Py_ssize_t begin):
    """See `pyshard.storage.durable.lmdb_encoding.results_plainly`.

    :param values: bytes, views of bytes, and None; views as LMDB gives them, each dropped before the next is made.
    """
    cdef list found = []
    cdef bytes result
    cdef Py_buffer view
    if room <= 0:
        return found
    for value in values:
        if value is None:
            found.append(None)
            continue
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            if view.len > PAGE and not PyBytes_CheckExact(value):
                with nogil:
                    await_pages(<const char*>view.buf, view.len)
            result = parts(<const char*>view.buf, view.len, kept, begin)
        finally:
            PyBuffer_Release(&view)
        found.append(result)
        room -= PyBytes_GET_SIZE(result)
        if room <= 0:
            break
    return found


cdef bytes parts(const char* at, Py_ssize_t length, Py_ssize_t kept, Py_ssize_t begin):
    """The first `kept` of some bytes, and those from `begin` on."""
    cdef Py_ssize_t first = min(kept, length), rest = max(length - begin, 0)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, first + rest)
    memcpy(PyBytes_AS_STRING(result), at, first)
    memcpy(PyBytes_AS_STRING(result) + first, at + begin, rest)
    return result
