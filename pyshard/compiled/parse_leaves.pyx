# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The compiled twin of `pyshard.cli.line_formats.parse_lines`: lines of `key|document` or of JSON → keys and MessagePack.

Rules, beside those of all compiled code (`pyshard.compiled`):

- a `take_…` function reads one thing out of a `Source`, which is the input, and appends its MessagePack to a `Text`,
  which is the output;
- it returns the size of what it took, in the measure of `pyshard.model.document_size`;
- it returns -1 for whatever it doesn't know. Then the plain twin reads that line, and words the error if there is one;
- `has_name` takes a name of a dict, which counts no size: it returns whether there was one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isinf
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from pyshard.compiled.json_strings cimport (
    LONGEST_HEAD, Source, close_head, head_of_string, point_of, put_head, size_of_text, skip_space, take_string, takes
)
from pyshard.compiled.text_buffer cimport (
    FORMAT, HEAD, Names, Text, add, adds_name, character_size, make_room, no_names, put
)

cdef extern from "Python.h":
    double PyOS_string_to_double(const char* text, char** end, PyObject* overflow) except? -1.0


cdef int64_t take_number(Source* source, Text* text) except -2:
    cdef const uint8_t* at = source.at
    cdef bint negative = at[0] == b"-", is_float = False
    cdef uint64_t whole = 0
    if not skip_number(source, &is_float):
        return -1
    if is_float:
        return add_float(text, at, source.at)
    at += negative
    if source.at - at > 19:  # it may be past 64 bits
        return -1
    while at < source.at:
        whole = 10 * whole + (at[0] - 0x30)
        at += 1
    return -1 if negative and whole >> 63 else add_int(text, whole, negative)


cdef bint skip_number(Source* source, bint* is_float) noexcept nogil:
    cdef const uint8_t* digits
    takes(source, "-", 1)
    digits = source.at
    if not skip_digits(source) or (digits[0] == 0x30 and source.at - digits > 1):
        return False
    if takes(source, ".", 1):
        is_float[0] = True
        if not skip_digits(source):
            return False
    if takes(source, "e", 1) or takes(source, "E", 1):
        is_float[0] = True
        if not takes(source, "-", 1):
            takes(source, "+", 1)
        return skip_digits(source)
    return True


cdef inline bint skip_digits(Source* source) noexcept nogil:
    cdef const uint8_t* start = source.at
    while source.at < source.end and 0x30 <= source.at[0] <= 0x39:
        source.at += 1
    return source.at > start


cdef int64_t add_float(Text* text, const uint8_t* start, const uint8_t* end) except -2:
    cdef char* read = NULL
    cdef double value = PyOS_string_to_double(<const char*>start, &read, NULL)
    cdef uint64_t bits
    if <const uint8_t*>read != end or isinf(value):
        return -1
    memcpy(&bits, &value, 8)
    make_room(text, 9)
    put_head(text, bits, 8, 0xCB)
    return 24


cdef int64_t add_int(Text* text, uint64_t whole, bint negative) except -2:
    cdef int size
    make_room(text, 9)
    if not negative or not whole:
        if whole < 0x80:
            put_head(text, 0, 0, whole)
        else:
            size = 0 if whole < 0x100 else 1 if whole < 0x10000 else 2 if not whole >> 32 else 3
            put_head(text, whole, 1 << size, 0xCC + size)
    elif whole <= 32:
        put_head(text, 0, 0, 0x100 - whole)
    else:
        size = 0 if whole <= 0x80 else 1 if whole <= 0x8000 else 2 if whole <= 0x80000000 else 3
        put_head(text, -whole, 1 << size, 0xD0 + size)
    return 24 if not whole else 28 if not whole >> 30 else 32 if not whole >> 60 else 36


