"""What crosses the wire, layer by layer, from bytes to operations. Pure: no sockets, no reactor.

- `boxes`: AMP's boxes ⇄ bytes, with limits;
- `argument_types`: what a command's arguments are, each with one form on the wire;
- `chunked_arguments`: bytes of any length as an argument, which cross in chunks;
- `commands`: every command, with its arguments, its answer and the role that it needs;
- `error_answers`: an error ⇄ the box that answers a command with it;
- `apply_boxes`: the boxes of `Apply`, the command that carries operations, made without AMP's machinery;
- `batch_operations` and `batch_encoding`: the operations in an `Apply`, and their MessagePack;
- `batch_outline`: what is known of a batch before it is decoded, and where one that can't be read is at fault;
- `batch_answers`: what a shard answers to a batch, as MessagePack; `answer_size_check`: how much that may be;
- `pages`: pages of an index's keys and of a snapshot's records, as MessagePack (`message_pack_heads`).

Rules:

- whatever a peer sends is checked here. Bytes that can't be read give `BadRequest`; bytes that are no box give
  `boxes.BoxBreach`, after which the connection can't go on;
- a value over 65,535 bytes crosses in chunks, since AMP can't carry it otherwise;
- every command may answer with every error of `pyshard.errors`, since AMP closes a connection after any other;
- a newer peer may append fields, and these are skipped.

docs/protocol.md says the same in prose, precise enough to write a client from it; docs/protocol-vectors.json has
test vectors. `pyshard.net` moves the bytes.
"""
