"""Many files on many workers: a plan of shards, work that can be killed and run again, one answer."""
