"""Networks: trunks, pooling, batch norm per domain, the encoder. They know nothing of clustering."""

from spcl.nn.compiler_later import load_networks

# Before any file of this folder imports them.
load_networks()
