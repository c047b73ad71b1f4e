"""Production of many events: in deterministic shards, by any number of processes, and again after any crash."""
