"""AMP as pyshard speaks it: long values in chunks, boxes with limits, responders that can't hurt the connection.

Rules kept here (and why):

- a value past 65,535 bytes crosses as `ChunkedBytes`, since AMP can't carry it otherwise (`command`);
- a box has at most so many keys and bytes, and a peer has so long to finish one, since stock AMP takes any box
  (`stream`);
- a peer isn't read from while it reads no answers, or while it waits for many, so that neither fills the memory
  (`stream`);
- whatever goes wrong in a responder is answered as an error that its command declares, since AMP closes the
  connection, with every call in flight on it, after any other (`failures`, `connection`);
- a peer that breaks the protocol loses its own connection, at once, with one line in the log;
- TLS is the endpoint's business: AMP's own StartTLS and protocol switches aren't answered.
"""
