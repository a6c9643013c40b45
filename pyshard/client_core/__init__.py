"""The core of every client: its decisions, without any I/O. The Deferred, blocking and asyncio clients drive it."""
