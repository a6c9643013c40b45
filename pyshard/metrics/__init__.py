"""What daemons count of themselves, and what of it is a metric. Plain values: nothing here knows of HTTP or Prometheus.

Rules:

- What is counted costs a batch, a commit or a connection one or two additions, and nothing for each operation.
- A count has one owner, which adds to it, in one thread. Whoever reads it may see it a moment old.
- No label has anything of a key, a document or a peer.
- `stat` has every figure. A metric is read out of what `stat` gives (`pyshard.metrics.shard_families`).
"""
