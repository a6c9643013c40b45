"""The end of the page: how it is measured. It changes with the code, not with the figures."""

from __future__ import annotations

METHOD = """\
## How it is measured

- The servers of every side are processes of their own on loopback, started for the run: pyshard's daemons by
  `twistd`, from the installed package; Redis without snapshots, and with its append-only file where it must be
  durable; memcached with one thread a server; etcd as it is. sqlite3 and diskcache have no server: they are files of
  the program that measures, and no CPU time is given for them. All clients run in the process that measures. Only the
  original pyshard, whose package has the same name, has an environment of its own, with a worker that times its calls.
- Both sides store the same documents under the same keys in the same order. The peers are used as their own users
  would: documents are encoded and decoded by msgspec's MessagePack, called directly, which checks and measures nothing.
  pyshard does that by itself, and its time counts. The original uses JSON; it can't do otherwise.
- Documents are of seven shapes, equally many of each: an *int*; a short *str*; a *flat* row of about 90 bytes, as a
  crawler notes it; a *nested* row with a list and a dict in it; a *page* of 4 KiB with headers and links; a *wide* row
  of 40 fields; and a text of 200 characters in many scripts, *unicode*. Bulk calls, single ones, those in flight and
  those of threads work on all shapes together. Bulk calls and one blocking read work on each shape by itself, too.
- A round is pyshard, then its peer, with the same calls, after one round of each to warm up. Documents, keys and
  their order are made before the clock starts. Whatever else the machine does in a round slows both sides, so the
  ratio stays while the rates move.
- A round with a durable store goes on for two seconds at least: its calls are made again and again. What such a store
  puts off, as when it brings its log into its tables or writes its log anew, comes once in a second or
  so. A shorter round has none of that or all of it.
- The system places client and servers, as it does for users; rates jump between rounds then, on both sides. The table
  of the comparisons with processors of their own is the exception.
- Values are checked on both sides: every document that was read is compared with the expected one, and one written
  document in twenty is read back. The version in each document is the round's number. A wrong value ends the run.
- *Bulk* is 1,000 documents a call: `write_many` and `read_many`, MSET and MGET, `mset_nonatomic` and `mget_nonatomic`
  of redis-py's cluster client, `set_many` and `get_many` of pymemcache, `executemany` and a SELECT with 1,000 keys in
  sqlite3, a transaction of `set` or `get` in diskcache.
- *500 in flight*: a Deferred client, in a process with the epoll reactor. Each answer is decoded, and makes the
  next call. *On asyncio* it is an asyncio client on the loop that Python has, and 500 tasks that await their calls.
- *16 threads* share one client, and each makes one call at a time.
- *YCSB*: its core mixes, by 16 threads that share one client, over 10,000 documents of ten fields of a hundred
  characters. Keys are zipfian with YCSB's constant, 0.99, and scattered by its hash; in mix D the newest ones are the
  most popular. A write stores the whole document. A read-modify-write counts as one operation.
- The scaling has flat rows alone, and so has the memory per document.
- *CPU* is the user and system time of the processes that store documents, from /proc, which counts in hundredths of a
  second. *Memory* is how much their resident memory grows while an empty store takes all documents.
- The stock AMP echo stores nothing: it shows the cost of a call that is an AMP box of its own."""
