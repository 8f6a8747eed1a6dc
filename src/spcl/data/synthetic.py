"""Built-in data: rendered pedestrians and vehicles, seen by several cameras, in two domains.

Deterministic by seed. An image depends only on (settings, identity, camera, shot), not on the number of other images. A
data set is written to disk in Market-1501's layout, or rendered into memory. ``data/rendered`` has the drawing code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.data.rendered import pedestrian, vehicle
from spcl.data.rendered.canvas import Canvas
from spcl.data.rendered.scene import DOMAINS, Camera, developed, occlude, surroundings
from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import Record, ReIDDataset

KINDS = ("pedestrian", "vehicle")

_OVERSAMPLING = 2
_SETTINGS_FILE = "synthetic.json"


@dataclass(frozen=True)
class SyntheticSpec:
    """The settings of a rendered data set.

    Attributes:
        kind: ``pedestrian`` or ``vehicle``.
        domain: ``studio`` or ``street``.
        train_identities: Number of training identities.
        test_identities: Number of further identities, for the test.
        cameras: Number of cameras; each sees every identity.
        images_per_camera: Number of images of an identity by each camera; the first one of a test identity is a query.
        height: Image height in pixels.
        width: Image width in pixels.
        seed: Seed of all random draws; another seed or domain gives other identities.
    """

    kind: str = "pedestrian"
    domain: str = "street"
    train_identities: int = 50
    test_identities: int = 30
    cameras: int = 4
    images_per_camera: int = 4
    height: int = 128
    width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("domain", DOMAINS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; expected {' or '.join(known)}", code="setting-out-of-range"
                )
        for name in ("cameras", "images_per_camera", "height", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1", code="setting-out-of-range")
        for name in ("train_identities", "test_identities", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more", code="setting-out-of-range")


def render_image(spec: SyntheticSpec, identity: int, camera: int, shot: int) -> Image.Image:
    """Render one image, RGB, in the size of the settings.

    Args:
        spec: Settings of the data set.
        identity: Number of the object, from 0.
        camera: Number of the camera, from 0.
        shot: Number of the camera's image of the object, from 0.
    """
    rng = generator(spec.seed, f"{spec.kind} {spec.domain} image", identity, camera, shot)
    traits = generator(spec.seed, f"{spec.kind} {spec.domain} identity", identity)
    eye = Camera.placed(spec.domain, camera, spec.seed)
    size = (spec.width * _OVERSAMPLING, spec.height * _OVERSAMPLING)
    scene = surroundings(eye, size, float(rng.random()), wide=spec.kind == "vehicle")
    canvas = Canvas(size, _units(spec))
    (_draw_pedestrian if spec.kind == "pedestrian" else _draw_vehicle)(canvas, traits, eye, rng)
    figure = _placed(canvas.image, eye, rng)
    _shadow(scene, figure, eye)
    scene.paste(figure, mask=figure)
    occlude(scene, eye, rng)
    return developed(scene.resize((spec.width, spec.height), Image.Resampling.BOX), eye, rng)


def write_market1501(
    folder: str | Path, spec: SyntheticSpec, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Render a data set in Market-1501's layout.

    A folder that holds the same data set is not changed.

    Args:
        folder: Folder to write; it is created.
        spec: Settings of the data set.
        progress: Called with (images done, all images).

    Returns:
        The folder.

    Raises:
        InputError: If the folder exists and holds other files.
    """
    target = Path(folder)
    settings = json.dumps(asdict(spec), indent=1, sort_keys=True)
    if target.exists():
        note = target / _SETTINGS_FILE
        if note.is_file() and note.read_text(encoding="utf-8") == settings:
            return target
        if not target.is_dir() or any(target.iterdir()):
            raise InputError(
                f"{target} exists and holds other files; give another folder, or remove it", code="folder-not-empty"
            )
        target.rmdir()
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    for split in ("bounding_box_train", "query", "bounding_box_test"):
        (aside / split).mkdir(parents=True)
    shots = list(_shots(spec))
    for done, (split, identity, camera, shot) in enumerate(shots, start=1):
        image = render_image(spec, identity, camera, shot)
        image.save(aside / _path_of(split, identity, camera, shot), quality=92)
        if progress is not None:
            progress(done, len(shots))
    (aside / _SETTINGS_FILE).write_text(settings, encoding="utf-8")
    aside.replace(target)
    return target


