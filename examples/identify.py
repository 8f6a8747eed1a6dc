"""Enrol known identities (a folder for each), calibrate, and give names to other images, or "unknown".

python examples/identify.py runs/demo/spcl/checkpoint.pth.tar known_animals new_images
"""

import sys
import tempfile
from pathlib import Path

import spcl

checkpoint, known, queries = sys.argv[1:]
encoding = spcl.EncodeOptions(encoder=spcl.EncoderChoice(checkpoint=checkpoint))
by_folder = spcl.SourceOptions(identity_from="folder")

with tempfile.TemporaryDirectory() as folder:
    # The threshold comes from pairs of the known images.
    found = spcl.calibrate_images(spcl.CalibrationRequest(known, labelled=True, source=by_folder, encoding=encoding))
    threshold = found.calibration.threshold(0.01)
    print(f"two images show one identity from a similarity of {threshold.similarity:.3f} on (false-match rate 0.01)")
    calibration = Path(folder) / "calibration.json"
    found.store(calibration)

    gallery = Path(folder) / "known"
    enrolled = spcl.embed_images(spcl.EmbeddingRequest(known, gallery=gallery, source=by_folder, encoding=encoding))
    print(f"{enrolled.gallery.added} images enrolled")

    request = spcl.IdentificationRequest(
        gallery, queries, false_match_rate=0.05, calibration=calibration, encoding=encoding
    )
    named = spcl.identify_images(request)
    for path, answer in zip(named.queries, named.answers, strict=True):
        probability = "-" if answer.probability is None else f"{answer.probability:.3f}"
        print(f"{path}: {answer.identity or 'unknown'}, similarity {answer.similarity:.3f}, probability {probability}")
