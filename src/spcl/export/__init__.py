"""Encoders as files for other programs."""
