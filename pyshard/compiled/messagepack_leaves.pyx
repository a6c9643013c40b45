# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""MessagePack that is looked at before it is decoded, compiled; see `pyshard.compiled`."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int8_t, int64_t, uint8_t

from pyshard.compiled.short_documents cimport big_endian


cdef struct Level:  # a list or map that isn't over yet
    bint is_map
    int64_t left  # values that are to come, keys included
    int64_t step  # the number of the item that is looked at; of a map the offset of its key


def place_of_fault(body, int big_int, int most_nesting):
    """See `pyshard.model.messagepack_faults.place_of_fault_plainly`."""
    cdef Py_buffer view
    cdef Level* levels = <Level*>PyMem_Malloc((max(most_nesting, 0) + 1) * sizeof(Level))
    if levels == NULL:
        raise MemoryError
    try:
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            return walked(<const uint8_t*>view.buf, view.len, big_int, most_nesting, levels)
        finally:
            PyBuffer_Release(&view)
    finally:
        PyMem_Free(levels)


cdef tuple walked(const uint8_t* body, Py_ssize_t size, int big_int, int most_nesting, Level* levels):
    cdef Py_ssize_t at = 0, here
    cdef int depth = 0, first, width
    cdef bint is_key
    cdef int64_t count
    while at < size:
        here = at
        first = body[at]
        at += 1
        is_key = False
        if depth:
            is_key = levels[depth - 1].is_map and not levels[depth - 1].left & 1
            levels[depth - 1].left -= 1
            if is_key:
                levels[depth - 1].step = here
                if not (0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB):
                    return steps_to(levels, depth - 1), here, True
            elif not levels[depth - 1].is_map:
                levels[depth - 1].step += 1
        count = -1  # of what a list or map holds; -1: it is neither
        if first < 0x80 or first >= 0xE0:
            pass
        elif first < 0xA0:
            count = first & 0x0F
        elif first < 0xC0:
            at += first & 0x1F
        elif first <= 0xC3:
            if first == 0xC1:
                return None
        elif first <= 0xC9 or 0xD9 <= first <= 0xDB:  # bytes, extensions, str: their length stands before them
            width = 1 << ((first - 0xC4) % 3 if first <= 0xC9 else first - 0xD9)
            if size - at < width + 1:
                return None
            count = <int64_t>big_endian(body + at, width)
            at += width
            if 0xC7 <= first <= 0xC9:
                if <int8_t>body[at] != big_int:
                    return steps_to(levels, depth), here, False
                at += 1
            at += count
            count = -1
        elif first <= 0xCB:
            at += 4 if first == 0xCA else 8
        elif first <= 0xD3:
            at += 1 << (first & 3)
        elif first <= 0xD8:
            if at >= size:
                return None
            if <int8_t>body[at] != big_int:
                return steps_to(levels, depth), here, False
            at += 1 + (1 << (first - 0xD4))
        else:  # a list or map with a length of its own
            width = 4 if first & 1 else 2
            if size - at < width:
                return None
            count = <int64_t>big_endian(body + at, width)
            at += width
        if count >= 0:
            if depth >= most_nesting:
                return steps_to(levels, depth), here, False
            if count:
                levels[depth].is_map = first < 0x90 or first >= 0xDE
                levels[depth].left = count * (2 if levels[depth].is_map else 1)
                levels[depth].step = -1
                depth += 1
                continue
        while depth and not levels[depth - 1].left:
            depth -= 1
        if not depth:
            return None
    return None


cdef list steps_to(Level* levels, int depth):
    """The way to a place: the number of an item in its list, or the offset of a map's key, below zero: the offset and one."""
    cdef int place
    return [-1 - levels[place].step if levels[place].is_map else levels[place].step for place in range(depth)]


def elements_in(body, int64_t most):
    """See `pyshard.model.element_limit.elements_in_plainly`."""
    cdef Py_buffer view
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    try:
        return counted(<const uint8_t*>view.buf, view.len, most)
    finally:
        PyBuffer_Release(&view)


cdef int64_t counted(const uint8_t* body, Py_ssize_t size, int64_t most) noexcept:
    cdef Py_ssize_t at = 0
    cdef int64_t elements = 0
    cdef int first, width
    while at < size and elements <= most:
        first = body[at]
        at += 1
        if first < 0x80 or first >= 0xE0:
            pass
        elif first < 0xA0:
            elements += (first & 0x0F) * (2 if first < 0x90 else 1)
        elif first < 0xC0:
            at += first & 0x1F
        elif first <= 0xC3:
            if first == 0xC1:
                break
        elif first <= 0xC9 or 0xD9 <= first <= 0xDB:
            width = 1 << ((first - 0xC4) % 3 if first <= 0xC9 else first - 0xD9)
            if size - at < width:
                break
            at += width + <Py_ssize_t>big_endian(body + at, width) + (1 if 0xC7 <= first <= 0xC9 else 0)
        elif first <= 0xCB:
            at += 4 if first == 0xCA else 8
        elif first <= 0xD3:
            at += 1 << (first & 3)
        elif first <= 0xD8:
            at += 1 + (1 << (first - 0xD4))
        else:
            width = 4 if first & 1 else 2
            if size - at < width:
                break
            elements += <int64_t>big_endian(body + at, width) * (2 if first >= 0xDE else 1)
            at += width
    return elements
