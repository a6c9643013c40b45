"""JSON in bytes, as the compiled code reads it: space, and strings, which become MessagePack."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memmove

from pyshard.compiled.text_buffer cimport Text, character_size, make_room, put, simple_bytes

cdef enum:
    LONGEST_HEAD = 5  # bytes of MessagePack before a str's text or a container's elements


cdef struct Source:
    const uint8_t* at
    const uint8_t* end


cdef inline void skip_space(Source* source) noexcept nogil:
    while source.at < source.end and (source.at[0] == b" " or source.at[0] == b"\t" or source.at[0] == b"\r"):
        source.at += 1


cdef inline bint takes(Source* source, const char* expected, Py_ssize_t length) noexcept nogil:
    """Whether some bytes come next; they are taken."""
    if source.end - source.at < length or memcmp(source.at, expected, length):
        return False
    source.at += length
    return True


cdef inline void put_head(Text* text, uint64_t number, int size, uint8_t first) noexcept nogil:
    """Add a byte, and a number of so many bytes, big-endian, for which there is room."""
    cdef int place
    text.at[text.length] = <char>first
    for place in range(size):
        text.at[text.length + 1 + place] = <char>(number >> 8 * (size - 1 - place))
    text.length += 1 + size


cdef inline void close_head(Text* text, Py_ssize_t start, uint64_t count, uint8_t few, int most_few, uint8_t many) noexcept nogil:
    """Put the head of a str or container before what stands `LONGEST_HEAD` bytes behind `start`.

    :param few: the first byte where there are at most `most_few`, which it has in it.
    :param many: the first byte of a number of two bytes; a str's has one of one byte before it.
    """
    cdef Py_ssize_t length = text.length - start - LONGEST_HEAD
    cdef int size = 0 if count <= <uint64_t>most_few else 1 if few == 0xA0 and count < 0x100 else 2 if count < 0x10000 else 4
    text.length = start
    put_head(text, count, size, few | count if size == 0 else many + (size >> 1) - 1)
    memmove(text.at + text.length, text.at + start + LONGEST_HEAD, length)
    text.length += length


cdef inline int64_t take_string(Source* source, Text* text) except -2:
    """Take a string behind its opening quote, and add it to the text.

    :return: its size, in the measure of `pyshard.model.document_size`; -1: the plain twin is to say what it is.
    """
    cdef Py_ssize_t start = text.length, count = 0, simple
    cdef uint32_t point, widest = 0
    cdef int size
    make_room(text, LONGEST_HEAD + (source.end - source.at))
    text.length += LONGEST_HEAD
    while source.at < source.end:
        simple = simple_bytes(source.at, source.end)
        if simple:
            put(text, <const char*>source.at, simple)
            source.at += simple
            count += simple
            if source.at == source.end:
                break
        if source.at[0] == b'"':
            source.at += 1
            close_head(text, start, text.length - start - LONGEST_HEAD, 0xA0, 31, 0xDA)
            return size_of_text(count, widest)
        if source.at[0] < 0x20:
            return -1
        size = 1
        if source.at[0] == b"\\":
            point = escaped(source)
            if not point:
                return -1
            put_point(text, point)
        else:
            if source.at[0] >= 0x80:
                size = character_size(source.at, source.end)
                if not size:
                    return -1
            point = point_of(source.at, size)
            put(text, <const char*>source.at, size)
            source.at += size
        widest = max(widest, point)
        count += 1
    return -1


cdef inline int64_t size_of_text(Py_ssize_t count, uint32_t widest) noexcept nogil:
    if widest < 0x80:
        return 49 + count
    return 73 + count if widest < 0x100 else 74 + 2 * count if widest < 0x10000 else 76 + 4 * count


cdef inline uint32_t point_of(const uint8_t* at, int size) noexcept nogil:
    """The number of a character that takes so many bytes."""
    cdef uint32_t point = at[0] if size == 1 else at[0] & (0x7F >> size)
    cdef int place
    for place in range(1, size):
        point = point << 6 | (at[place] & 0x3F)
    return point


cdef inline void put_point(Text* text, uint32_t point) noexcept nogil:
    """Add a character in UTF-8, for which there is room."""
    cdef int size = 0 if point < 0x80 else 1 if point < 0x800 else 2 if point < 0x10000 else 3
    cdef int place
    text.at[text.length] = <char>(point >> 6 * size | (0 if size == 0 else 0xF0 << (3 - size) & 0xFF))
    for place in range(1, size + 1):
        text.at[text.length + place] = <char>(0x80 | (point >> 6 * (size - place) & 0x3F))
    text.length += 1 + size


cdef inline uint32_t escaped(Source* source) noexcept nogil:
    """Take an escape; the number of its character; 0: it is none, or one for the plain twin."""
    cdef uint32_t high, low
    cdef uint8_t letter
    if source.end - source.at < 2:
        return 0
    letter = source.at[1]
    source.at += 2
    if letter == b"u":
        high = hexadecimal(source)
        if high & 0xF800 != 0xD800:
            return high
        if high >= 0xDC00 or not takes(source, "\\u", 2):
            return 0
        low = hexadecimal(source)
        return 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF) if low & 0xFC00 == 0xDC00 else 0
    if letter == b'"' or letter == b"\\" or letter == b"/":
        return letter
    if letter == b"n":
        return 10
    if letter == b"t":
        return 9
    return 13 if letter == b"r" else 8 if letter == b"b" else 12 if letter == b"f" else 0


cdef inline uint32_t hexadecimal(Source* source) noexcept nogil:
    """Take four digits; 0 also for what is none."""
    cdef uint32_t found = 0
    cdef uint8_t digit
    cdef int place
    if source.end - source.at < 4:
        return 0
    for place in range(4):
        digit = source.at[place]
        if 0x30 <= digit <= 0x39:
            digit -= 0x30
        elif 0x41 <= digit & 0xDF <= 0x46:
            digit = (digit & 0xDF) - 0x37
        else:
            return 0
        found = found << 4 | digit
    source.at += 4
    return found


cdef inline int head_of_string(uint8_t first) noexcept nogil:
    """The bytes before the text of a str of MessagePack, given its first byte."""
    return 1 if first < 0xC0 else 2 if first == 0xD9 else 3 if first == 0xDA else 5
