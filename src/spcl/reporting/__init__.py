"""Listeners that send what happens in a run elsewhere."""
