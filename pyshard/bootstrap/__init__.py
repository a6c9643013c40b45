"""The bootstrap: owns the cluster state, configures every shard with it, and hands out the map."""
