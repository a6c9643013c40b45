"""A shard: holds documents for its range of the hash line, and answers batches of operations on them."""
