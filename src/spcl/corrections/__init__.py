"""Corrections by hand of groups: the file, what it says about images, and the groups after it."""
