"""The bootstrap's web page: what the cluster looks like now, and where a key lies. It changes nothing.

Rules:

- The page is a file that never changes. What it shows comes as JSON, once a second; its script shows that as text.
- Shards are asked while somebody looks at the page, and each by itself: one that is slow holds up nobody.
- Whoever may see figures may see the page: where there are tokens, whoever presents one (`pyshard.http.token_guard`).
- What a shard says of itself may be anything. It is checked, and bounded.
"""
