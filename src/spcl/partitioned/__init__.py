"""The label stage for features that do not fit in memory: arrays on disk, in parts, and the result of the whole."""
