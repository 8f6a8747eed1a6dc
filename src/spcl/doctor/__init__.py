"""``spcl doctor``: whether this machine and this installation can do the work, and what to do where they cannot."""
