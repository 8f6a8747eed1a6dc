"""Keep the images of a folder in a gallery on disk, and find the images that are most similar to one of them.

python examples/search_gallery.py runs/demo/spcl/checkpoint.pth.tar my_crops my_crops/003.jpg
"""

import sys
from pathlib import Path

import spcl

checkpoint, images, query = sys.argv[1:]
encoder = spcl.load_encoder(checkpoint)
folder = Path("runs/gallery")
gallery = spcl.Gallery.open(folder, encoder) if folder.exists() else spcl.Gallery.create(folder, encoder)

added = gallery.add(images)
print(f"{added.num_added} images are new, {added.num_replaced} were there, {len(added.broken)} cannot be read")

# The most similar image is the query itself, which is left out.
result = gallery.search(query, k=5, without=[query])
for hit in result[0]:
    print(f"{hit.similarity:.3f}  {hit.path}  camera {hit.camera}")
