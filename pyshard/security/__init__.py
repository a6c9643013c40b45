"""Who may do what, and connections that nobody reads or forges: tokens, and TLS.

- `tokens_and_roles`: roles, and the tokens that give them; `token_file`: a file of tokens, read with care;
- `tls`: which certificates a side shows and trusts, endpoints with TLS, and why a handshake failed.

SECURITY.md says what protects against what.
"""
