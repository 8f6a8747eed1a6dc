"""Print the similarity of two images: the cosine of their features, 1 at most.

python examples/embed_images.py runs/demo/spcl/checkpoint.pth.tar a.jpg b.jpg
"""

import sys

import spcl

checkpoint, *images = sys.argv[1:]
features = spcl.load_encoder(checkpoint).embed(images)
print(f"{features.shape[0]} features of length {features.shape[1]}; similarity of the first two:")
print(f"{float(features[0] @ features[1]):.3f}")
