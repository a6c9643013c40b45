"""Where the cluster state lives: one interface, and its three implementations. docs/state.md is for operators."""
