"""The training run as parts: the loop, what it runs on, what it reports."""
