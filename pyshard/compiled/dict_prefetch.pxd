"""Fetches from memory what a dict has for many keys, before they are looked up; and tells how much of a dict is in use.

A look-up reads four places of memory, one after the other: the index, the entry, the key, the value. In a dict of many
records each is a wait of 100 ns. The places of different keys don't depend on each other: a processor that is told of
them fetches ten or more at the same time.

Rules:

- It is a hint. Nothing is changed, and no look-up goes by what was found: a wrong place costs time alone. So does a wrong
  size: a dict is copied too early or too late.
- Keys are bytes, so that no Python runs, and the dict stays as it is meanwhile.
- How a dict lies in memory is taken from `Include/internal/pycore_dict.h` of those versions of CPython that are named
  here. With any other nothing is fetched, and no size is known.
"""

from cpython.object cimport PyObject

cdef extern from *:
    """
    #define PREFETCHED 64  /* keys at a time, a power of 2: what they lead to fits into the first cache */

    #if defined(__GNUC__) && !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED) \\
        && PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030E0000
    typedef struct {
        Py_ssize_t references;
        uint8_t log2_size, log2_index_bytes, kind;
        uint32_t version;
        Py_ssize_t usable, used;
        char indices[];  /* behind them are the entries */
    } dict_table;

    typedef struct {
        Py_hash_t hash;
        PyObject *key, *value;
    } dict_entry;

    #define ANY_KEYS 0  /* the kind of a table whose keys aren't all str */

    static Py_ssize_t entry_number(const dict_table *table, size_t slot) {
        if (table->log2_size < 8) return ((const int8_t *)table->indices)[slot];
        if (table->log2_size < 16) return ((const int16_t *)table->indices)[slot];
        if (table->log2_size < 32) return ((const int32_t *)table->indices)[slot];
        return (Py_ssize_t)((const int64_t *)table->indices)[slot];
    }

    static Py_ssize_t prefetch_values(PyObject *dict, PyObject *const *keys, Py_ssize_t count) {
        const dict_table *table = (const dict_table *)((PyDictObject *)dict)->ma_keys;
        const size_t mask = ((size_t)1 << table->log2_size) - 1;
        const size_t index_bytes = (size_t)1 << table->log2_index_bytes;
        const dict_entry *entries = (const dict_entry *)(table->indices + index_bytes);
        const dict_entry *found[PREFETCHED];
        size_t slots[PREFETCHED];
        Py_ssize_t place, number, fetched = 0;
        if (table->kind != ANY_KEYS) return 0;
        if (count > PREFETCHED) count = PREFETCHED;
        for (place = 0; place < count; place++) {
            if (!PyBytes_CheckExact(keys[place])) return 0;
            slots[place] = (size_t)PyObject_Hash(keys[place]) & mask;
            __builtin_prefetch(table->indices + (slots[place] * index_bytes >> table->log2_size));
        }
        for (place = 0; place < count; place++) {
            number = entry_number(table, slots[place]);
            found[place] = 0 <= number && number < table->used ? entries + number : NULL;
            if (found[place] != NULL) __builtin_prefetch(found[place]);
        }
        for (place = 0; place < count; place++) {
            if (found[place] == NULL || found[place]->value == NULL) continue;
            __builtin_prefetch(found[place]->key);
            __builtin_prefetch((const char *)found[place]->key + 64);
            __builtin_prefetch(found[place]->value);
            fetched++;
        }
        return fetched;
    }

    static Py_ssize_t bytes_in_use(PyObject *dict) {
        const dict_table *table = (const dict_table *)((PyDictObject *)dict)->ma_keys;
        if (table->kind != ANY_KEYS) return -1;
        return (Py_ssize_t)(sizeof(dict_table) + ((size_t)1 << table->log2_index_bytes))
            + table->used * (Py_ssize_t)sizeof(dict_entry);
    }
    #else
    static Py_ssize_t prefetch_values(PyObject *dict, PyObject *const *keys, Py_ssize_t count) {
        (void)dict, (void)keys, (void)count;
        return 0;
    }

    static Py_ssize_t bytes_in_use(PyObject *dict) {
        (void)dict;
        return -1;
    }
    #endif
    """
    Py_ssize_t PREFETCHED

    # Fetch what a dict has for some keys, of which the first `PREFETCHED` count; for how many it has found something.
    Py_ssize_t prefetch_values(PyObject* dict, PyObject** keys, Py_ssize_t count) noexcept

    # Bytes of the dict's index, and of its entries up to the last that was ever used; -1: it isn't known.
    Py_ssize_t bytes_in_use(PyObject* dict) noexcept
