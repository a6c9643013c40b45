"""The defaults and limits of pyshard: each is set here and nowhere else, with its unit and its reason.

They are found as in the original pyshard: ``from pyshard.settings import settings``, then ``settings.DEADLINE``.
docs/limits.md says what happens past each limit.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Settings:
    """The defaults of this release. They are frozen: to run with another value, pass it where it is used."""

    # -- where, and how long ---------------------------------------------------------------------------------------

    #: [host, port]: where the bootstrap listens, and clients look for it. The original pyshard's.
    BOOTSTRAP_SERVER: list[str | int] = attrs.field(factory=lambda: ["localhost", 9192])
    #: Port of a shard. The original pyshard's.
    SHARD_PORT: int = 5050
    #: Seconds that one operation may take, retries and reconnects included, so that a caller never waits for ever.
    DEADLINE: float = 10.0
    #: Seconds that one attempt to connect, or one answer to a housekeeping call, may take: room for two in a deadline.
    TIMEOUT: float = 5.0
    #: Seconds of silence after which a client pings a peer, or pings before it sends: a dead connection is found early.
    HEARTBEAT: float = 30.0
    #: Seconds between the bootstrap's looks at each shard: a shard that restarts is configured within this time.
    WATCH_INTERVAL: float = 1.0
    #: Seconds for which a stopping daemon waits for the answers it owes, so that a slow peer can't keep it from ending.
    DRAIN: float = 5.0
    #: Seconds before the first new attempt to reach a peer; each further wait is longer, up to `RETRY_LONGEST`.
    RETRY_FIRST: float = 0.05
    #: Seconds that the wait between two attempts is at the most: a peer that is back is found within this time.
    RETRY_LONGEST: float = 1.0

    #: Seconds for which the primary of a shard with replicas answers by a member's promise not to lead: so long, and a
    #: third more, until another one leads when it is gone. Longer, and a pause of a process costs no failover.
    LEASE: float = 3.0

    # -- keys, documents, names ------------------------------------------------------------------------------------

    #: Bytes of one document as stored, so that one document fits into one box.
    MAX_DOCUMENT_BYTES: int = 16 * 1024 * 1024
    #: Bytes of an int's record that `increment` takes or makes: to read, add and write a longer one takes too long.
    MAX_INT_BYTES: int = 64 * 1024
    #: Elements of one document: items of its lists, keys and values of its dicts. Each may take 120 bytes of memory,
    #: and all of them 0.15 s to be decoded. The environment variable PYSHARD_MAX_ELEMENTS allows a client more.
    MAX_ELEMENTS: int = 1_000_000
    #: How deep lists and dicts of one document may nest: a deeper one could exhaust the stack of whoever reads it.
    MAX_NESTING: int = 100
    #: Bytes of one key's text in UTF-8: a page of keys has room for several of the longest.
    MAX_KEY_BYTES: int = 64 * 1024
    #: Characters of a shard's or an index's name: names stand in messages, logs and every batch.
    MAX_NAME: int = 100
    #: Named indexes of a cluster, since each costs every shard and every client some memory.
    MAX_INDEXES: int = 1000
    #: Shards of a cluster, since each costs every client some memory, and some time with each new map.
    MAX_SHARDS: int = 5000
    #: Ranges of all shards of a cluster, for the same reason.
    MAX_RANGES: int = 20_000
    #: Ranges of one shard, since its statistics have a histogram of each.
    MAX_SHARD_RANGES: int = 1000
    #: Replicas of one shard, since each waits for the slowest of them.
    MAX_REPLICAS: int = 7
    #: Moves of ranges that a cluster's state has: planned, under way, or not done with.
    MAX_MOVES: int = 1000
    #: Changes of a cluster's state that wait for their turn at a bootstrap, each some KiB of memory.
    MAX_WAITING_CHANGES: int = 10_000
    #: Configs that are applied at a time, and as many changes of replicas: each may wait for shards for seconds.
    MAX_OPERATOR_CALLS: int = 16
    #: Bytes of a cluster state's JSON text: room for as many indexes, shards and ranges as above.
    MAX_STATE_BYTES: int = 4 * 1024 * 1024
    #: Bytes of cluster states that a bootstrap has under way to shards, for each of three reasons to tell them
    #: (`pyshard.bootstrap.push_turns`): room for two of the largest, and what a slow network takes in a second.
    PUSHED_BYTES: int = 8 * 1024 * 1024
    #: Bytes that a shard counts for each document besides its key and its record, about what the store needs for it.
    ITEM_OVERHEAD: int = 128
    #: Bytes that a shard counts besides for a document with a time to live, about what the store needs for that.
    EXPIRY_OVERHEAD: int = 112

    # -- boxes and connections, at a daemon ------------------------------------------------------------------------

    #: Bytes of one AMP box, with all lengths: one document of the largest size, its key, and room to spare.
    MAX_BOX_BYTES: int = 18 * 1024 * 1024
    #: Keys of one AMP box: more than the chunks of the largest box need.
    MAX_BOX_KEYS: int = 320
    #: Seconds within which a peer must finish a box that it began, so that half a box isn't held for ever.
    UNFINISHED_BOX: float = 30.0
    #: Boxes of one connection that wait for their answers at the same time; then the daemon stops reading from it.
    BOXES_UNDER_WAY: int = 32
    #: Bytes of those boxes, of large documents that their answers will have, and of answers that wait for replicas:
    #: more than the largest box has.
    BYTES_UNDER_WAY: int = 32 * 1024 * 1024
    #: Bytes that a daemon holds for all peers together: of begun boxes, of answers that weren't read, of what waits
    #: for replicas, and of parts of changes that weren't fetched.
    HELD_BYTES: int = 1024 * 1024 * 1024
    #: Connections that a daemon serves; each needs memory and a file.
    MAX_CONNECTIONS: int = 10_000
    #: Connections from one address, so that one machine can't take all places.
    MAX_CONNECTIONS_PER_ADDRESS: int = 4_000
    #: Connections of peers that haven't authenticated yet, where they must.
    MAX_STRANGERS: int = 1_000
    #: Connections over the limit that are told so before they are closed; more than these are closed at once.
    MAX_REFUSED: int = 200
    #: Seconds for which a refused connection is told so: long enough for its first question.
    REFUSED: float = 2.0
    #: Connections that the system keeps for a daemon that hasn't accepted them yet: many clients may come at once.
    LISTEN_BACKLOG: int = 1_000
    #: Files that a daemon may have open besides those of its connections.
    OTHER_FILES: int = 200
    #: Seconds for which a daemon serves boxes as they come, or gives out answers that waited for replicas, before
    #: others must have had their chance to be read.
    SERVED_AT_ONCE: float = 0.02
    #: Seconds for which it serves one peer of those that wait, before it reads what has come meanwhile; one box at the
    #: least. So long may others have to wait for each of theirs, and this costs a tenth of what such a slice gets done.
    SERVED_SLICE: float = 0.00025
    #: Connections that it accepts before it serves those that it has.
    ACCEPTED_AT_ONCE: int = 10
    #: Seconds of silence after which a daemon pings a peer, and by which a peer must have read some answer.
    IDLE: float = 600.0
    #: Seconds between two looks at all connections; a peer that was pinged has until the next one to answer.
    IDLE_LOOK: float = 30.0
    #: Seconds that a TLS handshake may take, since until then nobody knows who the peer is.
    HANDSHAKE: float = 10.0
    #: Handshakes that a daemon has in progress: many clients may come at once. Each takes 35 KiB and a file.
    MAX_HANDSHAKES: int = 1_000
    #: Bytes that a peer may send in its handshake: six certificates with RSA keys of 4,096 bits take a third of that. A
    #: longer chain would take 0.1 ms more for each KiB, and strangers may send one.
    HANDSHAKE_BYTES: int = 24 * 1024
    #: Lines a second about connections in a daemon's log, since a peer may connect a thousand times in it.
    CONNECTION_LINES: float = 20.0
    #: Lines a second in the bootstrap's log on why one shard isn't ready, since the shard words the reason.
    SHARD_LINES: float = 0.5
    #: New stores within a minute with which a shard in memory may come: each is a new epoch for the whole cluster.
    NEW_STORES: int = 10

    #: Seconds after which an operation counts as slow, and has a line in the shard's log: what a person would notice.
    SLOW_OPERATION: float = 1.0
    #: Bytes after which a daemon's log file is put aside: a busy day's lines, and no more than an editor opens.
    LOG_BYTES: int = 10 * 1024 * 1024
    #: Log files that are kept beside the present one, so that a log takes no more than its share of the disk.
    LOG_FILES: int = 10

    # -- peers that haven't authenticated yet, and tokens ----------------------------------------------------------

    #: Keys of a stranger's box: `Authenticate` needs three.
    STRANGER_BOX_KEYS: int = 8
    #: Bytes of a stranger's box: room for the longest secret.
    STRANGER_BOX_BYTES: int = 1024
    #: Boxes that a stranger may send: three tokens, and some questions that are refused.
    STRANGER_BOXES: int = 20
    #: Seconds within which a stranger must finish a box.
    STRANGER_UNFINISHED_BOX: float = 5.0
    #: Seconds of each turn of the reactor in which boxes of strangers are served, behind those of all others.
    STRANGERS_SERVED: float = 0.0001
    #: Lines a second about strangers in a daemon's log, since they may come by thousands.
    STRANGER_LINES: float = 5.0
    #: Seconds within which a peer must present a right token.
    AUTHENTICATION: float = 10.0
    #: Wrong tokens after which a connection is closed, so that nobody tries many on one.
    WRONG_TOKENS: int = 3
    #: Characters of a token's secret at the least: too many possible ones to guess.
    MIN_SECRET: int = 16
    #: Characters of a token's secret at the most: it must fit into a stranger's box.
    MAX_SECRET: int = 256
    #: Bytes of a token file: a larger file is surely another one.
    MAX_TOKEN_FILE: int = 64 * 1024

    # -- the HTTP port of a daemon ---------------------------------------------------------------------------------

    #: Connections of a daemon's HTTP port: those who look at it, and some browsers.
    HTTP_CONNECTIONS: int = 100
    #: Seconds within which a peer must send a whole request, from its connection or its last answer on, and read an
    #: answer, before it gets the next one, or its connection is closed.
    HTTP_REQUEST: float = 30.0
    #: Requests a second that are answered in the long run, since one may take some milliseconds.
    HTTP_PACE: float = 50.0
    #: Requests that are answered at once, when none came before.
    HTTP_BURST: int = 50
    #: Web pages of a bootstrap that are kept up to date at a time, each over a connection of its HTTP port.
    HTTP_STREAMS: int = 20
    #: Seconds for which such a page may read nothing: longer than a laptop's network is away, and then it is cut off.
    HTTP_STREAM_STALLED: float = 30.0
    #: Shards that the web page shows, since each is asked every second.
    SHOWN_SHARDS: int = 500
    #: Bytes of a document's record that the web page shows: a larger one is for a program, not for a page.
    SHOWN_RECORD_BYTES: int = 256 * 1024
    #: Seconds that the look-up of a key on the web page may take: somebody waits for it.
    LOOK_UP: float = 3.0
    #: Keys that are looked up at a time, each at another shard, since an answer may take 16 MiB of memory.
    LOOK_UPS: int = 4

    # -- batches, answers and pages --------------------------------------------------------------------------------

    #: Operations of one batch, since a shard does nothing else while it applies one.
    MAX_BATCH: int = 10_000
    #: Runs of one batch, empty ones as well, since each costs a shard as much as ten operations: as many as a client's
    #: box has if no two operations share one.
    MAX_RUNS: int = 1000
    #: Bytes of keys and records after which an answer takes no further operation.
    ANSWER_BYTES: int = 1024 * 1024
    #: Bytes of messages of the errors in an answer: with them, the largest document still fits into the box.
    ERROR_BYTES: int = 256 * 1024
    #: Bytes of keys that a shard works on for one batch: to hash each twice and to look it up takes some 5 ns. They are
    #: more than a client's box has.
    BATCH_KEY_BYTES: int = 2 * 1024 * 1024
    #: Bytes of records that a shard copies for one batch: for touches and increments. An int counts four times.
    BATCH_WORK: int = 16 * 1024 * 1024
    #: Operations of a batch that may read what is a little old: a member that answers them at length would keep all
    #: changes of its shard waiting. Clients put as many into a box.
    STALE_OPERATIONS: int = 1000
    #: Bytes of records that a durable shard looks at for one batch, or for one page of keys, also for `has` and for
    #: conditions: in plain Python all of a record is read to find it. That takes 0.3 ms, and up to 0.3 s where a slow
    #: disk has it.
    LOOKED_AT_ONCE: int = 128 * 1024 * 1024
    #: Times that a durable shard waits for a disk for one batch, or for one page of keys: for a page of its data that
    #: isn't in memory. A disk takes 0.1 ms for one, a slow one 1 ms; the first 32 keys are looked at in any case.
    DISK_READS_AT_ONCE: int = 160
    #: Operations of one batch that a shard applies one by one: all but `has`, `read`, and a `write` without conditions
    #: and times to live. A time to live counts as one more, and so does an increment: some 20 ms in all.
    BATCH_ONE_BY_ONE: int = 4000
    #: Keys of one page of keys.
    PAGE_KEYS: int = 1000
    #: Bytes of one page of keys: room for several of the longest.
    PAGE_BYTES: int = 256 * 1024
    #: Keys that a shard looks at for one page, with those that have expired or were removed: else a page could take a
    #: minute, and be empty.
    PAGE_STEPS: int = 2000
    #: Bytes of memory that changes take while they wait for a durable shard's disk, from all its clients; and as many
    #: until all members of a shard with replicas have them.
    MAX_COMMIT_BYTES: int = 256 * 1024 * 1024
    #: Questions that wait at a shard with replicas, for a lease or for its members. Each is some 40 objects, at which
    #: Python's garbage collector looks: 0.2 s for half of them, which is what one address may have. As many have 375
    #: connections under way.
    MAX_WAITING_QUESTIONS: int = 24_000
    #: Changes that a durable shard commits together: as many as the largest batch has.
    MAX_GROUP_CHANGES: int = 10_000
    #: Bytes of memory that those take, bytes that they write to the log (as many as let a checkpoint begin), and bytes
    #: of documents that their answers give: as many may also wait for the reactor.
    MAX_GROUP_BYTES: int = 16 * 1024 * 1024
    #: Bytes of full segments of the log that a durable shard keeps for followers: some minutes of a busy shard. Of a
    #: shard in memory those that changes take there.
    FOLLOWED_LOG_BYTES: int = 256 * 1024 * 1024
    #: Seconds for which it keeps one, so that a follower that never comes back takes no room for ever.
    FOLLOWED_LOG_SECONDS: float = 3600.0
    #: Snapshots that a shard may have open, since each keeps old records from being dropped. One is for role admin.
    MAX_SNAPSHOTS: int = 4
    #: Snapshots of one address, for other roles than admin, so that one peer can't have all places.
    MAX_SNAPSHOTS_PER_ADDRESS: int = 2
    #: Seconds after which a snapshot that nobody reads from is closed.
    SNAPSHOT_IDLE: float = 60.0
    #: Bytes that must be read from a snapshot in a second, on the average, after the first `SNAPSHOT_IDLE` seconds: any
    #: network has more.
    SNAPSHOT_PACE: int = 256 * 1024
    #: Seconds that a shard may take for its part of a backup besides, to look for what has not expired: it leaves most
    #: of the time to others meanwhile.
    SNAPSHOT_LOOKS: float = 3600.0
    #: Bytes of disk, or of memory, that a shard keeps for the snapshots of other roles than admin; as many as it has in
    #: use, where that is more, since a backup of a large store takes long.
    SNAPSHOT_PINS: int = 256 * 1024 * 1024
    #: Times these bytes for the snapshots of role admin: its backup is to be had while others write all the time.
    ADMIN_SNAPSHOT_PINS: int = 4
    #: Seconds that an address has no further snapshot for each document that a shard in memory has kept for its last
    #: ones. To keep one takes whoever writes it a sixteenth of that in a bulk load, a quarter of it elsewhere.
    SNAPSHOT_REST: float = 0.000004
    #: Seconds of that which it may owe, so that a backup can be begun anew at once.
    SNAPSHOT_REST_OWED: float = 2.0
    #: Followers of a shard that it serves: each keeps a part of its log.
    MAX_FOLLOWERS: int = 8
    #: Seconds for which the further parts of an answer with changes are kept for a follower, or a replica, that doesn't
    #: ask for the next one: a part is 4 MiB.
    REST_KEPT: float = 30.0
    #: Seconds for which a follower's question about changes waits for some.
    FOLLOW_WAIT: float = 1.0
    #: Seconds for which a follower may be behind before the writers of what it follows are slowed down.
    FOLLOWED_AT_ONCE: float = 10.0
    #: Seconds after which a move is cancelled whose target can't catch up with the changes of its slots all the same.
    MOVE_CATCHES_UP: float = 120.0
    #: Copies that a move begins; then it is cancelled: what stopped these will stop others, too.
    MOVE_COPIES: int = 10
    #: Seconds after which a move is cancelled that comes no further, though its source answers.
    MOVE_STALLS: float = 600.0
    #: Bytes of changes that a follower is given at a time.
    FOLLOW_BYTES: int = 1024 * 1024
    #: Seconds after a range was closed, since it is about to move, for which what comes for it waits at the shard. Most
    #: are closed for a tenth of that. Longer, and operations with short deadlines would wait there past them.
    PARKED: float = 1.0
    #: Batches, and questions for keys or counts, that wait there.
    MAX_PARKED: int = 10_000
    #: Those of one connection: half of the boxes that it may have under way, so that it is read on.
    MAX_PARKED_OF_CONNECTION: int = 16
    #: Bytes of memory that those of all connections take.
    MAX_PARKED_BYTES: int = 128 * 1024 * 1024
    #: Bytes of a range's copy that a shard takes in a second: a quarter of what 1 Gbit/s gives. It is slower by itself
    #: where the shards' clients need the time.
    COPY_PACE: int = 32 * 1024 * 1024
    #: Documents that a shard looks at in one go to open a snapshot, or for a page of one, with those that have expired.
    SNAPSHOT_STEPS: int = 2000
    #: Bytes of one page of a snapshot.
    SNAPSHOT_BYTES: int = 1024 * 1024

    # -- clients ---------------------------------------------------------------------------------------------------

    #: Operations that a client puts into one box: enough that the cost of a box doesn't matter.
    BOX_OPERATIONS: int = 1000
    #: Bytes that a client puts into one box; a larger document has a box for itself.
    BOX_BYTES: int = 1024 * 1024
    #: Boxes that a client has in flight to one shard, so that the shard always has work while answers travel.
    BOXES_IN_FLIGHT: int = 4
    #: Operations that may wait for one shard, so that a shard that doesn't answer costs bounded memory.
    MAX_WAITING: int = 100_000
    #: Bytes of those operations.
    MAX_WAITING_BYTES: int = 256 * 1024 * 1024
    #: Questions of one daemon that a client answers at once, on one connection: an honest one asks one in ten minutes.
    PEER_QUESTIONS: int = 20
    #: Questions a second that it answers besides, so that no flood of them takes the time of other connections.
    PEER_QUESTIONS_PACE: float = 1.0
    #: Questions to one peer that aren't operations, such as pages of keys, that may wait for their answers.
    MAX_QUESTIONS: int = 1000
    #: Operations that a bulk verb prepares at a time; meanwhile the shards apply those before them.
    BULK_STEP: int = 500
    #: So many times as many, but no more times than there are shards, which divide them.
    BULK_STEPS: int = 4
    #: What it prepares where it changes durable shards, however many, which commit at once what comes together.
    BULK_STEP_DURABLE: int = 1000
    #: Operations that a bulk verb has in flight, so that its memory is bounded for input of any length.
    BULK_OPERATIONS: int = 4000
    #: Bytes that a bulk verb has in flight.
    BULK_BYTES: int = 8 * 1024 * 1024
    #: Bytes of answers after which a walk over documents, such as `items`, reads nothing more before it has given out
    #: what has come. What is in flight then comes on top. Two such reads may be kept.
    WALK_BYTES: int = 16 * 1024 * 1024
    #: Seconds for which a walk over the keys waits for the answers of one range, while keys come more slowly than
    #: `WALK_PACE`: a shard may have to pass by many that have expired.
    WALK_LOOKS: float = 3600.0
    #: Keys that such a walk must get in a second besides, on the average.
    WALK_PACE: int = 20

    # -- statistics ------------------------------------------------------------------------------------------------

    #: Connections that `stat` tells of, the busiest ones: to tell of ten thousand takes longer than a hundred reads.
    STAT_CONNECTIONS: int = 100
    #: Indexes whose documents `stat` and metrics count by themselves; all others count together.
    STAT_INDEXES: int = 100
    #: Bars of the histogram in `stat`.
    HISTOGRAM_BARS: int = 10


settings = Settings()
