"""Events: what happened and is told outside; stored once, delivered by signed webhook at least once."""
