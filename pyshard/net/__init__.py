"""Connections, of either side: how bytes become boxes, how a peer is dialed, and how a lost connection comes back.

From below: `bounded_box_stream` (boxes within limits), `command_connection` (calls and answers), `dialed_connection`
and `heartbeat` (a dialed one), `reconnecting_dialer` (dial, greet, back off, dial again). Beside them:
`connection_parameters`, `connection_url` and `address_parsing` (what a client is given; without Twisted, for the
blocking client), `client_endpoints` (addresses → endpoints), `happy_eyeballs` and `staggered_race`,
`name_questions` (looks up names, for all clients), `awaited_names` and `reactor_names` (those of a reactor or loop),
`authenticating_endpoint` (a token first), `backoff`, `disconnect_reason`.
"""
