"""The store in memory: for each index a dict, and its keys in slot order."""
