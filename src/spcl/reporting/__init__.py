"""Events of a run and its listeners: the console, metrics.jsonl."""