cdef int64_t take_value(Source* source, Text* text, int depth) except -2:
    """A value with the space around it.

    :param depth: how many lists and dicts may be in one another.
    """
    cdef int64_t size = -1
    skip_space(source)
    if source.at >= source.end:
        return -1
    if takes(source, '"', 1):
        size = take_string(source, text)
    elif takes(source, "[", 1):
        size = take_container(source, text, False, depth)
    elif takes(source, "{", 1):
        size = take_container(source, text, True, depth)
    elif takes(source, "null", 4):
        add(text, "\xc0", 1)
        size = 16
    elif takes(source, "true", 4):
        add(text, "\xc3", 1)
        size = 28
    elif takes(source, "false", 5):
        add(text, "\xc2", 1)
        size = 24
    else:
        size = take_number(source, text)
    skip_space(source)
    return size


cdef int64_t take_container(Source* source, Text* text, bint is_dict, int depth) except -2:
    """A list or dict behind its opening bracket."""
    cdef Names names
    cdef Py_ssize_t start = text.length, count = 0
    cdef int64_t size, total = 0
    cdef bint tagged = False
    cdef const char* end = "}" if is_dict else "]"
    if depth <= 0:
        return -1
    no_names(&names)
    make_room(text, LONGEST_HEAD)
    text.length += LONGEST_HEAD
    skip_space(source)
    if not takes(source, end, 1):
        while True:
            if is_dict:
                if not has_name(source, text, &names, &tagged):
                    return -1
            size = take_value(source, text, depth - 1)
            if size < 0:
                return -1
            total += size
            count += 1
            if takes(source, end, 1):
                break
            if not takes(source, ",", 1):
                return -1
    if tagged and count == 1:
        return -1
    close_head(text, start, count, 0x80 if is_dict else 0x90, 15, 0xDE if is_dict else 0xDC)
    return total


cdef int has_name(Source* source, Text* text, Names* names, bint* tagged) except -1:
    """A name of a dict and its colon; 0: it isn't one, there may be one like it, or there are too many.

    :param names: those before it, to which it is added.
    :param tagged: is set if it may be one of the tags, with which a dict of one name stands for something else.
    """
    cdef Py_ssize_t start = text.length
    cdef const uint8_t* name
    skip_space(source)
    if not takes(source, '"', 1) or take_string(source, text) < 0:
        return 0
    name = <const uint8_t*>text.at + start + head_of_string(text.at[start])
    tagged[0] = <const char*>name < text.at + text.length and name[0] == b"$"
    if not adds_name(names, name, text.at + text.length - <const char*>name):
        return 0
    skip_space(source)
    return takes(source, ":", 1)


cdef int64_t take_document(Source* source, Text* text, int most_nesting) except -2:
    """A document as `pyshard.cli.document_text.parse` reads it: JSON, or else a str."""
    cdef Source json = source[0], look
    cdef int64_t size
    skip_space(&json)
    look = json
    if not may_be_json(&look):
        return take_text(source, text)
    size = take_value(&json, text, most_nesting)
    return size if json.at == json.end else -1


cdef bint may_be_json(Source* source) noexcept nogil:
    """See `pyshard.cli.document_text.may_be_json`. There is no space before the text."""
    cdef bint is_float = False
    if source.at == source.end:
        return False
    if source.at[0] == b'"' or source.at[0] == b"[" or source.at[0] == b"{":
        return True
    if source.at[0] == b"-" and takes(source, "-Infinity", 9):
        return True
    if source.at[0] == b"-" or 0x30 <= source.at[0] <= 0x39:
        if not skip_number(source, &is_float):
            return False
    elif not (
        takes(source, "null", 4) or takes(source, "true", 4) or takes(source, "false", 5)
        or takes(source, "NaN", 3) or takes(source, "Infinity", 8)
    ):
        return False
    skip_space(source)
    return source.at == source.end


