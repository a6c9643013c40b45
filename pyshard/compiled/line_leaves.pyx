# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Records → lines of text, compiled: MessagePack becomes JSON without a document in between; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.math cimport isinf, isnan
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, strlen

from pyshard.compiled.text_buffer cimport (
    FORMAT, HEAD, MOST_NAMES, Names, Text, add, adds_name, character_size, make_room, no_names, number, put,
    simple_bytes
)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    char* PyOS_double_to_string(double value, char format, int precision, int flags, int* kind) except NULL
    int Py_DTSF_ADD_DOT_0

cdef enum:
    LONGEST_NUMBER = 32  # bytes
    ENOUGH = 262_144  # bytes of lines after which they are given: more of them take new memory from the system

cdef const char* HEXADECIMAL = "0123456789abcdef"
cdef const char* LETTERS = "btn.fr"  # of the escapes of the characters from 8 on; 11 has none


cdef struct Source:
    const uint8_t* at
    const uint8_t* end


# Each function that writes gives 1; 0: the plain twin is to write what this is.


cdef int add_string(Text* text, const uint8_t* at, Py_ssize_t length) except -1:
    """Add a string of JSON; what programs could take for a line's end or a command is escaped."""
    cdef const uint8_t* end = at + length
    cdef Py_ssize_t simple
    cdef int size
    make_room(text, 6 * length + 2)
    put(text, '"', 1)
    while at < end:
        simple = simple_bytes(at, end)
        if simple:
            put(text, <const char*>at, simple)
            at += simple
            continue
        if at[0] < 0x80:
            put_escaped(text, at[0])
            at += 1
            continue
        size = character_size(at, end)
        if not size:
            return 0
        if size == 2 and at[0] == 0xC2 and at[1] < 0xA0:
            put_number(text, at[1])
        elif size == 3 and at[0] == 0xE2 and at[1] == 0x80 and (at[2] == 0xA8 or at[2] == 0xA9):
            put_number(text, 0x2000 + (at[2] & 0x3F))
        else:
            put(text, <const char*>at, size)
        at += size
    put(text, '"', 1)
    return 1


cdef inline void put_escaped(Text* text, uint8_t byte) noexcept nogil:
    """Add a character of ASCII to a string, for which there is room."""
    cdef char[2] pair
    if 0x20 <= byte < 0x7F and byte != 0x22 and byte != 0x5C:
        text.at[text.length] = byte
        text.length += 1
    elif byte == 0x22 or byte == 0x5C or (0x08 <= byte <= 0x0D and byte != 0x0B):
        pair[0] = 0x5C
        pair[1] = byte if byte >= 0x20 else LETTERS[byte - 0x08]
        put(text, pair, 2)
    else:
        put_number(text, byte)


cdef void put_number(Text* text, uint32_t point) noexcept nogil:
    """Add a character by its number to a string, for which there is room."""
    cdef int digit
    put(text, "\\u", 2)
    for digit in range(4):
        put(text, HEXADECIMAL + (point >> 4 * (3 - digit) & 0xF), 1)


cdef int add_int(Text* text, uint64_t size, bint negative) except -1:
    cdef char[LONGEST_NUMBER] digits
    cdef int place = LONGEST_NUMBER
    while size or place == LONGEST_NUMBER:
        place -= 1
        digits[place] = <char>(0x30 + size % 10)
        size //= 10
    if negative:
        place -= 1
        digits[place] = b"-"
    return add(text, &digits[place], LONGEST_NUMBER - place)


