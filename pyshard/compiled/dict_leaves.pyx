# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""What a store in memory does with its dicts, compiled; see `pyshard.compiled`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.list cimport PyList_CheckExact
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy
from posix.unistd cimport _SC_PAGESIZE, sysconf

from pyshard.compiled.dict_prefetch cimport PREFETCHED, bytes_in_use, prefetch_values

cdef extern from "Python.h":
    PyObject** PySequence_Fast_ITEMS(object list_or_tuple)
    void PyObject_GC_UnTrack(void* container)
    ctypedef struct PyDictObject:
        void* ma_keys

cdef extern from "sys/mman.h" nogil:
    int MADV_DONTNEED
    int madvise(void* start, size_t size, int advice)


cdef enum:
    VERSION = 8  # bytes of a version, before its record
    MANY = 1000  # entries of a dict that may not be in the processor's caches


cdef inline void look_ahead(dict records, list keys, Py_ssize_t place) noexcept:
    """Fetch what the next keys lead to, if those before are done with."""
    if not place & (PREFETCHED - 1) and len(records) >= MANY and len(keys) > 1:
        prefetch_values(<PyObject*>records, PySequence_Fast_ITEMS(keys) + place, len(keys) - place)


cdef inline list in_list(keys):
    return keys if PyList_CheckExact(keys) else list(keys)


def prefetched(dict records not None, list keys not None):
    """For how many of the first keys something was fetched ahead, of those that are fetched together; for tests."""
    return prefetch_values(<PyObject*>records, PySequence_Fast_ITEMS(keys), len(keys))


def found_values(dict records not None, keys, Py_ssize_t room):
    """See `pyshard.storage.memory.dict_lookups.found_values_plainly`."""
    cdef list values = [], wanted = in_list(keys)
    cdef PyObject* value
    cdef Py_ssize_t place
    for place in range(len(wanted)):
        look_ahead(records, wanted, place)
        value = PyDict_GetItemWithError(records, wanted[place])
        if value is NULL or not PyBytes_CheckExact(<object>value):
            return None
        room -= PyBytes_GET_SIZE(<object>value)
        if room <= 0:
            return None
        values.append(<object>value)
    return values if room > 0 else None


def values_of(dict records not None, keys):
    """See `pyshard.storage.memory.dict_lookups.values_of_plainly`."""
    cdef list values = [], wanted = in_list(keys)
    cdef PyObject* value
    cdef Py_ssize_t place
    for place in range(len(wanted)):
        look_ahead(records, wanted, place)
        value = PyDict_GetItemWithError(records, wanted[place])
        values.append(None if value is NULL else <object>value)
    return values


def has_all(dict records not None, keys):
    """See `pyshard.storage.memory.dict_lookups.has_all_plainly`."""
    cdef list wanted = in_list(keys)
    cdef Py_ssize_t place
    for place in range(len(wanted)):
        look_ahead(records, wanted, place)
        if PyDict_GetItemWithError(records, wanted[place]) is NULL:
            return False
    return True


def put_values(dict records not None, keys, new, versions, uint64_t newest=0):
    """See `pyshard.storage.memory.dict_updates.put_values_plainly`."""
    cdef list added = [], wanted = in_list(keys)
    cdef dict older = {}
    cdef Py_ssize_t grown = 0, place = 0, size
    cdef PyObject* old
    cdef bytes record, value
    if not len(wanted) == len(new) == len(versions):
        raise ValueError("there are more keys, more records or more versions")
    for version in versions:
        look_ahead(records, wanted, place)
        key = wanted[place]
        record = new[place]
        if record is None:
            raise TypeError("a record is bytes, not None")
        size = PyBytes_GET_SIZE(record)
        value = value_of(version, record, size)
        grown += size
        old = PyDict_GetItemWithError(records, key)
        if old is NULL:
            added.append(place)
        else:
            grown -= PyBytes_GET_SIZE(<object>old) - VERSION
            if newest and version_of(<object>old) <= newest:
                older[place] = <object>old
        PyDict_SetItem(records, key, value)
        place += 1
    return grown, added, older


cdef inline uint64_t version_of(object value) noexcept:
    """The version of a value, with which it begins."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef uint64_t version = 0
    cdef int byte
    for byte in range(VERSION):
        version = version << 8 | at[byte]
    return version


cdef bytes value_of(uint64_t version, bytes record, Py_ssize_t size):
    """Version and record in one."""
    cdef bytes value = PyBytes_FromStringAndSize(NULL, VERSION + size)
    cdef char* at = PyBytes_AS_STRING(value)
    cdef int byte
    for byte in range(VERSION):
        at[byte] = <char>(version >> 8 * (VERSION - 1 - byte))
    memcpy(at + VERSION, PyBytes_AS_STRING(record), size)
    return value


def taken_bytes(dict table not None):
    """See `pyshard.storage.memory.spare_room.taken_bytes_plainly`."""
    cdef Py_ssize_t taken = bytes_in_use(<PyObject*>table)
    return taken if taken >= 0 else dict.__sizeof__(table) // 2


cdef inline bint is_zero(const char* start, size_t size) noexcept nogil:
    return start[0] == 0 and memcmp(start, start + 1, size - 1) == 0


def give_back_unused(dict table not None, size_t known):
    """See `pyshard.storage.memory.unused_entries.give_back_unused_plainly`."""
    cdef size_t start = <size_t>(<PyDictObject*>table).ma_keys
    if start == known:
        return known
    # A dict's indices and entries are one block of memory, of which it counts each byte, and entries come last.
    cdef size_t page = sysconf(_SC_PAGESIZE)
    cdef size_t end = start + <size_t>(dict.__sizeof__(table) - dict.__basicsize__)
    cdef size_t last = end // page * page
    cdef size_t first = last
    while first >= start + page and is_zero(<const char*>(first - page), page):
        first -= page
    if first < last:
        madvise(<void*>first, last - first, MADV_DONTNEED)  # that this fails on locked memory does no harm
    return start


def untracked(set keys not None):
    """See `pyshard.storage.memory.untracked_sets.untracked_plainly`."""
    PyObject_GC_UnTrack(<void*>keys)
    return keys