cdef int64_t take_text(Source* source, Text* text) except -2:
    """A str that isn't JSON, to the end of the source."""
    cdef Py_ssize_t length = source.end - source.at, count = 0
    cdef uint32_t widest = 0
    cdef int size
    make_room(text, LONGEST_HEAD + length)
    text.length += LONGEST_HEAD
    put(text, <const char*>source.at, length)
    while source.at < source.end:
        size = 1 if source.at[0] < 0x80 else character_size(source.at, source.end)
        if not size:
            return -1
        widest = max(widest, point_of(source.at, size))
        source.at += size
        count += 1
    close_head(text, text.length - length - LONGEST_HEAD, length, 0xA0, 31, 0xDA)
    return size_of_text(count, widest)


cdef object pair_of(bytes line, Text* text, bint jsonl, object made, Py_ssize_t most_bytes, int most_nesting):
    """The key and the document of a line; None: the plain twin is to say what they are."""
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(line)
    cdef Source source = Source(at, at + PyBytes_GET_SIZE(line))
    cdef int64_t size = -1
    if source.at < source.end and (source.end - 1)[0] == b"\r":
        source.end -= 1
    text.length = 0
    key = key_in_json(&source, text) if jsonl else key_before_bar(&source)
    if key is None:
        return None
    text.length = 0
    if not jsonl:
        size = take_document(&source, text, most_nesting)
    elif expects(&source, b",") and expects(&source, b'"doc"') and expects(&source, b":"):
        size = take_value(&source, text, most_nesting)
        if not expects(&source, b"}") or source.at != source.end:
            return None
    if size < 0 or size >> 32 or text.length > most_bytes:
        return None
    return key, made(record_of(text, size), size)


cdef object key_before_bar(Source* source):
    cdef const char* start = <const char*>source.at
    cdef const char* bar = <const char*>memchr(start, b"|", source.end - source.at)
    if bar is NULL or memchr(bar, b"\r", <const char*>source.end - bar) is not NULL:
        return None
    source.at = <const uint8_t*>bar + 1
    try:
        return PyUnicode_DecodeUTF8(start, bar - start, NULL)
    except UnicodeDecodeError:
        return None


cdef object key_in_json(Source* source, Text* text):
    """The key of a line of JSONL, where it comes first and is a str."""
    cdef Py_ssize_t head
    if not (expects(source, b"{") and expects(source, b'"key"') and expects(source, b":") and takes(source, '"', 1)):
        return None
    if take_string(source, text) < 0:
        return None
    head = head_of_string(text.at[0])
    return PyUnicode_DecodeUTF8(text.at + head, text.length - head, NULL)


cdef bint expects(Source* source, bytes expected):
    """Whether some bytes come next, with space around them; they are taken."""
    skip_space(source)
    if not takes(source, PyBytes_AS_STRING(expected), PyBytes_GET_SIZE(expected)):
        return False
    skip_space(source)
    return True


cdef bytes record_of(Text* text, int64_t size):
    cdef bytes record = PyBytes_FromStringAndSize(NULL, HEAD + text.length)
    cdef char* at = PyBytes_AS_STRING(record)
    cdef int byte
    at[0] = FORMAT
    for byte in range(4):
        at[1 + byte] = <char>(size >> 8 * (3 - byte))
    memcpy(at + HEAD, text.at, text.length)
    return record


def pairs_of_lines(list lines not None, bint jsonl, made, Py_ssize_t most_bytes, int most_nesting):
    """For each line its key and its document; see `pyshard.cli.line_formats.parse_lines`.

    :param jsonl: whether lines are JSONL, else ``key|document``.
    :param made: makes the document of its record and its size.
    :param most_bytes: that a document may have in MessagePack, without its elements being counted.
    :param most_nesting: how deep it may nest.
    :return: None in place of what the plain twin has to look at.
    """
    cdef Text text = Text(NULL, 0, 0)
    cdef list found = []
    try:
        for line in lines:
            found.append(pair_of(line, &text, jsonl, made, most_bytes, most_nesting))
        return found
    finally:
        PyMem_Free(text.at)
