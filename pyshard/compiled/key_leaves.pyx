# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Keys → texts, slots and shards, compiled; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyshard.compiled.md5_lanes cimport HAS_LANES, md5_of_lanes

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef enum:
    SLOTS = 10_000_000
    LANES = 8  # texts that go through MD5 together
    SHORT = 55  # bytes of the longest text that MD5 takes as one block

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


cdef enum:
    EXPONENTS = 76  # one more than the greatest of a float that is next to an MD5

# For each exponent the remainder of that power of 2 by the number of slots.
cdef uint64_t[EXPONENTS] POWERS
cdef int exponent
POWERS[0] = 1
for exponent in range(1, EXPONENTS):
    POWERS[exponent] = POWERS[exponent - 1] * 2 % SLOTS

cdef uint32_t[4] FIRST = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]  # the state before the first block


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


cdef inline uint32_t reversed_bytes(uint32_t word) noexcept nogil:
    return word << 24 | (word & 0xFF00) << 8 | (word >> 8 & 0xFF00) | word >> 24


cdef inline uint64_t big_endian(uint32_t first, uint32_t second) noexcept nogil:
    """Eight bytes of an MD5, of which a state has each four in little-endian order, as a number."""
    return <uint64_t>reversed_bytes(first) << 32 | reversed_bytes(second)


cdef uint32_t slot_of_state(const uint32_t* state) noexcept nogil:
    """The remainder of an MD5, as the float next to it, by the number of slots."""
    cdef uint64_t high = big_endian(state[0], state[1]), low = big_endian(state[2], state[3]), kept, dropped
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
    return <uint32_t>(kept % SLOTS * POWERS[exponent] % SLOTS)


cdef uint32_t slot_of_text(const char* index, Py_ssize_t index_size, const char* key, Py_ssize_t key_size) noexcept nogil:
    """The slot of a key: of its text, behind that of an index and a colon if there is one."""
    cdef uint32_t[4] state
    cdef uint8_t[64] block
    cdef int filled = 0, part, byte
    cdef uint64_t bits = 8 * <uint64_t>(key_size + (index_size + 1 if index_size else 0))
    cdef const char* at
    cdef Py_ssize_t left, taken
    state[0], state[1], state[2], state[3] = FIRST[0], FIRST[1], FIRST[2], FIRST[3]
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
    cdef Py_ssize_t size = PyBytes_GET_SIZE(index), before = size + 1 if size else 0
    cdef list slots = []
    cdef uint8_t[LANES * 64] blocks
    cdef int filled = 0
    cdef bytes key
    for key in keys:
        if key is None:
            raise TypeError("a key is bytes, not None")
        if HAS_LANES and before + PyBytes_GET_SIZE(key) <= SHORT:
            put_block(blocks + 64 * filled, prefix, size, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            filled += 1
            if filled == LANES:
                append_slots(slots, blocks, filled)
                filled = 0
        else:
            append_slots(slots, blocks, filled)
            filled = 0
            slots.append(slot_of_text(prefix, size, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
    append_slots(slots, blocks, filled)
    return slots


cdef void put_block(
    uint8_t* block, const char* index, Py_ssize_t index_size, const char* key, Py_ssize_t key_size
) noexcept nogil:
    """The only block of a short text, as MD5 takes it: the text, a bit, and how many bits the text has."""
    cdef Py_ssize_t size = 0
    if index_size:
        memcpy(block, index, index_size)
        block[index_size] = b":"
        size = index_size + 1
    memcpy(block + size, key, key_size)
    size += key_size
    block[size] = 0x80
    memset(block + size + 1, 0, 63 - size)
    block[56], block[57] = <uint8_t>(8 * size), <uint8_t>(8 * size >> 8)


cdef int append_slots(list slots, const uint8_t* blocks, int count) except -1:
    """Add the slots of the texts of some blocks, at most `LANES`."""
    cdef uint32_t[LANES * 4] states
    cdef int lane
    if not count:
        return 0
    for lane in range(LANES):
        memcpy(states + 4 * lane, FIRST, sizeof(FIRST))
    md5_of_lanes(states, blocks, ADDED)
    for lane in range(count):
        slots.append(slot_of_state(states + 4 * lane))
    return 0


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


def span(slots):
    """See `pyshard.model.slot_ranges.span_plainly`."""
    cdef long least = SLOTS, most = -1, slot
    for each in slots:
        slot = each
        if slot < least:
            least = slot
        if slot > most:
            most = slot
    if most < 0:
        raise ValueError("there are no slots")
    return least, most


def split(slots, starts, numbers, shards):
    """Which shard owns which of many slots; see `pyshard.model.shard_map.ShardMap.split`.

    :param starts: a list: the first slot of each range, rising from 0.
    :param numbers: a list: the shard that owns it, from 0.
    :param shards: how many there are.
    :return: for each shard the positions in `slots` of those that it owns, rising.
    """
    cdef list parts = [[] for _ in range(shards)]
    cdef list owned = [parts[number] for number in numbers]  # each range's, which is its shard's
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
        (<list>owned[low]).append(position)
        position += 1
    return parts
