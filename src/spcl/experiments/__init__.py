"""Several runs of training: sweeps over seeds and settings, and tables of the results of finished runs."""
