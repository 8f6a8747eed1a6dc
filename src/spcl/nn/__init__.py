"""Networks: trunks, pooling, batch norm per domain, the encoder, and their weights. No clustering."""
