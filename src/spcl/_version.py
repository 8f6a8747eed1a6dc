"""The version, read by the build and shown by ``spcl --version``."""

__version__ = "0.1.0"
