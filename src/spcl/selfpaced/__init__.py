"""The paper, one file per step: clusters, reliability, memory, loss."""
