"""A shard: holds documents for its ranges of the hash line, and answers batches of operations on them."""
