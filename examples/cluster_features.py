"""Group features of any encoder, without labels and without training."""

import numpy as np

import spcl

rng = np.random.default_rng(0)
objects = rng.standard_normal((20, 64))
features = np.repeat(objects, 12, axis=0) + 0.4 * rng.standard_normal((240, 64))
features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)

found = spcl.pseudo_labels(features, k1=12, k2=4)
print(f"{found.num_clusters} groups, {found.num_unclustered} images in none; there are 20 objects and 240 images")
