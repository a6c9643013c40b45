"""The values that all is about: keys, documents, shard map, cluster state, config file. Pure: no I/O, no clock."""