cdef int add_float(Text* text, double value) except -1:
    cdef char* found
    if isnan(value):
        return add(text, "NaN", 3)
    if isinf(value):
        return add(text, "Infinity", 8) if value > 0 else add(text, "-Infinity", 9)
    found = PyOS_double_to_string(value, b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return add(text, found, strlen(found))
    finally:
        PyMem_Free(found)


cdef inline double float_of(uint64_t bits, int size) noexcept nogil:
    cdef uint32_t half = <uint32_t>bits
    cdef float narrow
    cdef double wide
    memcpy(&narrow, &half, 4)
    memcpy(&wide, &bits, 8)
    return narrow if size == 4 else wide


cdef int string_in(Source* source, const uint8_t** found, Py_ssize_t* length) noexcept nogil:
    """Take the bytes of a str out of a source; 0: there is none."""
    cdef uint8_t first
    cdef int size
    if source.at >= source.end:
        return 0
    first = source.at[0]
    if 0xA0 <= first < 0xC0:
        size, length[0] = 0, first & 0x1F
    elif 0xD9 <= first <= 0xDB:
        size = 1 << (first - 0xD9)
        if source.end - source.at <= size:
            return 0
        length[0] = number(source.at + 1, size)
    else:
        return 0
    if source.end - source.at - 1 - size < length[0]:
        return 0
    found[0] = source.at + 1 + size
    source.at = found[0] + length[0]
    return 1


cdef int add_value(Text* text, Source* source, int depth) except -1:
    """Add a value of MessagePack as JSON.

    :param depth: how many lists and dicts may be in one another.
    """
    cdef const uint8_t* at = source.at
    cdef const uint8_t* string
    cdef uint8_t first
    cdef Py_ssize_t length = 0, left = source.end - at - 1
    cdef int size
    cdef uint64_t bits
    if left < 0:
        return 0
    first = at[0]
    if 0xA0 <= first < 0xC0 or 0xD9 <= first <= 0xDB:
        return string_in(source, &string, &length) and add_string(text, string, length)
    if first < 0x80 or first >= 0xE0:
        source.at += 1
        return add_int(text, first if first < 0x80 else 0x100 - first, first >= 0xE0)
    if first < 0xA0:
        source.at += 1
        return add_container(text, source, first & 0xF, first < 0x90, depth)
    if 0xDC <= first:
        size = 2 if first & 1 == 0 else 4
        if left < size:
            return 0
        source.at += 1 + size
        return add_container(text, source, number(at + 1, size), first >= 0xDE, depth)
    if 0xCA <= first <= 0xD3:
        size = (4 if first == 0xCA else 8) if first < 0xCC else 1 << (first & 3)
        if left < size:
            return 0
        source.at += 1 + size
        bits = number(at + 1, size)
        if first < 0xCC:
            return add_float(text, float_of(bits, size))
        if first < 0xD0 or not bits >> (8 * size - 1):
            return add_int(text, bits, False)
        return add_int(text, (0 if size == 8 else <uint64_t>1 << 8 * size) - bits, True)
    source.at += 1
    if first == 0xC0:
        return add(text, "null", 4)
    if first == 0xC2:
        return add(text, "false", 5)
    return add(text, "true", 4) if first == 0xC3 else 0  # bytes and ints past 64 bits are written in another way


cdef int add_container(Text* text, Source* source, Py_ssize_t count, bint is_dict, int depth) except -1:
    cdef Names names
    cdef const uint8_t* name
    cdef Py_ssize_t length = 0, place
    if depth <= 0 or (is_dict and count > MOST_NAMES):
        return 0
    no_names(&names)
    add(text, "{" if is_dict else "[", 1)
    for place in range(count):
        if place:
            add(text, ", ", 2)
        if is_dict:
            if not string_in(source, &name, &length) or (count == 1 and length and name[0] == b"$"):
                return 0  # it is no name, or it may look like one of the tags
            if not adds_name(&names, name, length):
                return 0  # it may be there twice
            if not add_string(text, name, length):
                return 0
            add(text, ": ", 2)
        if not add_value(text, source, depth - 1):
            return 0
    return add(text, "}" if is_dict else "]", 1)


cdef int add_document(Text* text, const uint8_t* at, Py_ssize_t length, int most_nesting, bint as_json) except -1:
    """Add the text of a document in MessagePack; a str as it is, where it is read back and `as_json` isn't set."""
    cdef Source source = Source(at, at + length)
    cdef const uint8_t* string
    cdef Py_ssize_t size = 0
    if not as_json and (0xA0 <= at[0] < 0xC0 or 0xD9 <= at[0] <= 0xDB):
        if not string_in(&source, &string, &size) or not is_plain(string, size):
            return 0
        add(text, <const char*>string, size)
    elif not add_value(text, &source, most_nesting):
        return 0
    return source.at == source.end


cdef bint is_plain(const uint8_t* at, Py_ssize_t length) except -1:
    """Whether a str is written as it is. It may be False for others, too."""
    if not length or at[0] in b' "[{-' or 0x30 <= at[0] <= 0x39 or (length < 10 and at[0] in b"ntfNI"):
        return False  # it may be JSON
    try:
        text = PyUnicode_DecodeUTF8(<const char*>at, length, NULL)
    except UnicodeDecodeError:
        return False
    return text.isprintable() and not text[0].isdigit()


cdef int add_line(Text* text, key, result, Py_ssize_t begin, bint jsonl, Py_ssize_t most_uncounted, int nesting) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* name = PyUnicode_AsUTF8AndSize(key, &size)
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(result) + begin
    cdef Py_ssize_t length = PyBytes_GET_SIZE(result) - begin - HEAD
    if length <= 0 or at[0] != FORMAT or length > most_uncounted:
        return 0
    if not jsonl:
        if memchr(name, b"|", size) or memchr(name, b"\n", size):
            return 0
        add(text, name, size)
        add(text, "|", 1)
        return add_document(text, at + HEAD, length, nesting, False) and add(text, "\n", 1)
    add(text, '{"key": ', 8)
    if not add_string(text, <const uint8_t*>name, size):
        return 0
    add(text, ', "doc": ', 9)
    return add_document(text, at + HEAD, length, nesting, True) and add(text, "}\n", 2)


def record_lines(
    list keys not None, list results not None, Py_ssize_t place, Py_ssize_t begin, bint jsonl,
    Py_ssize_t most_uncounted, int most_nesting,
):
    """The lines of some keys; see `pyshard.cli.cat_lines.record_lines_plainly`.

    :param begin: how many bytes of a result stand before its record.
    :param most_uncounted: bytes of MessagePack up to which a document's elements needn't be counted.
    :param most_nesting: how deep a document may nest.
    """
    cdef Text text = Text(NULL, 0, 0)
    cdef Py_ssize_t whole = 0
    try:
        while place < min(len(keys), len(results)) and whole < ENOUGH:
            key, result = keys[place], results[place]
            if result is not None:
                if not PyUnicode_CheckExact(key) or not PyBytes_CheckExact(result):
                    break
                if not add_line(&text, key, result, begin, jsonl, most_uncounted, most_nesting):
                    break
                whole = text.length
            place += 1
        return PyBytes_FromStringAndSize(text.at, whole), place
    finally:
        PyMem_Free(text.at)
