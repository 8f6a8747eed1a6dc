"""Arrays in, arrays out: neighbours, k-reciprocal encoding, Jaccard distance, ranking. Imports nothing else of spcl."""
