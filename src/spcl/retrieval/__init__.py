"""Arrays in, arrays out: k-reciprocal encoding, Jaccard distance, ranking, re-ranking."""
