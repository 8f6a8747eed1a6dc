"""Cameras and their surroundings: viewpoint, light, colour cast, blur, noise, background, occlusion, scale.

Two domains: a ``studio``, clean and evenly lit, where cameras differ little; a ``street``, where light, colours
and background differ between cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from spcl.randomness import generator

DOMAINS = ("studio", "street")


@dataclass(frozen=True)
class Camera:
    """The properties of a camera that are the same in all its images."""

    domain: str
    view: float
    gain: float
    gamma: float
    cast: tuple[float, float, float]
    saturation: float
    blur: float
    noise: float
    scale: float
    shear: float
    seed: int

    @classmethod
    def placed(cls, domain: str, number: int, seed: int) -> Camera:
        """The camera of a domain with this number."""
        rng = generator(seed, f"camera of the {domain}", number)
        strength = 0.15 if domain == "studio" else 1.0
        # The common cast of a domain (dusk: darker, bluer, paler) is the gap between domains, which source labels do
        # not close; the differences of its cameras are what an encoder must learn to ignore.
        cast = np.exp(strength * (np.array([-0.1, 0.0, 0.12]) + rng.normal(0, 0.04, 3)))
        return cls(
            domain=domain,
            # Neighbouring cameras look from different sides.
            view=(number * 0.382 + rng.uniform(0, 0.1)) % 1.0,
            gain=float(np.exp(strength * rng.normal(-0.45, 0.1))),
            gamma=float(np.exp(strength * rng.normal(0.1, 0.08))),
            cast=(float(cast[0]), float(cast[1]), float(cast[2])),
            saturation=float(1.0 - strength * rng.uniform(0.25, 0.4)),
            blur=float(strength * rng.uniform(0.5, 0.9)),
            noise=float(1.0 + strength * rng.uniform(3, 6)),
            scale=float(1.0 - strength * rng.uniform(0, 0.16)),
            shear=float(strength * rng.uniform(-0.1, 0.1)),
            seed=seed * 1009 + number,
        )


def surroundings(camera: Camera, size: tuple[int, int], shift: float, wide: bool) -> Image.Image:
    """Give the background that a camera sees: a part of its scene that moves a little from image to image.

    Args:
        camera: Camera whose scene is shown.
        size: Width and height in pixels.
        shift: Position of the part in the scene, from 0 to 1.
        wide: Whether the object stands on a road (a vehicle) instead of a pavement.
    """
    scene = _scene(camera, size[1], wide)
    left = int(shift * (scene.width - size[0]))
    return scene.crop((left, 0, left + size[0], size[1]))


@lru_cache(maxsize=64)
def _scene(camera: Camera, height: int, wide: bool) -> Image.Image:
    rng = generator(camera.seed, "scene of the " + camera.domain)
    width = 4 * height
    image = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(image)
    horizon = int(height * rng.uniform(0.55, 0.72))
    if camera.domain == "studio":
        tone = rng.integers(205, 236)
        for y in range(height):
            level = int(tone + (18 * y / height if y < horizon else -14))
            pen.line((0, y, width, y), fill=(level, level, level + 4))
        return image.filter(ImageFilter.GaussianBlur(height / 40))
    wall = rng.integers(70, 190, 3)
    pen.rectangle((0, 0, width, horizon), fill=tuple(map(int, wall)))
    ground = int(rng.integers(70, 150))
    pen.rectangle((0, horizon, width, height), fill=(ground, ground, ground + int(rng.integers(-8, 12))))
    for _ in range(int(rng.integers(10, 18))):
        _clutter(pen, rng, width, horizon, wall)
    spacing = height // int(rng.integers(3, 7))
    for x in range(0, 2 * width, spacing):
        pen.line((x, horizon, x - width // 4, height), fill=(ground - 18,) * 3, width=2)
    if wide:
        for x in range(0, width, height // 2):
            pen.rectangle((x, height * 0.93, x + height // 4, height * 0.95), fill=(225, 222, 210))
    return image.filter(ImageFilter.GaussianBlur(height / 150))


def _clutter(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int, wall: NDArray[np.int64]
) -> None:
    """Draw one object of the background: a window, a door, a tree or a post."""
    x = int(rng.integers(0, width))
    kind = int(rng.integers(4))
    if kind == 0:
        size = int(horizon * rng.uniform(0.15, 0.3))
        y = int(rng.integers(0, max(1, horizon - size)))
        colour = tuple(int(value) for value in rng.integers(30, 120, 3))
        pen.rectangle((x, y, x + size, y + int(1.3 * size)), fill=colour, outline=(230, 230, 225))
    elif kind == 1:
        colour = tuple(int(value) for value in np.clip(wall + rng.integers(-70, 70, 3), 0, 255))
        pen.rectangle((x, int(horizon * 0.35), x + int(horizon * 0.3), horizon), fill=colour)
    elif kind == 2:
        radius = int(horizon * rng.uniform(0.15, 0.35))
        pen.rectangle((x - 3, horizon - radius, x + 3, horizon), fill=(84, 62, 44))
        green = (int(rng.integers(30, 90)), int(rng.integers(90, 150)), int(rng.integers(30, 80)))
        pen.ellipse((x - radius, horizon - 3 * radius, x + radius, horizon - radius // 2), fill=green)
    else:
        grey = int(rng.integers(40, 200))
        pen.rectangle((x, 0, x + max(2, horizon // 20), horizon + horizon // 12), fill=(grey, grey, grey))


def occlude(image: Image.Image, camera: Camera, rng: np.random.Generator) -> None:
    """Draw an obstacle before the object (a post, a bush, a barrier) in a share of the street images."""
    if camera.domain == "studio" or rng.random() > 0.28:
        return
    pen = ImageDraw.Draw(image)
    width, height = image.size
    kind = int(rng.integers(3))
    if kind == 0:
        x, thick = rng.uniform(0.1, 0.85) * width, rng.uniform(0.05, 0.12) * width
        pen.rectangle((x, 0, x + thick, height), fill=(70, 72, 76))
    elif kind == 1:
        green = (int(rng.integers(40, 80)), int(rng.integers(90, 130)), int(rng.integers(40, 70)))
        radius = rng.uniform(0.2, 0.36) * width
        x, y = rng.uniform(0, 1) * width, height * rng.uniform(0.86, 1.0)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=green)
    else:
        y = height * rng.uniform(0.68, 0.85)
        pen.rectangle((0, y, width, y + 0.05 * height), fill=(190, 60, 50) if rng.random() < 0.5 else (210, 200, 190))


def developed(image: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """Apply the properties of the camera: blur, light, colour cast, saturation, noise."""
    if camera.blur > 0.05:
        image = image.filter(ImageFilter.GaussianBlur(camera.blur * image.height / 128 * rng.uniform(0.6, 1.2)))
    pixels = np.asarray(image, dtype=np.float32) / 255
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + camera.saturation * (pixels - grey)
    strength = 0.04 if camera.domain == "studio" else 0.1
    light = camera.gain * np.exp(strength * rng.standard_normal())
    pixels = np.clip(pixels, 0, 1) ** camera.gamma * light * np.asarray(camera.cast, dtype=np.float32)
    pixels = pixels * 255 + camera.noise * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
