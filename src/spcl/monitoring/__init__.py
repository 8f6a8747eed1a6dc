"""Drift: whether new images of a camera still look like those of the gallery."""
