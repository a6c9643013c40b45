"""Documents that are one number or one short text, out of MessagePack."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char* at, Py_ssize_t size, const char* errors)


cdef inline uint64_t big_endian(const uint8_t* at, int size) noexcept nogil:
    cdef uint64_t found = 0
    cdef int place
    for place in range(size):
        found = found << 8 | at[place]
    return found


cdef inline object number_or_text(const uint8_t* at, Py_ssize_t length, bint* known):
    """The document of MessagePack that is one int or one short str; a call and a copy would take longer than this.

    :param known: is set if it is one.
    """
    cdef int first = at[0], size
    known[0] = True
    if length == 1 and (first < 0x80 or first >= 0xE0):
        return first if first < 0x80 else first - 0x100
    if 0xA0 <= first <= 0xBF and length == 1 + (first & 0x1F):
        return PyUnicode_DecodeUTF8(<const char*>at + 1, length - 1, NULL)
    if first == 0xD9 and length >= 2 and length == 2 + at[1]:
        return PyUnicode_DecodeUTF8(<const char*>at + 2, length - 2, NULL)
    if 0xCC <= first <= 0xD3:
        size = 1 << (first & 3)
        if length == 1 + size:
            if first <= 0xCF:
                return big_endian(at + 1, size)
            return <int64_t>(big_endian(at + 1, size) << (64 - 8 * size)) >> (64 - 8 * size)
    known[0] = False
    return None
