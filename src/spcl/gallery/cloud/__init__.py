"""A gallery on object storage: the same table as in a folder, at an address such as ``s3://bucket/gates``."""
