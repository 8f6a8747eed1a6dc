"""Several runs of training: sweeps over seeds and settings, and tables of what finished runs have reached."""
