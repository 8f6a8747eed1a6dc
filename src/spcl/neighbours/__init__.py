"""Nearest neighbours: exact, approximate, on a device, by faiss, behind one function. Arrays in, arrays out."""
