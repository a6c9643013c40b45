"""What both daemons share: connections that they accept, who is admitted, and the options of their commands.

From below: `permissions` and `connection_admission` (who may do what, and how many), `held_bytes_limit`,
`session_fence` with `changes_in_flight`, `connection` (one accepted connection), `factory` (all of them), `listener`
(the port, and the drain), `silent_connection_log` (health checks). Beside them, for the plugins: `daemon_options`,
`daemon_tls_options`, `listen_address`, `file_limits`; `twistd_file_options`, `pid_file`, `rotated_log_file`,
`signals_and_exit`, and `daemon_service`, which puts these around what a daemon serves.
"""
