"""Enrol known identities (a folder for each), calibrate, and name other images, or nobody.

python examples/identify.py runs/demo/spcl/checkpoint.pth.tar known_animals new_images
"""

import sys
import tempfile
from pathlib import Path

import spcl
from spcl.data.image_sources import images_of

checkpoint, known, queries = sys.argv[1:]
encoder = spcl.load_encoder(checkpoint)

# What a similarity means, from pairs of the known images; spcl calibrate keeps it in the checkpoint instead.
found = spcl.calibrate(encoder, images_of(known, labelled=True).records, labelled=True)
threshold = found.threshold(0.01)
print(f"two images show one identity from a similarity of {threshold.similarity:.3f} on (1 % of others reach it)")
encoder.facts["calibration"] = found.to_dict()

with tempfile.TemporaryDirectory() as folder:
    gallery = spcl.Gallery.create(Path(folder) / "known", encoder)
    added = gallery.add(known, identity_from="folder")
    print(f"{added.num_added} images enrolled")
    paths = [record.path for record in images_of(queries).records]
    for path, who in zip(paths, gallery.identify(paths, false_match_rate=0.05), strict=True):
        name = "unknown" if who.identity is None else who.identity
        probability = "not known" if who.probability is None else f"{who.probability:.3f}"
        print(f"{path}: {name}, similarity {who.similarity:.3f}, probability {probability}")
