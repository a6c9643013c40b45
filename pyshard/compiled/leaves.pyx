# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The compiled twins of what is done for each key, each document and each answer.

Rules:

- Each function has a plain twin in Python, which says what it does; tests run both and compare them.
- What a function here doesn't know or would refuse, it leaves to its twin: it gives None. So errors have one wording.
- Limits are arguments. Nothing here decides anything.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_KIND(object text)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? -1
    Py_ssize_t PySequence_Fast_GET_SIZE(object list_or_tuple)
    PyObject* PySequence_Fast_GET_ITEM(object list_or_tuple, Py_ssize_t place)
    int PyGC_Disable()
    int PyGC_Enable()


# ---------------------------------------------------------------------- keys → texts and slots

cdef enum:
    SLOTS = 10_000_000

# RFC 1321: what each of the 64 steps adds, and by how much each of a round's steps turns.
cdef uint32_t[64] ADDED = [
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391,
]
cdef int[16] TURNED = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]


cdef inline uint32_t turned(uint32_t word, int bits) noexcept nogil:
    return word << bits | word >> (32 - bits)


cdef void md5_block(uint32_t* state, const uint8_t* block) noexcept nogil:
    """Take 64 bytes into the state of MD5."""
    cdef uint32_t[16] words
    cdef uint32_t a = state[0], b = state[1], c = state[2], d = state[3], mixed
    cdef int step
    for step in range(16):
        words[step] = (
            block[4 * step] | <uint32_t>block[4 * step + 1] << 8
            | <uint32_t>block[4 * step + 2] << 16 | <uint32_t>block[4 * step + 3] << 24
        )
    for step in range(16):
        mixed = a + (d ^ (b & (c ^ d))) + ADDED[step] + words[step]
        a, d, c = d, c, b
        b += turned(mixed, TURNED[step & 3])
    for step in range(16):
        mixed = a + (c ^ (d & (b ^ c))) + ADDED[16 + step] + words[(5 * step + 1) & 15]
        a, d, c = d, c, b
        b += turned(mixed, TURNED[4 + (step & 3)])
    for step in range(16):
        mixed = a + (b ^ c ^ d) + ADDED[32 + step] + words[(3 * step + 5) & 15]
        a, d, c = d, c, b
        b += turned(mixed, TURNED[8 + (step & 3)])
    for step in range(16):
        mixed = a + (c ^ (b | ~d)) + ADDED[48 + step] + words[(7 * step) & 15]
        a, d, c = d, c, b
        b += turned(mixed, TURNED[12 + (step & 3)])
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d


cdef uint64_t big_endian(uint32_t first, uint32_t second) noexcept nogil:
    """Eight bytes of an MD5, of which a state has each four in little-endian order, as a number."""
    cdef uint64_t found = 0
    cdef int byte
    for byte in range(4):
        found = found << 8 | (first >> 8 * byte & 0xFF)
    for byte in range(4):
        found = found << 8 | (second >> 8 * byte & 0xFF)
    return found


cdef uint32_t slot_of_state(const uint32_t* state) noexcept nogil:
    """The remainder of an MD5, as the float next to it, by the number of slots."""
    cdef uint64_t high = big_endian(state[0], state[1]), low = big_endian(state[2], state[3]), kept, dropped, power
    cdef int exponent = 64
    if not high:
        high, low, exponent = low, 0, 0
    if not high:
        return 0
    while not high >> 63:
        high = high << 1 | low >> 63
        low <<= 1
        exponent -= 1
    kept, dropped = high >> 11, high & 0x7FF  # a float has 53 bits
    if dropped > 0x400 or (dropped == 0x400 and (low or kept & 1)):
        kept += 1
    exponent += 11
    if exponent <= 0:  # it is a whole number of less than 53 bits
        return <uint32_t>((kept >> -exponent) % SLOTS)
    power = 1
    while exponent > 0:
        power = (power << (exponent if exponent < 32 else 32)) % SLOTS
        exponent -= 32
    return <uint32_t>(kept % SLOTS * power % SLOTS)


