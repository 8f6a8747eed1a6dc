"""Correct groups in a browser: a local page over ``spcl.corrections``."""
