"""The values that all is about: keys, documents, shard map, cluster state, config file. Pure: no I/O, no clock.

But `config_file` reads its file, by `regular_file`, which also reads other files that somebody else may have put there.
"""
