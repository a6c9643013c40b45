# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Values of LMDB's records, of which no more pages are read than are wanted, compiled; see `pyshard.compiled`."""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.string cimport memcpy
from pyshard.compiled.page_reads cimport await_pages, await_view


cdef struct Field:  # LMDB's MDB_val
    size_t size
    const char* data


def value_field(cursor, key, value):
    """Where in a cursor's own memory LMDB's binding has the value of the record that the cursor stands on.

    :param key: the record's key, as the cursor gives it.
    :param value: its value, in the same way.
    :return: an offset; -1 if the binding has it elsewhere.
    """
    cdef Field at_key = field_of(key), at_value = field_of(value), found
    cdef const char* memory = <const char*><void*>cursor
    cdef Py_ssize_t offset, last = type(cursor).__basicsize__ - 2 * <Py_ssize_t>sizeof(Field)
    for offset in range(0, last + 1, sizeof(void*)):
        memcpy(&found, memory + offset, sizeof(Field))
        if found.size == at_key.size and found.data == at_key.data:
            memcpy(&found, memory + offset + sizeof(Field), sizeof(Field))
            if found.size == at_value.size and found.data == at_value.data:
                return offset + <Py_ssize_t>sizeof(Field)
    return -1


cdef Field field_of(view) except *:
    """Where the bytes of a view are."""
    cdef Field field
    cdef Py_buffer buffer
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    field.size, field.data = buffer.len, <const char*>buffer.buf
    PyBuffer_Release(&buffer)
    return field


def read_ahead(view):
    """See `pyshard.storage.read_ahead`."""
    await_view(view)


cdef class CursorValues:
    """See `pyshard.storage.durable.cursor_values`.

    :param field: as `value_field` gives it for a cursor of the same kind.
    """

    cdef object cursor, set_key
    cdef const Field* field

    def __init__(self, cursor, Py_ssize_t field):
        if not 0 <= field <= type(cursor).__basicsize__ - <Py_ssize_t>sizeof(Field):
            raise ValueError(f"a cursor has no field at {field}")
        self.cursor, self.set_key = cursor, cursor.set_key
        self.field = <const Field*>(<const char*><void*>cursor + field)

    def get(self, bytes db_key):
        """See `PlainCursorValues`."""
        return self.here() if self.set_key(db_key) else None

    cpdef here(self):
        """See `PlainCursorValues`."""
        cdef Field field = self.field[0]
        with nogil:
            await_pages(field.data, 1)
        return PyMemoryView_FromMemory(<char*>field.data, field.size, PyBUF_READ)
