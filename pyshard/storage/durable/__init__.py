"""The durable store: a write-ahead log, a memtable of what is in the log alone, and LMDB."""
