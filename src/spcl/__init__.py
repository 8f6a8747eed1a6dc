"""Self-paced contrastive learning with hybrid memory: re-identification without identity labels."""

from spcl._version import __version__

__all__ = ["__version__"]
