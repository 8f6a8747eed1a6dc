"""Networks: trunks, pooling, batch norm per domain, the encoder. They know nothing of clustering."""
