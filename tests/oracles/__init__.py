"""Slow, dense, obvious versions of every step, written from the papers: what the fast ones are held against."""
