"""Rendered footage of several cameras through which pedestrians walk, with the boxes of a tracker and the truth.

Each pedestrian visits the cameras in an order of its own. Between two cameras it walks for a time that belongs to the
pair of cameras, a little more or less. A visit is one track, or two where the tracker has lost the pedestrian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.data.rendered.canvas import Canvas
from spcl.data.rendered.pedestrian import UNITS, Pedestrian, Pose, draw_pedestrian
from spcl.data.rendered.scene import Camera, developed, surroundings
from spcl.randomness import generator


@dataclass(frozen=True)
class World:
    """What is filmed.

    Attributes:
        people: Number of pedestrians.
        cameras: Number of cameras.
        visits: Number of cameras that a pedestrian visits.
        seconds: Time in which the pedestrians start.
        fps: Frames in a second.
        size: Width and height of a frame in pixels.
        height: Height of a pedestrian in pixels.
        lost: Share of visits in which the tracker loses the pedestrian once.
        seed: Seed of all draws.
    """

    people: int = 24
    cameras: int = 4
    visits: int = 3
    seconds: float = 120.0
    fps: int = 5
    size: tuple[int, int] = (240, 128)
    height: int = 96
    lost: float = 0.25
    seed: int = 0


@dataclass(frozen=True)
class Visit:
    """One pedestrian in one camera, in one track.

    Attributes:
        person: Number of the pedestrian: the truth.
        camera: Number of the camera.
        track: Number of the track in this camera, from 1.
        frames: Numbers of its frames, from 1.
        lefts: Left edge of its box in each frame, in pixels.
        top: Top edge of its boxes.
        backwards: Whether it walks to the left.
    """

    person: int
    camera: int
    track: int
    frames: range
    lefts: NDArray[np.int64]
    top: int
    backwards: bool


def travel_seconds(world: World) -> NDArray[np.float64]:
    """The usual walking time between each pair of cameras, ``[cameras, cameras]``, symmetric."""
    rng = generator(world.seed, "travel times")
    times = rng.uniform(8, 25, (world.cameras, world.cameras))
    return np.triu(times, 1) + np.triu(times, 1).T


def visits_of(world: World) -> list[Visit]:
    """All tracks, ordered by camera and time."""
    rng = generator(world.seed, "walks")
    travel = travel_seconds(world)
    width = world.height // 2
    found = []
    for person in range(world.people):
        at = rng.uniform(0, world.seconds)
        order = rng.permutation(world.cameras)[: world.visits]
        for number, camera in enumerate(order.tolist()):
            if number:
                at += travel[order[number - 1], camera] * rng.uniform(0.85, 1.25)
            speed = rng.uniform(26, 40)
            count = int((world.size[0] - width) / speed * world.fps)
            first = int(at * world.fps) + 1
            lefts = np.linspace(0, world.size[0] - width, count).round().astype(np.int64)
            backwards = bool(rng.random() < 0.5)
            lefts = lefts[::-1] if backwards else lefts
            top = int(rng.integers(0, world.size[1] - world.height + 1))
            parts = [(0, count)]
            if rng.random() < world.lost:
                lost = int(rng.integers(count // 3, 2 * count // 3))
                parts = [(0, lost), (lost + 3, count)]
            for low, high in parts:
                frames = range(first + low, first + high)
                found.append(Visit(person, camera, 0, frames, lefts[low:high], top, backwards))
            at += count / world.fps
    found.sort(key=lambda visit: (visit.camera, visit.frames.start, visit.person))
    numbers = [0] * world.cameras
    for row, visit in enumerate(found):
        numbers[visit.camera] += 1
        found[row] = Visit(
            visit.person, visit.camera, numbers[visit.camera], visit.frames, visit.lefts, visit.top, visit.backwards
        )
    return found


def rows_of(visits: list[Visit], world: World, camera: int) -> list[tuple[int, int, int, int, int, int]]:
    """Rows of MOTChallenge of one camera: frame, track, left, top, width, height."""
    return sorted(
        (frame, visit.track, int(left), visit.top, world.height // 2, world.height)
        for visit in visits
        if visit.camera == camera
        for frame, left in zip(visit.frames, visit.lefts, strict=True)
    )


def frames_of(visits: list[Visit], world: World, number: int) -> Iterator[NDArray[np.uint8]]:
    """The frames of one camera."""
    camera = Camera.placed("street", number, world.seed)
    of_camera = [visit for visit in visits if visit.camera == number]
    last = max(visit.frames.stop for visit in of_camera)
    people = {visit.person: Pedestrian.drawn(generator(world.seed, "pedestrian", visit.person)) for visit in of_camera}
    empty = surroundings(camera, world.size, 0.3, False)
    for frame in range(1, last):
        rng = generator(world.seed, "frame", number, frame)
        picture = empty.copy()
        for visit in of_camera:
            if frame in visit.frames:
                place = frame - visit.frames.start
                figure = _figure(people[visit.person], world, camera, visit.backwards, frame, visit.person)
                picture.paste(figure, (int(visit.lefts[place]), visit.top), mask=figure)
        yield np.asarray(developed(picture, camera, rng))


def _figure(who: Pedestrian, world: World, camera: Camera, backwards: bool, frame: int, person: int) -> Image.Image:
    """A pedestrian in the middle of a step; the view depends on the camera."""
    canvas = Canvas((world.height, 2 * world.height), UNITS)
    view = "side" if camera.view < 0.5 else ("front" if backwards else "back")
    stride = float(np.sin(1.9 * frame + person))
    draw_pedestrian(canvas, who, Pose(view, stride, 0.0))
    figure = canvas.image.resize((world.height // 2, world.height), Image.Resampling.BOX)
    return figure.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if backwards else figure


def write_footage(folder: Path, world: World) -> list[Visit]:
    """Write a video and a text of MOTChallenge for each camera: ``c0.mp4``, ``c0.txt``; give the tracks."""
    import av

    folder.mkdir(parents=True, exist_ok=True)
    visits = visits_of(world)
    for camera in range(world.cameras):
        rows = rows_of(visits, world, camera)
        text = "".join(f"{','.join(map(str, row))},1,-1,-1,-1\n" for row in rows)
        (folder / f"c{camera}.txt").write_text(text, encoding="ascii")
        with av.open(str(folder / f"c{camera}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(world.fps))
            stream.width, stream.height = world.size
            stream.bit_rate = 4_000_000
            for picture in frames_of(visits, world, camera):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return visits
