# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Bytes → boxes, compiled; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy


cdef struct Pair:
    const char* key
    Py_ssize_t key_size
    const char* value
    Py_ssize_t size


cdef enum:
    LONGEST_VALUE = 65535


cdef bint read_pair(Pair* pair, const uint8_t** at, const uint8_t* end) noexcept nogil:
    """Read the pair at a place, and go behind it; False: there is none, and the place stays."""
    cdef const uint8_t* here = at[0]
    if end - here < 4:
        return False
    pair.key_size = here[0] << 8 | here[1]
    here += 2
    if not 0 < pair.key_size <= 255 or end - here < pair.key_size + 2:
        return False
    pair.key = <const char*>here
    here += pair.key_size
    pair.size = here[0] << 8 | here[1]
    here += 2
    if end - here < pair.size:
        return False
    pair.value = <const char*>here
    at[0] = here + pair.size
    return True


cdef Py_ssize_t number_in(Pair* pair) noexcept nogil:
    """The number of chunks that a value may be, which is at most 999; 0: it is none."""
    cdef Py_ssize_t number = 0, place
    if not 0 < pair.size <= 3 or pair.value[0] == b"0":
        return 0
    for place in range(pair.size):
        if not b"0" <= pair.value[place] <= b"9":
            return 0
        number = 10 * number + pair.value[place] - 48
    return number


cdef bint is_chunk(Pair* pair, Pair* named, Py_ssize_t number) noexcept nogil:
    """Whether a pair is the chunk of a number of an argument."""
    cdef Py_ssize_t at = pair.key_size
    if at <= named.key_size + 1 or memcmp(pair.key, named.key, named.key_size) or pair.key[named.key_size] != b".":
        return False
    while at > named.key_size + 1:  # from the last digit on
        at -= 1
        if pair.key[at] != 48 + number % 10:
            return False
        number //= 10
        if not number:
            break
    return number == 0 and at == named.key_size + 1


cdef bytes joined_chunks(Pair* named, Py_ssize_t number, const uint8_t** at, const uint8_t* end):
    """The chunks of an argument, if they are the next pairs; the place is behind them then. None: they aren't."""
    cdef const uint8_t* here = at[0]
    cdef Py_ssize_t size = 0, place
    cdef Pair pair
    cdef char* to
    cdef bytes whole
    for place in range(number):
        if not read_pair(&pair, &here, end) or not is_chunk(&pair, named, place):
            return None
        size += pair.size
    whole = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(whole)
    for place in range(number):
        read_pair(&pair, at, end)
        memcpy(to, pair.value, pair.size)
        to += pair.size
    return whole


def whole_box(data, Py_ssize_t most_keys, Py_ssize_t most_bytes):
    """The box that some bytes are, if they are a single whole one; see `pyshard.protocol.boxes`.

    :param most_keys: pairs that it may have.
    :param most_bytes: bytes that it may have.
    :return: None: they are no box, more than one, a part of one, or one over its limits. Or it is a large one with
        chunks that don't stand in their order behind their number.
    """
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef Py_ssize_t pairs = 0, chunks
    cdef bint large
    cdef Pair pair
    cdef bytes key, whole
    cdef dict box = {}
    if not PyBytes_CheckExact(data):
        return None
    at = <const uint8_t*>PyBytes_AS_STRING(data)
    end = at + PyBytes_GET_SIZE(data)
    if not 2 < end - at <= most_bytes or (end - 1)[0] or (end - 2)[0]:
        return None
    large = end - at > LONGEST_VALUE
    while read_pair(&pair, &at, end):
        most_keys -= 1
        key = PyBytes_FromStringAndSize(pair.key, pair.key_size)
        if large and memchr(pair.key, b".", pair.key_size) != NULL:
            return None
        chunks = number_in(&pair) if large else 0
        whole = joined_chunks(&pair, chunks, &at, end) if chunks else None
        if whole is not None:
            most_keys -= chunks
            box[key] = b"1"
            box[key + b".0"] = whole
            pairs += 2
        else:
            box[key] = PyBytes_FromStringAndSize(pair.value, pair.size)
            pairs += 1
        if most_keys < 0 or len(box) < pairs and large:
            return None
    return box if end - at == 2 and not at[0] and not at[1] else None
