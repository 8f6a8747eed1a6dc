"""Adapt an encoder to crops of your own cameras, without labels; the better of both encoders is kept.

python examples/adapt_to_cameras.py runs/mine/checkpoint.pth.tar my_crops [runs/adapted]
"""

import sys

import spcl
from spcl.reporting.console import ConsoleReporter

checkpoint, crops, *folder = sys.argv[1:]
settings = spcl.AdaptationSettings(logs_dir=folder[0] if folder else "runs/adapted")
found = spcl.adapt(checkpoint, crops, settings, report=ConsoleReporter())

for name in ("found_again", "mutual_neighbours", "across_cameras"):
    before, after = (getattr(figures, name) for figures in (found.before, found.after))
    if before is not None and after is not None:
        print(f"{name}: {before:.2f} before, {after:.2f} after")
print(found.verdict.words)

encoder = spcl.load_encoder(found.path)  # the new encoder, or the old one if the new one is worse
print(f"features of length {encoder.feature_dim} from {found.path}")
