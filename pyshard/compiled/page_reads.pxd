"""Pages of a file in memory, read before they are wanted."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <sys/mman.h>

    #define PAGE 4096
    #define MANY (16 * PAGE)
    #define PIECE (256 * PAGE)

    /* Wait until the pages of some bytes are in memory. Where there are many, the system is asked for all of them first,
       which takes a twentieth of the time. It is asked piece by piece, since of more it reads the beginning alone. */
    static void await_pages(const char *at, size_t size)
    {
        const volatile char *bytes = at;
        uintptr_t begin = (uintptr_t)at & ~((uintptr_t)PAGE - 1), end = (uintptr_t)at + size;
        size_t place;
        if (size >= MANY)
            for (; begin < end; begin += PIECE)
                madvise((void *)begin, end - begin < PIECE ? end - begin : PIECE, MADV_WILLNEED);
        for (place = 0; place < size; place += PAGE)
            (void)bytes[place];
        if (size)
            (void)bytes[size - 1];
    }
    """
    enum:
        PAGE
    void await_pages(const char* at, size_t size) noexcept nogil


cdef inline int await_view(object view) except -1:
    """Wait for the pages of a view of bytes, while other threads go on."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    if buffer.len > PAGE:
        with nogil:
            await_pages(<const char*>buffer.buf, buffer.len)
    PyBuffer_Release(&buffer)
    return 0
