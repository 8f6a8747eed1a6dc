"""The demonstration on built-in images: from a labelled studio to a street without labels."""
