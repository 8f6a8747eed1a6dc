"""Pedestrians: an identity is a combination of build, hair, clothes, patterns and what is carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spcl.data.rendered.canvas import Canvas, Colour, Point, picked, shaded, swung

UNITS = 220.0
"""Height of the surface a pedestrian is drawn on, in units; the figure is about 200 tall."""

_SKIN: tuple[Colour, ...] = ((244, 206, 178), (224, 172, 138), (198, 138, 98), (150, 98, 64), (104, 66, 44))
_HAIR: tuple[Colour, ...] = ((30, 26, 24), (72, 46, 30), (128, 82, 44), (206, 168, 96), (150, 148, 146), (150, 60, 34))
_CLOTHES: tuple[Colour, ...] = (
    (200, 44, 44),
    (34, 92, 176),
    (40, 140, 78),
    (236, 188, 44),
    (240, 240, 236),
    (36, 38, 44),
    (128, 66, 150),
    (240, 130, 44),
    (96, 178, 208),
    (236, 140, 170),
    (120, 124, 128),
    (110, 84, 56),
)
_BOTTOMS: tuple[Colour, ...] = (
    (36, 38, 44),
    (44, 66, 118),
    (86, 118, 166),
    (196, 180, 146),
    (108, 112, 116),
    (96, 72, 50),
    (62, 84, 58),
    (232, 230, 224),
    (140, 48, 58),
)
_PATTERNS = ("plain", "plain", "stripes", "columns", "checks", "dots", "band")


@dataclass(frozen=True)
class Pedestrian:
    """The properties of a pedestrian that are the same in all its images."""

    skin: Colour
    hair: Colour
    hair_style: str
    top: Colour
    top_pattern: str
    second: Colour
    pattern_step: float
    sleeves: str
    bottom: Colour
    bottom_kind: str
    shoes: Colour
    carried: str
    bag: Colour
    girth: float
    stature: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Pedestrian:
        """A random identity."""

        def choice(*options: str) -> str:
            return options[int(rng.integers(len(options)))]

        return cls(
            skin=picked(rng, _SKIN, 8),
            hair=picked(rng, _HAIR, 10),
            hair_style=choice("short", "short", "long", "bun", "bald", "cap", "hat"),
            top=picked(rng, _CLOTHES),
            top_pattern=choice(*_PATTERNS),
            second=picked(rng, _CLOTHES),
            pattern_step=float(rng.uniform(3.5, 8)),
            sleeves=choice("long", "short"),
            bottom=picked(rng, _BOTTOMS),
            bottom_kind=choice("trousers", "trousers", "trousers", "shorts", "skirt", "coat"),
            shoes=picked(rng, _BOTTOMS),
            carried=choice("nothing", "nothing", "backpack", "shoulder bag", "hand bag", "case"),
            bag=picked(rng, _CLOTHES),
            girth=float(rng.uniform(0.82, 1.25)),
            stature=float(rng.uniform(0.9, 1.04)),
        )


@dataclass(frozen=True)
class Pose:
    """The properties that change between images: the view (``front``, ``back``, ``side``) and the step."""

    view: str
    stride: float
    lean: float


def draw_pedestrian(canvas: Canvas, who: Pedestrian, pose: Pose) -> None:
    """Draw an identity in a pose; it looks to the right where it is seen from the side."""
    middle = canvas.width / 2
    ground = canvas.height - 8
    tall = 200 * who.stature
    hip = (middle, ground - 0.47 * tall)
    neck = (middle + pose.lean, ground - 0.83 * tall)
    width = 0.155 * tall * who.girth * (0.78 if pose.view == "side" else 1.0)
    if who.carried == "backpack" and pose.view == "side":
        canvas.box(neck[0] - width - 16, neck[1] + 6, neck[0] - width + 12, neck[1] + 56, who.bag, radius=7)
    _arm(canvas, who, pose, neck, width, tall, behind=True)
    _legs(canvas, who, pose, hip, width, tall)
    _torso(canvas, who, pose, neck, hip, width)
    if who.carried == "backpack" and pose.view == "back":
        canvas.box(neck[0] - 0.75 * width, neck[1] + 6, neck[0] + 0.75 * width, neck[1] + 58, who.bag, radius=8)
        canvas.box(neck[0] - 0.5 * width, neck[1] + 34, neck[0] + 0.5 * width, neck[1] + 52, shaded(who.bag, 0.8), 4)
    if who.carried == "backpack" and pose.view == "front":
        for side in (-0.55, 0.55):
            canvas.limb((neck[0] + side * width, neck[1] + 3), (neck[0] + side * width, neck[1] + 44), 5, who.bag)
    if who.carried == "shoulder bag":
        canvas.limb((neck[0] - 0.6 * width, neck[1] + 4), (hip[0] + width, hip[1] - 6), 3.5, shaded(who.bag, 0.8))
        canvas.box(hip[0] + width - 12, hip[1] - 10, hip[0] + width + 16, hip[1] + 16, who.bag, radius=4)
    _arm(canvas, who, pose, neck, width, tall, behind=False)
    _head(canvas, who, pose, neck, tall)


def _torso(canvas: Canvas, who: Pedestrian, pose: Pose, neck: Point, hip: Point, width: float) -> None:
    low = hip[1] + (34 if who.bottom_kind == "coat" else 5)
    flare = 1.12 if who.bottom_kind == "coat" else 0.88
    outline = [
        (neck[0] - 0.45 * width, neck[1]),
        (neck[0] + 0.45 * width, neck[1]),
        (neck[0] + width, neck[1] + 10),
        (hip[0] + flare * width, low),
        (hip[0] - flare * width, low),
        (neck[0] - width, neck[1] + 10),
    ]
    canvas.polygon(outline, who.top)
    if who.top_pattern != "plain":
        canvas.fill_pattern(outline, who.top_pattern, who.second, who.pattern_step)
    if who.bottom_kind == "coat" and pose.view == "front":
        canvas.limb((neck[0], neck[1] + 8), (hip[0], low - 4), 1.6, shaded(who.top, 0.55))
    if pose.view == "front":
        canvas.polygon([(neck[0] - 7, neck[1]), (neck[0] + 7, neck[1]), (neck[0], neck[1] + 11)], who.skin)


def _legs(canvas: Canvas, who: Pedestrian, pose: Pose, hip: Point, width: float, tall: float) -> None:
    swing = 0.34 * pose.stride * (1.0 if pose.view == "side" else 0.35)
    length = 0.44 * tall
    thickness = 0.62 * width if pose.view != "side" else 0.85 * width
    for side, angle in ((-1, -swing), (1, swing)):
        start = (hip[0] + side * (0.42 if pose.view != "side" else 0.12) * width, hip[1])
        knee, foot = swung(start, length / 2, angle), swung(start, length, angle * 0.9)
        shade = 0.86 if side < 0 else 1.0
        bare = who.bottom_kind in ("shorts", "skirt")
        canvas.limb(
            knee, foot, 0.62 * thickness if bare else 0.85 * thickness, shaded(who.skin if bare else who.bottom, shade)
        )
        canvas.limb(start, knee, thickness, shaded(who.bottom, shade))
        toe = 9.0 if pose.view == "side" else 2.5 * side
        canvas.limb(foot, (foot[0] + toe, foot[1] + 2), 10, shaded(who.shoes, shade))
    if who.bottom_kind == "skirt":
        low = hip[1] + 0.24 * tall
        canvas.polygon(
            [
                (hip[0] - 0.85 * width, hip[1] - 4),
                (hip[0] + 0.85 * width, hip[1] - 4),
                (hip[0] + 1.35 * width, low),
                (hip[0] - 1.35 * width, low),
            ],
            who.bottom,
        )


def _arm(canvas: Canvas, who: Pedestrian, pose: Pose, neck: Point, width: float, tall: float, *, behind: bool) -> None:
    side = -1 if behind else 1
    swing = 0.5 * pose.stride * side * (1.0 if pose.view == "side" else 0.25)
    place = 0.15 if pose.view == "side" else 0.95
    shoulder = (neck[0] + side * place * width, neck[1] + 14)
    spread = 0.0 if pose.view == "side" else 0.13 * side
    elbow = swung(shoulder, 0.15 * tall, swing + spread)
    hand = swung(elbow, 0.15 * tall, 0.6 * swing + spread + (0.2 if pose.view == "side" else 0))
    shade = 0.84 if behind else 0.94
    sleeve = shaded(who.top, shade)
    canvas.limb(elbow, hand, 9.5, sleeve if who.sleeves == "long" else shaded(who.skin, shade))
    canvas.limb(shoulder, elbow, 13, sleeve)
    canvas.ellipse(hand, 5.2, 5.2, shaded(who.skin, shade))
    if not behind and who.carried == "hand bag":
        canvas.limb(hand, (hand[0], hand[1] + 10), 2.5, shaded(who.bag, 0.7))
        canvas.box(hand[0] - 12, hand[1] + 8, hand[0] + 12, hand[1] + 28, who.bag, radius=3)
    if not behind and who.carried == "case":
        canvas.box(hand[0] - 15, hand[1] + 4, hand[0] + 15, hand[1] + 26, who.bag, radius=2)
        canvas.box(hand[0] - 15, hand[1] + 13, hand[0] + 15, hand[1] + 16, shaded(who.bag, 0.65))


def _head(canvas: Canvas, who: Pedestrian, pose: Pose, neck: Point, tall: float) -> None:
    radius = 0.062 * tall
    centre = (neck[0] + (2.5 if pose.view == "side" else 0), neck[1] - 1.15 * radius)
    canvas.limb((neck[0], neck[1] + 2), centre, 9, shaded(who.skin, 0.9))
    if who.hair_style == "long":
        canvas.box(
            centre[0] - 1.12 * radius,
            centre[1] - 0.6 * radius,
            centre[0] + (0.2 if pose.view == "side" else 1.12) * radius,
            centre[1] + 2.3 * radius,
            who.hair,
            radius=6,
        )
    if who.hair_style == "bun":
        canvas.ellipse((centre[0] - (radius if pose.view == "side" else 0), centre[1] - 1.25 * radius), 6, 6, who.hair)
    canvas.ellipse(centre, 0.9 * radius, 1.12 * radius, who.skin)
    if who.hair_style != "bald":
        down = 1.0 if pose.view == "back" else 0.15
        shift = -0.25 * radius if pose.view == "side" else 0.0
        canvas.ellipse((centre[0] + shift, centre[1] - 0.38 * radius), 0.98 * radius, 0.85 * radius, who.hair)
        if pose.view == "back":
            canvas.ellipse((centre[0], centre[1] - 0.1 * radius), 0.95 * radius, down * radius, who.hair)
        elif pose.view == "front":
            canvas.ellipse((centre[0], centre[1] + 0.35 * radius), 0.76 * radius, 0.72 * radius, who.skin)
    if who.hair_style in ("cap", "hat"):
        brim = 1.15 if who.hair_style == "cap" else 1.7
        canvas.ellipse((centre[0], centre[1] - 0.62 * radius), radius, 0.75 * radius, who.bag)
        ahead = 0.55 * radius if pose.view == "side" and who.hair_style == "cap" else 0
        canvas.box(
            centre[0] + ahead - brim * radius,
            centre[1] - 0.55 * radius,
            centre[0] + ahead + brim * radius,
            centre[1] - 0.3 * radius,
            shaded(who.bag, 0.8),
            radius=2,
        )
    if pose.view == "front":
        for side in (-0.33, 0.33):
            canvas.ellipse((centre[0] + side * radius, centre[1] + 0.12 * radius), 1.4, 1.4, (40, 30, 28))
    elif pose.view == "side":
        canvas.ellipse((centre[0] + 0.5 * radius, centre[1] + 0.1 * radius), 1.3, 1.3, (40, 30, 28))
