"""A daemon's HTTP port (``--http``): metrics, health, and what else is to be looked at. It changes nothing.

Rules:

- A peer that is slow, silent, greedy or broken takes a bounded part of the daemon (`pyshard.http.bounded_site`).
- Where the daemon has tokens, whoever asks for figures presents one (`pyshard.http.token_guard`). Whether the daemon
  lives and is ready it tells anybody, and nothing else.
- prometheus_client, of the extra ``pyshard[metrics]``, is imported when a port is asked for.
"""