def in_memory(spec: SyntheticSpec) -> tuple[ReIDDataset, dict[Path, NDArray[np.uint8]]]:
    """Render a data set without writing it.

    Returns:
        The data set, whose paths are not files, and pixels ``[H, W, 3]`` uint8 by path, for ``ImageStore(arrays=)``.
    """
    splits: dict[str, list[Record]] = {"bounding_box_train": [], "query": [], "bounding_box_test": []}
    arrays = {}
    for split, identity, camera, shot in _shots(spec):
        path = Path("synthetic") / _path_of(split, identity, camera, shot)
        splits[split].append(Record(path, identity, camera))
        arrays[path] = np.asarray(render_image(spec, identity, camera, shot))
    name = f"synthetic {spec.kind}s, {spec.domain}"
    dataset = ReIDDataset(
        name, tuple(splits["bounding_box_train"]), tuple(splits["query"]), tuple(splits["bounding_box_test"])
    )
    return dataset, arrays


def _shots(spec: SyntheticSpec) -> Iterator[tuple[str, int, int, int]]:
    """Split, identity, camera and shot of every image."""
    for identity in range(spec.train_identities + spec.test_identities):
        for camera in range(spec.cameras):
            for shot in range(spec.images_per_camera):
                if identity < spec.train_identities:
                    yield "bounding_box_train", identity, camera, shot
                else:
                    yield "query" if shot == 0 else "bounding_box_test", identity, camera, shot


def _path_of(split: str, identity: int, camera: int, shot: int) -> Path:
    # Numbered from 1, as in Market-1501, where 0 is the identity of distractors.
    return Path(split) / f"{identity + 1:04d}_c{camera + 1}s1_{shot:06d}_00.jpg"


def _units(spec: SyntheticSpec) -> float:
    """Height of the image in units, such that a narrow image shows the whole object too."""
    if spec.kind == "pedestrian":
        return max(pedestrian.UNITS, 96 * spec.height / spec.width)
    return max(vehicle.UNITS, 124 * spec.height / spec.width)


def _draw_pedestrian(canvas: Canvas, traits: np.random.Generator, camera: Camera, rng: np.random.Generator) -> None:
    who = pedestrian.Pedestrian.drawn(traits)
    angle = (camera.view + rng.normal(0, 0.25)) % 1.0
    view = "front" if angle < 0.3 else "side" if angle < 0.65 else "back"
    pose = pedestrian.Pose(view, stride=float(rng.uniform(-1, 1)), lean=float(rng.normal(0, 1.5)))
    pedestrian.draw_pedestrian(canvas, who, pose)
    if rng.random() < (0.5 if camera.domain == "studio" else camera.view):
        canvas.image = canvas.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _draw_vehicle(canvas: Canvas, traits: np.random.Generator, camera: Camera, rng: np.random.Generator) -> None:
    what = vehicle.Vehicle.drawn(traits)
    angle = abs(2 * ((camera.view + rng.normal(0, 0.05)) % 1.0) - 1)
    vehicle.draw_vehicle(canvas, what, squeeze=0.68 + 0.32 * angle, lights=bool(rng.random() < 0.3))
    if camera.view > 0.5:
        canvas.image = canvas.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _placed(figure: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """Place the object as the camera frames it: scale, shear, and a crop that is not exactly centred."""
    width, height = figure.size
    loose = 0.02 if camera.domain == "studio" else 0.05
    scale = camera.scale * float(np.exp(loose * rng.standard_normal()))
    shift_x, shift_y = (float(loose * rng.standard_normal() * side) for side in (width, height / 2))
    shear = camera.shear + float(0.2 * loose * rng.standard_normal())
    # Pixel (x, y) of the result comes from (a x + b y + c, e y + f) of the figure, which stands on the ground.
    a, b = 1 / scale, shear
    c = width / 2 - a * (width / 2 + shift_x) - b * height
    f = height - (height + min(0.0, shift_y)) / scale
    return figure.transform(figure.size, Image.Transform.AFFINE, (a, b, c, 0, 1 / scale, f), Image.Resampling.BILINEAR)


def _shadow(scene: Image.Image, figure: Image.Image, camera: Camera) -> None:
    """Draw a flat shadow at the foot of the object."""
    box = figure.getchannel("A").getbbox()
    if box is None:
        return
    left, _, right, bottom = box
    depth = max(2, (right - left) // 9)
    dark = Image.new("L", scene.size, 0)
    strength = 50 if camera.domain == "studio" else 105
    dark.paste(strength, (left, max(0, bottom - depth), min(scene.width, right + depth), min(scene.height, bottom)))
    scene.paste((20, 20, 24), mask=dark)
