"""A server over HTTP: embed, compare, search, identify and enrol images of one gallery."""
