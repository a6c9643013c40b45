"""Defaults, each set here and nowhere else.

The seed's way to them stands: ``from pyshard.settings import settings``; ``settings.BOOTSTRAP_SERVER``.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Settings:
    """The defaults of this release. Frozen: to run with another value, pass it where it is used."""

    #: Where clients look for the bootstrap, and where it listens: [host, port].
    BOOTSTRAP_SERVER: list[str | int] = attrs.field(factory=lambda: ["localhost", 9192])
    #: The shard's port.
    SHARD_PORT: int = 5050
    #: Seconds that one operation may take, retries and reconnects included.
    DEADLINE: float = 10.0
    #: Seconds that one attempt to connect, or one answer to a housekeeping call, may take.
    TIMEOUT: float = 5.0
    #: Seconds of silence after which a client asks a peer for a sign of life (it has `TIMEOUT` to give one), and makes
    #: sure of a connection before it sends anything on it.
    HEARTBEAT: float = 30.0
    #: Seconds between the bootstrap's looks at each shard.
    WATCH_INTERVAL: float = 1.0
    #: Seconds for which a stopping daemon waits for the answers it owes.
    DRAIN: float = 5.0
    #: First and longest delay, in seconds, between attempts to reach a peer.
    RETRY_FIRST: float = 0.05
    RETRY_LONGEST: float = 1.0

    #: Bytes of one document as it is stored.
    MAX_DOCUMENT_BYTES: int = 16 * 1024 * 1024
    #: How deep lists and dicts of one document may nest.
    MAX_NESTING: int = 100
    #: Bytes of one key's text in UTF-8.
    MAX_KEY_BYTES: int = 64 * 1024
    #: Characters of a shard's or an index's name.
    MAX_NAME: int = 100
    #: Named indexes of a cluster.
    MAX_INDEXES: int = 1000
    #: Bytes of a cluster state's JSON text: the indexes, and 5,000 shards at the least.
    MAX_STATE_BYTES: int = 4 * 1024 * 1024
    #: Bytes that a shard counts for each document beside its key and its record.
    ITEM_OVERHEAD: int = 128

    #: Bytes of one AMP box, keys and lengths included: one document of the largest size, its key and room to spare.
    MAX_BOX_BYTES: int = 18 * 1024 * 1024
    #: Keys of one AMP box.
    MAX_BOX_KEYS: int = 320
    #: Seconds that a peer may take to finish a box that it began.
    UNFINISHED_BOX: float = 30.0
    #: Boxes of one connection, and their bytes, that wait for their answer at the same time; a daemon reads on when
    #: some have been answered.
    BOXES_UNDER_WAY: int = 32
    BYTES_UNDER_WAY: int = 32 * 1024 * 1024
    #: Bytes that a daemon holds for all peers together of boxes that were begun, and of answers that weren't read.
    HELD_BYTES: int = 1024 * 1024 * 1024
    #: Connections that a daemon serves, and of those one address; then those of peers that haven't authenticated yet,
    #: where they must, and those that are only told, for so many seconds, that there are too many.
    MAX_CONNECTIONS: int = 10_000
    MAX_CONNECTIONS_PER_ADDRESS: int = 4_000
    MAX_STRANGERS: int = 1_000
    MAX_REFUSED: int = 200
    REFUSED: float = 2.0
    #: Connections that the system keeps for a daemon that hasn't got to accepting them.
    LISTEN_BACKLOG: int = 1_000
    #: Files that a daemon may have open beside its connections.
    OTHER_FILES: int = 200
    #: Seconds of silence after which a daemon asks a peer for a sign of life; who gives none by the look after that is
    #: cut off, as is who reads no answer for so long. Seconds between two looks.
    IDLE: float = 600.0
    IDLE_LOOK: float = 30.0
    #: Before a peer has authenticated, where it must: keys and bytes of one box, seconds to finish it, seconds until
    #: it has authenticated, wrong tokens after which its connection is closed.
    STRANGER_BOX_KEYS: int = 8
    STRANGER_BOX_BYTES: int = 1024
    STRANGER_UNFINISHED_BOX: float = 5.0
    AUTHENTICATION: float = 10.0
    WRONG_TOKENS: int = 3
    #: Seconds that a peer may take for a handshake of TLS.
    HANDSHAKE: float = 10.0
    #: Characters of a token's secret; bytes of a token file.
    MIN_SECRET: int = 16
    MAX_SECRET: int = 256
    MAX_TOKEN_FILE: int = 64 * 1024
    #: Operations of one batch.
    MAX_BATCH: int = 10_000
    #: Bytes of keys and records after which an answer takes no further operation.
    ANSWER_BYTES: int = 1024 * 1024
    #: Bytes of records that one batch may have a shard look at, one by one, for conditions, touches and increments.
    BATCH_WORK: int = 64 * 1024 * 1024
    #: Keys and bytes of one page of keys.
    PAGE_KEYS: int = 1000
    PAGE_BYTES: int = 256 * 1024

    #: Bytes of changes that may wait for a durable shard's disk, from all its clients.
    MAX_COMMIT_BYTES: int = 256 * 1024 * 1024

    #: Snapshots that a shard may have open, seconds after which one that nobody reads from is closed, and bytes of
    #: one page of a snapshot.
    MAX_SNAPSHOTS: int = 4
    SNAPSHOT_IDLE: float = 60.0
    SNAPSHOT_BYTES: int = 1024 * 1024

    #: The client's side: operations and bytes it puts into one box, boxes it keeps in flight for one shard,
    #: operations and bytes that may wait for one shard.
    BOX_OPERATIONS: int = 1000
    BOX_BYTES: int = 1024 * 1024
    BOXES_IN_FLIGHT: int = 4
    MAX_WAITING: int = 100_000
    MAX_WAITING_BYTES: int = 256 * 1024 * 1024
    #: Questions that aren't operations, to one peer, that may wait for their answers.
    MAX_QUESTIONS: int = 1000
    #: A bulk verb: operations that it prepares at a time (while shards apply those before them), or with which it
    #: changes durable shards at a time (which commit what comes together at once), operations and bytes in flight.
    BULK_STEP: int = 500
    BULK_STEP_DURABLE: int = 1000
    BULK_OPERATIONS: int = 4000
    BULK_BYTES: int = 8 * 1024 * 1024

    #: Bars of the histogram in `stat`.
    HISTOGRAM_BARS: int = 10


settings = Settings()
