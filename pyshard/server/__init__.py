"""The connections of both daemons (`pyshard.server.listener` has them come and go).

Rules kept here: each connection has an id of its own (``c1``, ``c2``, …), which stands in the log and in `stat`; a
peer that doesn't read its answers isn't read from; a connection is ended in such a way that no answer is lost: it is
read until the other side has closed, too, since a system that closes a connection with something unread resets it.
Where there are tokens, a peer that hasn't authenticated is a stranger: it is answered `Authenticate` and `Ping`, under
limits of its own, and not for long. Who comes when there are too many is told so, and nothing else, under a stranger's
limits (`pyshard.server.admission`); whose connection turns out to have ended without a word is cut off. A peer
that connects anew in a session takes the place of its older connection (`pyshard.server.session_fence`).
"""
