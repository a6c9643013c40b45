# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Documents → records and sizes, and answers → documents, compiled.

Rules, beside those of all compiled code (`pyshard.compiled`):

- only plain built-in types are known. For all else an inner function gives -1 or False, and the outer one None. Then
  the plain twin does it;
- the collector of cycles rests while documents are made, and no Python runs meanwhile;
- `placed` alone knows nothing of documents: it puts the outcomes of a bulk verb at their positions.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pyshard.compiled.short_documents cimport big_endian, number_or_text

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_KIND(object text)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? -1
    Py_ssize_t PySequence_Fast_GET_SIZE(object list_or_tuple)
    PyObject* PySequence_Fast_GET_ITEM(object list_or_tuple, Py_ssize_t place)
    object PyMemoryView_FromMemory(char* at, Py_ssize_t size, int flags)
    int PyBUF_READ
    int PyGC_Disable()
    int PyGC_Enable()


cdef enum:
    FORMAT = 1  # the format byte of a record
    HEAD = 5  # bytes of a record before its document
    LONG = 1024  # bytes of a document from which on a view costs less than a copy


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


# ---------------------------------------------------------------------- answers → documents

def found_records(results, slots, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    """What `read` gives for each of some keys; see `pyshard.client_core.result_decoding`. It goes as `found_documents`.

    :param slots: a list or tuple: the slot of each key.
    """
    return without_collector(results, slots, None, begin, quick_document, most_uncounted)


def found_documents(results, default, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    """What `get` gives for each of some keys.

    The collector of cycles rests meanwhile: documents have none, and it would look through them again and again.

    :param results: a list: for each key its record behind `begin` other bytes, or None.
    :param default: what a missing key gives.
    :param quick_document: makes a document of MessagePack, without running any Python; raises for what it doesn't know.
        Bytes are made without it.
    :param most_uncounted: bytes of MessagePack up to which a document's elements needn't be counted.
    :return: None: one of them isn't what `quick_document` knows, or has to be counted.
    """
    return without_collector(results, None, default, begin, quick_document, most_uncounted)


cdef list without_collector(results, slots, default, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    cdef bint collects = PyGC_Disable()
    try:
        return _found(results, slots, default, begin, quick_document, most_uncounted)
    finally:
        if collects:
            PyGC_Enable()


def placed(list found not None, positions, list outcomes not None):
    """Put each outcome at its position; see `pyshard.client_core.bulk_outcomes`.

    :param positions: a list, tuple or range.
    :return: the types of the outcomes.
    """
    cdef set kinds = set()
    cdef Py_ssize_t position, place, count = len(found)
    cdef object kind, last = None
    if len(positions) != len(outcomes):
        raise ValueError("there are more positions or more outcomes")
    for place in range(len(outcomes)):
        position = positions[place]
        if not 0 <= position < count:
            raise IndexError("a position outside of the list")
        outcome = outcomes[place]
        found[position] = outcome
        kind = type(outcome)
        if kind is not last:
            last = kind
            kinds.add(kind)
    return kinds


cdef list _found(results, slots, default, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    cdef list found = []
    cdef Py_ssize_t place = 0
    for result in results:
        if result is None:
            found.append(default)
        elif not PyBytes_CheckExact(result) or not append_document(
            found, None if slots is None else slots[place], PyBytes_AS_STRING(result) + begin,
            PyBytes_GET_SIZE(result) - begin, quick_document, most_uncounted,
        ):
            return None
        place += 1
    return found


cdef bint append_document(
    list found, slot, const char* at, Py_ssize_t length, quick_document, Py_ssize_t most_uncounted
) except -1:
    """Add the document of a record, with its hash unless `slot` is None; False: it has to be looked at in another way."""
    cdef bint known = False
    cdef Py_ssize_t head
    cdef uint8_t first
    length -= HEAD
    if length <= 0 or at[0] != FORMAT or length > most_uncounted:
        return False
    first = <uint8_t>at[HEAD]
    try:
        document = number_or_text(<const uint8_t*>at + HEAD, length, &known)
        if known:
            pass
        elif 0xC4 <= first <= 0xC6:  # bytes, which `quick_document` doesn't know
            head = 1 + (1 << first - 0xC4)  # with the length
            if length < head or <Py_ssize_t>big_endian(<const uint8_t*>at + HEAD + 1, <int>head - 1) != length - head:
                return False
            document = PyBytes_FromStringAndSize(at + HEAD + head, length - head)
        elif length < LONG:
            document = quick_document(PyBytes_FromStringAndSize(at + HEAD, length))
        else:  # a view costs less than a copy
            document = quick_document(PyMemoryView_FromMemory(<char*>at + HEAD, length, PyBUF_READ))
    except Exception:
        return False
    found.append(document if slot is None else {"hash_": <uint32_t>slot / 1e7, "record": document})
    return True


def answered_records(bytes data not None, slots, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    """What `read` gives for each of some keys, given the MessagePack of the answer to a batch of one run.

    It goes as `found_records` with the results in the answer, none of which is made bytes of its own.

    :return: None: the answer has errors, other results than records and nil, or not one for each key; or as there.
    """
    cdef bint collects = PyGC_Disable()
    try:
        return _answered(data, slots, begin, quick_document, most_uncounted)
    finally:
        if collects:
            PyGC_Enable()


cdef list _answered(bytes data, slots, Py_ssize_t begin, quick_document, Py_ssize_t most_uncounted):
    cdef list found = []
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(data)
    cdef Py_ssize_t count = len(slots), place, size
    cdef int width
    if end - at < 4 or at[0] != 0x91 or at[1] != 0x92:  # one answer, of two fields
        return None
    at += 2
    width = 0 if 0x90 <= at[0] <= 0x9F else 2 if at[0] == 0xDC else 4 if at[0] == 0xDD else -1
    if width < 0 or end - at <= width or (at[0] & 0xF if not width else <Py_ssize_t>big_endian(at + 1, width)) != count:
        return None
    at += 1 + width
    for place in range(count):
        if end - at < 2:
            return None
        if at[0] == 0xC0:
            at += 1
            found.append(None)
            continue
        if not 0xC4 <= at[0] <= 0xC6:
            return None
        width = 1 << (at[0] - 0xC4)
        if end - at <= width:
            return None
        size = <Py_ssize_t>big_endian(at + 1, width)
        at += 1 + width
        if end - at < size or not append_document(
            found, slots[place], <const char*>at + begin, size - begin, quick_document, most_uncounted
        ):
            return None
        at += size
    return found if end - at == 1 and at[0] == 0x80 else None  # no errors
