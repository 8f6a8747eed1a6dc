"""Group a folder of crops by the object they show, without labels: a folder of links for each group.

python examples/group_folder.py my_crops my_groups [runs/mine/checkpoint.pth.tar]
"""

import sys

import spcl

images, out, *checkpoint = sys.argv[1:]
# Without a checkpoint: ImageNet weights, at an image size that fits the crops.
encoder = spcl.EncoderChoice(checkpoint=checkpoint[0]) if checkpoint else spcl.EncoderChoice()
encoding = spcl.EncodeOptions(encoder=encoder)
found = spcl.group_images(spcl.GroupingRequest(images, out, folders="link", overwrite=True, encoding=encoding))

rows = found.to_rows()
for number, size in enumerate(found.groups.sizes[:5]):
    members = [row["path"] for row in rows if row["group"] == number]
    print(f"group {number}: {size} images, {', '.join(members[:3])} ...")
print(f"{len(found.groups.sizes)} groups; {found.groups.num_ungrouped} images are in none; see {out}/groups.png")
