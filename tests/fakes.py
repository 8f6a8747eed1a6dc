"""Small copies of the six official data sets: real JPEGs of 32 x 16, in the places of the official README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CAMERAS = {
    "market1501": (1, 2, 6),
    "personx": (3, 4, 8, 10, 11, 12),
    "veri": (1, 7, 20),
    "vehiclex": (6, 21, 36),
    "msmt17": (1, 8, 15),
}
_FILENAME_SETS = {
    "market1501": ("market1501/Market-1501-v15.09.15", ("bounding_box_train", "query", "bounding_box_test")),
    "personx": ("personx/PersonX", ("bounding_box_train", "query", "bounding_box_test")),
    "veri": ("veri/VeRi", ("image_train", "image_query", "image_test")),
    "vehiclex": ("vehiclex/AIC20_ReID_Simulation", ("image_train",)),
}


def draw(path: Path, identity: int, shot: int = 0, size: tuple[int, int] = (16, 32)) -> Path:
    """An image whose colour and stripes tell its identity, with noise that tells nothing."""
    rng = np.random.default_rng(identity)
    colours = rng.integers(20, 235, (4, 3))
    noise = np.random.default_rng([identity, shot]).normal(0, 12, (size[1], size[0], 3))
    stripes = colours[(np.arange(size[1]) * 4 // size[1])][:, None, :]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(stripes + noise, 0, 255).astype(np.uint8)).save(path, quality=95)
    return path


def write_fake(name: str, root: Path, *, num_identities: int = 6, images_per_camera: int = 2) -> Path:
    """A small copy of a registered data set under a data folder; half of its identities are for training."""
    if name == "msmt17":
        return _write_msmt17(root, num_identities, images_per_camera)
    if name == "vehicleid":
        return _write_vehicleid(root, num_identities, 3 * images_per_camera)
    folder, splits = _FILENAME_SETS[name]
    for split, identity, camera, shot in _shots(name, splits, num_identities, images_per_camera):
        draw(root / folder / split / f"{identity:04d}_c{camera}s1_{shot:06d}_00.jpg", identity, camera * 100 + shot)
    if name == "market1501":
        for camera in (1, 2):
            draw(root / folder / "bounding_box_test" / f"-1_c{camera}s1_000900_00.jpg", 901)
            draw(root / folder / "bounding_box_test" / f"0000_c{camera}s1_000901_00.jpg", 902)
    return root / folder


def _shots(name: str, splits: tuple[str, ...], identities: int, shots: int) -> Iterator[tuple[str, int, int, int]]:
    for number in range(identities):
        # Numbers with gaps, and not from 0: they must be numbered anew.
        identity = 2 + 3 * number
        testing = number >= identities // 2 and len(splits) > 1
        for camera in CAMERAS[name]:
            for shot in range(shots):
                split = splits[0] if not testing else splits[1] if shot == 0 else splits[2]
                yield split, identity, camera, shot


def _write_msmt17(root: Path, identities: int, shots: int) -> Path:
    folder = root / "msmt17/MSMT17_V1"
    lists: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for number in range(identities):
        testing = number >= identities // 2
        for camera in CAMERAS["msmt17"]:
            for shot in range(shots):
                name = f"{number:04d}/{number:04d}_{shot:03d}_{camera:02d}_0303morning_0008_{shot}.jpg"
                draw(folder / ("test" if testing else "train") / name, number, camera * 100 + shot)
                split = ("query" if shot == 0 else "gallery") if testing else ("val" if shot == 0 else "train")
                lists[split].append(f"{name} {number}")
    for split, lines in lists.items():
        (folder / f"list_{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _write_vehicleid(root: Path, identities: int, shots: int) -> Path:
    folder = root / "vehicleid/VehicleID"
    lists: dict[str, list[str]] = {"train_list": [], "test_list_800": [], "test_list_1600": []}
    for number in range(identities):
        for shot in range(shots):
            name = f"{number:03d}{shot:04d}"
            draw(folder / "image" / f"{name}.jpg", number, shot)
            for split in ("train_list",) if number < identities // 2 else ("test_list_800", "test_list_1600"):
                lists[split].append(f"{name} {7 * number}")
    (folder / "train_test_split").mkdir(parents=True)
    for split, lines in lists.items():
        (folder / "train_test_split" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder
