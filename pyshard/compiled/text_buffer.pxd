"""What the compiled code that reads and writes text has in common: a buffer that grows, UTF-8, names of dicts."""

from cpython.mem cimport PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    FORMAT = 1  # the format byte of a record
    HEAD = 5  # bytes of a record before its document
    MOST_NAMES = 128  # of a dict that is looked at here


cdef struct Text:
    char* at
    Py_ssize_t length
    Py_ssize_t room


cdef struct Names:  # of one dict, as their fingerprints
    uint64_t[MOST_NAMES] seen
    uint64_t[4] marks  # a bit for each: where it isn't set, none of those seen is equal
    Py_ssize_t count


cdef inline void no_names(Names* names) noexcept nogil:
    names.count = 0
    names.marks[0] = names.marks[1] = names.marks[2] = names.marks[3] = 0


cdef inline bint adds_name(Names* names, const uint8_t* name, Py_ssize_t length) noexcept nogil:
    """Add a name; False: there are too many, or one like it is there."""
    cdef uint64_t found = fingerprint(name, length), mark = <uint64_t>1 << (found >> 56 & 63)
    cdef Py_ssize_t place
    if names.count == MOST_NAMES:
        return False
    if names.marks[found >> 62] & mark:
        for place in range(names.count):
            if names.seen[place] == found:
                return False
    names.marks[found >> 62] |= mark
    names.seen[names.count] = found
    names.count += 1
    return True


cdef inline int make_room(Text* text, Py_ssize_t more) except -1:
    cdef char* found
    if text.room - text.length < more:
        found = <char*>PyMem_Realloc(text.at, 2 * text.room + more)
        if found is NULL:
            raise MemoryError()
        text.at, text.room = found, 2 * text.room + more
    return 0


cdef inline void put(Text* text, const char* given, Py_ssize_t length) noexcept nogil:  # there is room for it
    memcpy(text.at + text.length, given, length)
    text.length += length


cdef inline int add(Text* text, const char* given, Py_ssize_t length) except -1:
    make_room(text, length)
    put(text, given, length)
    return 1


cdef inline Py_ssize_t simple_bytes(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """How many of some bytes a string of JSON and one of MessagePack have in common at their beginning; it may be less."""
    cdef const uint8_t* begin = at
    cdef uint64_t eight
    while end - at >= 8:
        memcpy(&eight, at, 8)
        if not is_simple(eight):
            break
        at += 8
    while at < end and 0x20 <= at[0] < 0x7F and at[0] != b'"' and at[0] != b"\\":  # mostly fewer than eight
        at += 1
    return at - begin


cdef inline bint is_simple(uint64_t eight) noexcept nogil:
    """Whether none of eight bytes is a quote, a backslash, below 0x20 or past 0x7E. It may be False for others, too."""
    cdef uint64_t ones = 0x0101010101010101, quotes = 0x22 * ones, backslashes = 0x5C * ones
    return not ((eight | eight + ones | eight - 32 * ones | (eight ^ quotes) - ones | (eight ^ backslashes) - ones) & 128 * ones)


cdef inline int character_size(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The bytes of a character past ASCII in UTF-8; 0: it is none."""
    cdef int size = 2 if at[0] < 0xE0 else 3 if at[0] < 0xF0 else 4
    cdef int place
    if at[0] < 0xC2 or at[0] > 0xF4 or end - at < size:
        return 0
    for place in range(1, size):
        if at[place] & 0xC0 != 0x80:
            return 0
    if (at[0] == 0xE0 and at[1] < 0xA0) or (at[0] == 0xED and at[1] > 0x9F):
        return 0
    return 0 if (at[0] == 0xF0 and at[1] < 0x90) or (at[0] == 0xF4 and at[1] > 0x8F) else size


cdef inline uint64_t number(const uint8_t* at, int size) noexcept nogil:
    """So many bytes, big-endian, as a number."""
    cdef uint64_t found = 0
    cdef int place
    for place in range(size):
        found = found << 8 | at[place]
    return found


cdef inline uint64_t fingerprint(const uint8_t* name, Py_ssize_t length) noexcept nogil:
    """A number that is the same for equal names, and hardly ever for others."""
    cdef uint64_t found = <uint64_t>length, eight
    while length > 0:
        eight = 0
        memcpy(&eight, name, min(length, 8))
        found = (found ^ eight) * 0x9E3779B97F4A7C15ULL
        found ^= found >> 32
        name += 8
        length -= 8
    return found
