"""Group a folder of crops by the object they show, without labels: a folder of links for each group.

python examples/group_folder.py my_crops my_groups [runs/mine/checkpoint.pth.tar]
"""

import sys
from pathlib import Path

import spcl
from spcl.data.crop_shapes import crop_shape
from spcl.data.image_sources import images_of
from spcl.grouping.groups_report import check_folder, write_groups
from spcl.inference.embedding import embed_records, imagenet_encoder

images, out, *checkpoint = sys.argv[1:]
records = images_of(images).outside(Path(out)).records  # earlier results are no crops
encoder = spcl.load_encoder(checkpoint[0]) if checkpoint else imagenet_encoder(size=crop_shape(records).size)
check_folder(Path(out), overwrite=True)

embedded = embed_records(encoder, records)
found = spcl.cluster(embedded.features)
write_groups(Path(out), embedded.records, found, broken=embedded.broken, folders="link")

for number, size in enumerate(found.sizes[:5]):
    members = [record.path.name for record, group in zip(embedded.records, found.group, strict=True) if group == number]
    print(f"group {number}: {size} images, {', '.join(members[:3])} ...")
print(f"{len(found.sizes)} groups; {found.num_ungrouped} images are in none; see {out}/groups.png")
