"""From a similarity to a probability, a false-match rate, and the answer unknown."""
