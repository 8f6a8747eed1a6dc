"""The names of the files of a run that are read without loading what computes."""

CONFIG_FILE, METRICS_FILE = "config.toml", "metrics.jsonl"