cdef uint32_t slot_of_text(const char* index, Py_ssize_t index_size, const char* key, Py_ssize_t key_size) noexcept nogil:
    """The slot of a key: of its text, behind that of an index and a colon if there is one."""
    cdef uint32_t[4] state
    cdef uint8_t[64] block
    cdef int filled = 0, part, byte
    cdef uint64_t bits = 8 * <uint64_t>(key_size + (index_size + 1 if index_size else 0))
    cdef const char* at
    cdef Py_ssize_t left, taken
    state[0], state[1], state[2], state[3] = 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476
    for part in range(3):
        if part < 2 and not index_size:
            continue
        if part == 0:
            at, left = index, index_size
        elif part == 1:
            at, left = ":", 1
        else:
            at, left = key, key_size
        while left:
            taken = min(left, 64 - filled)
            memcpy(block + filled, at, taken)
            filled += <int>taken
            at += taken
            left -= taken
            if filled == 64:
                md5_block(state, block)
                filled = 0
    block[filled] = 0x80
    filled += 1
    if filled > 56:
        memset(block + filled, 0, 64 - filled)
        md5_block(state, block)
        filled = 0
    memset(block + filled, 0, 56 - filled)
    for byte in range(8):
        block[56 + byte] = <uint8_t>(bits >> 8 * byte)
    md5_block(state, block)
    return slot_of_state(state)


def slot_of(bytes key not None, bytes index not None=b""):
    """See `pyshard.model.key_slots.slot_of`."""
    return slot_of_text(
        PyBytes_AS_STRING(index), PyBytes_GET_SIZE(index), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
    )


