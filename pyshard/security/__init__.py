"""Who may do what, connections that nobody reads or forges, and files that nobody else reads.

- `private_files`: files for their owner alone;
- `secret_file`: reading a secret; `file_change`: values that are made anew when their files have changed;
- `tokens_and_roles`: roles, and the tokens that give them; `token_file`: a file of tokens, read with care;
- `tls`: which certificates a side shows and trusts, endpoints with TLS, and why a handshake failed.

SECURITY.md says what protects against what.
"""
