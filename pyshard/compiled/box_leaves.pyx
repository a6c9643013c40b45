# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Bytes → boxes, compiled; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t


def whole_box(data, Py_ssize_t most_keys, Py_ssize_t most_bytes):
    """The box that some bytes are, if they are a single whole one; see `pyshard.protocol.boxes`.

    :param most_keys: pairs that it may have.
    :param most_bytes: bytes that it may have.
    :return: None: they are no box, more than one, a part of one, or one over its limits.
    """
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef const uint8_t* key
    cdef Py_ssize_t key_size, size
    cdef dict box = {}
    if not PyBytes_CheckExact(data):
        return None
    at = <const uint8_t*>PyBytes_AS_STRING(data)
    end = at + PyBytes_GET_SIZE(data)
    if not 2 < end - at <= most_bytes or (end - 1)[0] or (end - 2)[0]:
        return None
    while end - at >= 4:
        key_size = at[0] << 8 | at[1]
        key = at + 2
        if not 0 < key_size <= 255 or end - key < key_size + 2 or most_keys == 0:
            return None
        at = key + key_size
        size = at[0] << 8 | at[1]
        at += 2
        if end - at < size:
            return None
        box[PyBytes_FromStringAndSize(<const char*>key, key_size)] = PyBytes_FromStringAndSize(<const char*>at, size)
        at += size
        most_keys -= 1
    return box if end - at == 2 and not at[0] and not at[1] else None