def slots_of(keys, bytes index not None=b""):
    """See `pyshard.model.key_slots.slots_of`."""
    cdef const char* prefix = PyBytes_AS_STRING(index)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(index)
    cdef list slots = []
    cdef bytes key
    for key in keys:
        if key is None:
            raise TypeError("a key is bytes, not None")
        slots.append(slot_of_text(prefix, size, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
    return slots


def keys_bytes(keys, Py_ssize_t longest):
    """See `pyshard.model.key_slots.keys_bytes`.

    :param keys: a list or tuple.
    :param longest: bytes that a key may have.
    :return: None: one isn't a str, or can't be a key.
    """
    cdef list texts = []
    cdef const char* text
    cdef Py_ssize_t size = 0
    for key in keys:
        if not PyUnicode_CheckExact(key):
            return None
        try:
            text = PyUnicode_AsUTF8AndSize(key, &size)
        except UnicodeEncodeError:
            return None
        if size > longest:
            return None
        texts.append(PyBytes_FromStringAndSize(text, size))
    return texts


def split(slots, starts):
    """Which range owns which of many slots; see `pyshard.model.shard_map.ShardMap.split`.

    :param starts: a list: the first slot of each range, rising from 0.
    :return: for each range the positions in `slots` of those that it owns, rising.
    """
    cdef list parts = [[] for _ in starts]
    cdef Py_ssize_t low, high, middle, position = 0
    cdef long slot
    for slot in slots:
        low, high = 0, len(starts)
        while high - low > 1:
            middle = (low + high) >> 1
            if slot < <long>starts[middle]:
                high = middle
            else:
                low = middle
        (<list>parts[low]).append(position)
        position += 1
    return parts


# ---------------------------------------------------------------------- documents → records and sizes

cdef enum:
    FORMAT = 1  # the format byte of a record
    HEAD = 5  # bytes of a record before its document


cdef struct Walk:
    Py_ssize_t least_bytes  # that the document has in MessagePack
    Py_ssize_t most_bytes  # that it may have
    int most_nesting


cdef int64_t whole_number_size(object value) except? -1:
    """The size of an int; -1: it is past 64 bits."""
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef uint64_t left
    if overflow < 0:
        return -1
    if overflow:
        try:
            left = PyLong_AsUnsignedLongLong(value)
        except OverflowError:
            return -1
    else:
        left = -<uint64_t>number if number < 0 else <uint64_t>number
    return 24 if not left else 28 if not left >> 30 else 32 if not left >> 60 else 36


cdef int64_t size_of(object value, int depth, Walk* walk) except? -1:
    """The size of a value that is in so many lists and dicts; -1: the plain twin is to say what it is."""
    cdef Py_ssize_t count, place = 0
    cdef int64_t size, total = 0
    cdef PyObject *key
    cdef PyObject *inner
    cdef int kind
    if PyUnicode_CheckExact(value):
        count = PyUnicode_GET_LENGTH(value)
        walk.least_bytes += count
        if PyUnicode_IS_ASCII(value):
            return 49 + count
        kind = PyUnicode_KIND(value)
        return 73 + count if kind == 1 else 72 + kind + kind * count
    if PyLong_CheckExact(value):
        return whole_number_size(value)
    if value is None:
        return 16
    if value is True:
        return 28
    if value is False or PyFloat_CheckExact(value):
        return 24
    if PyBytes_CheckExact(value):
        walk.least_bytes += PyBytes_GET_SIZE(value)
        return 33 + PyBytes_GET_SIZE(value)
    if depth >= walk.most_nesting:
        return -1
    if PyDict_CheckExact(value):
        while PyDict_Next(value, &place, &key, &inner):
            if not PyUnicode_CheckExact(<object>key):
                return -1
            walk.least_bytes += 1 + PyUnicode_GET_LENGTH(<object>key)
            size = size_of(<object>inner, depth + 1, walk)
            if size < 0:
                return -1
            total += size
    elif PyList_CheckExact(value) or PyTuple_CheckExact(value):
        count = PySequence_Fast_GET_SIZE(value)
        walk.least_bytes += count
        for place in range(count):
            size = size_of(<object>PySequence_Fast_GET_ITEM(value, place), depth + 1, walk)
            if size < 0:
                return -1
            total += size
    else:
        return -1
    return total if walk.least_bytes <= walk.most_bytes else -1


def plain_size(document, Py_ssize_t most_bytes, int most_nesting):
    """The size of a document of values of the plain types; see `pyshard.model.document_size.measure`.

    :param most_bytes: that it may have in MessagePack.
    :param most_nesting: how deep it may nest.
    :return: None: it is of other types, can't be stored, or has an int past 64 bits.
    """
    cdef Walk walk = Walk(0, most_bytes, most_nesting)
    cdef int64_t size = size_of(document, 0, &walk)
    return None if size < 0 or walk.least_bytes > most_bytes else size


cdef bytes with_head(int64_t size, bytes body):
    """A record: the head, and the document's MessagePack behind it."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(body)
    cdef bytes record = PyBytes_FromStringAndSize(NULL, HEAD + length)
    cdef char* at = PyBytes_AS_STRING(record)
    cdef int byte
    at[0] = FORMAT
    for byte in range(4):
        at[1 + byte] = <char>(size >> 8 * (3 - byte) & 0xFF)
    memcpy(at + HEAD, PyBytes_AS_STRING(body), length)
    return record


cdef int64_t append_record(
    object document, object encode_body, list records, Py_ssize_t most_bytes, int most_nesting, Py_ssize_t most_uncounted
) except? -1:
    """Make the record of a document; its size, or -1: the plain twin is to say what it is."""
    cdef Walk walk = Walk(0, most_bytes, most_nesting)
    cdef int64_t size = size_of(document, 0, &walk)
    cdef bytes body
    if size < 0 or walk.least_bytes > most_bytes or size >> 32:
        return -1
    try:
        body = encode_body(document)
    except UnicodeEncodeError:  # there are lone surrogates in it
        return -1
    if PyBytes_GET_SIZE(body) > min(most_bytes, most_uncounted):
        return -1
    records.append(with_head(size, body))
    return size


def record_of(document, encode_body, Py_ssize_t most_bytes, int most_nesting, Py_ssize_t most_uncounted):
    """The record and size of a document of plain values; see `pyshard.model.document_encoding.encode`.

    :param encode_body: makes a document's MessagePack.
    :param most_uncounted: bytes of MessagePack up to which a document's elements needn't be counted.
    :return: None: it isn't of plain values, can't be stored, or has to be counted.
    """
    cdef list records = []
    cdef int64_t size = append_record(document, encode_body, records, most_bytes, most_nesting, most_uncounted)
    return None if size < 0 else (records[0], size)


def records_of(
    documents, Py_ssize_t room, encode_body, Py_ssize_t most_bytes, int most_nesting, Py_ssize_t most_uncounted
):
    """The records and sizes of many documents; see `pyshard.model.bulk_document_encoding.encode_many`.

    :param room: bytes of records after which it ends, with documents left over.
    :return: None: one of them is none for `record_of`.
    """
    cdef list records = [], sizes = []
    cdef int64_t size
    for document in documents:
        size = append_record(document, encode_body, records, most_bytes, most_nesting, most_uncounted)
        if size < 0:
            return None
        sizes.append(size)
        room -= PyBytes_GET_SIZE(records[len(records) - 1])
        if room <= 0:
            break
    return records, sizes


# ---------------------------------------------------------------------- answers → results

def found_records(results, slots, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    """What `read` gives for each of some keys; see `pyshard.client_core.result_decoding`.

    The collector of cycles rests meanwhile: documents have none, and it would look through them again and again.

    :param results: a list: for each key its record behind `begin` other bytes, or None.
    :param slots: a list or tuple: the slot of each key.
    :param quick_document: makes a document of MessagePack, without running any Python; raises for what it doesn't know.
    :param most_uncounted: bytes of MessagePack up to which a document's elements needn't be counted.
    :return: None: one of them isn't what `quick_document` knows, or has to be counted.
    """
    cdef bint collects = PyGC_Disable()
    try:
        return _found_records(results, slots, begin, quick_document, most_uncounted)
    finally:
        if collects:
            PyGC_Enable()


cdef list _found_records(results, slots, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    cdef list found = []
    cdef const char* at
    cdef Py_ssize_t length, place = 0
    cdef uint32_t slot
    for result in results:
        slot = slots[place]
        place += 1
        if result is None:
            found.append(None)
            continue
        if not PyBytes_CheckExact(result):
            return None
        at, length = PyBytes_AS_STRING(result) + begin, PyBytes_GET_SIZE(result) - begin - HEAD
        if length <= 0 or at[0] != FORMAT or length > most_uncounted:
            return None
        try:
            document = quick_document(PyBytes_FromStringAndSize(at + HEAD, length))
        except Exception:
            return None
        found.append({"hash_": slot / 1e7, "record": document})
    return found


# ---------------------------------------------------------------------- keys and records ⇄ what lies in LMDB

cdef enum:
    KEY_HEAD = 9  # bytes of a database key before its key
    VALUE_HEAD = 16  # bytes of a value before its record


def database_keys(uint32_t index, slots, keys):
    """See `pyshard.storage.durable.lmdb_encoding.database_keys`.

    :param slots: a list or tuple or the like: the slot of each key.
    """
    cdef list found = []
    cdef bytes key, db_key
    cdef char* at
    cdef uint32_t slot
    cdef Py_ssize_t length
    for place, key in zip(slots, keys):
        if key is None:
            raise TypeError("a key is bytes, not None")
        slot = place
        length = PyBytes_GET_SIZE(key)
        db_key = PyBytes_FromStringAndSize(NULL, KEY_HEAD + length)
        at = PyBytes_AS_STRING(db_key)
        put_big_endian(at, index, 4)
        put_big_endian(at + 4, slot, 4)
        at[8] = 0
        memcpy(at + KEY_HEAD, PyBytes_AS_STRING(key), length)
        found.append(db_key)
    return found


def stored_values(versions, records):
    """See `pyshard.storage.durable.lmdb_encoding.pack_many`."""
    cdef list found = []
    cdef bytes record, value
    cdef char* at
    cdef uint64_t version
    cdef Py_ssize_t length
    for number, record in zip(versions, records):
        if record is None:
            raise TypeError("a record is bytes, not None")
        version = number
        length = PyBytes_GET_SIZE(record)
        value = PyBytes_FromStringAndSize(NULL, VALUE_HEAD + length)
        at = PyBytes_AS_STRING(value)
        put_big_endian(at, version, 8)
        memset(at + 8, 0, 8)
        memcpy(at + VALUE_HEAD, PyBytes_AS_STRING(record), length)
        found.append(value)
    return found


cdef inline void put_big_endian(char* at, uint64_t number, int size) noexcept nogil:
    cdef int byte
    for byte in range(size):
        at[byte] = <char>(number >> 8 * (size - 1 - byte) & 0xFF)


def stored_results(values, Py_ssize_t room, Py_ssize_t kept, Py_ssize_t begin):
    """See `pyshard.storage.durable.lmdb_encoding.results_plainly`.

    :param values: bytes, views of bytes, and None; views as LMDB gives them, each dropped before the next is made.
    """
    cdef list found = []
    cdef bytes result
    cdef Py_buffer view
    if room <= 0:
        return found
    for value in values:
        if value is None:
            found.append(None)
            continue
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            result = parts(<const char*>view.buf, view.len, kept, begin)
        finally:
            PyBuffer_Release(&view)
        found.append(result)
        room -= PyBytes_GET_SIZE(result)
        if room <= 0:
            break
    return found


cdef bytes parts(const char* at, Py_ssize_t length, Py_ssize_t kept, Py_ssize_t begin):
    """The first `kept` of some bytes, and those from `begin` on."""
    cdef Py_ssize_t first = min(kept, length), rest = max(length - begin, 0)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, first + rest)
    memcpy(PyBytes_AS_STRING(result), at, first)
    memcpy(PyBytes_AS_STRING(result) + first, at + begin, rest)
    return result


# ---------------------------------------------------------------------- bytes → boxes

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
