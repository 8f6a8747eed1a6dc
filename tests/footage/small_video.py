"""A small video of rendered pedestrians, with the boxes of a perfect tracker."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from spcl.data.synthetic import SyntheticSpec, render_image

WIDTH, HEIGHT = 160, 96
SPEC = SyntheticSpec(height=48, width=24, images_per_camera=4)

Row = tuple[int, int, int, int, int, int]


def frames(num: int = 12, *, identities: Sequence[int] = (0, 1)) -> tuple[list[np.ndarray], list[Row]]:
    """Frames, and rows (frame from 1, track from 1, left, top, width, height); track 2 walks against track 1."""
    pictures, rows = [], []
    for at in range(num):
        picture = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        for track, identity in enumerate(identities, start=1):
            left = 4 + 10 * at if track == 1 else WIDTH - 30 - 10 * at
            top = 4 if track == 1 else 46
            crop = np.asarray(render_image(SPEC, identity, 0, at % 4))
            low, high = max(left, 0), min(left + SPEC.width, WIDTH)
            if low < high:
                picture[top : top + SPEC.height, low:high] = crop[:, low - left : high - left]
            rows.append((at + 1, track, left, top, SPEC.width, SPEC.height))
        pictures.append(picture)
    return pictures, rows


def write_video(path: Path, pictures: Sequence[np.ndarray], times: Sequence[int] | None = None) -> Path:
    """Write a video; the times of frames are in milliseconds, by default 40 ms apart."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = pictures[0].shape[1], pictures[0].shape[0]
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = 40 * number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_pictures(folder: Path, pictures: Sequence[np.ndarray]) -> Path:
    """Write a folder of frames as MOTChallenge has them: 000001.jpg and so on."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(folder / f"{number:06d}.jpg", quality=95)
    return folder


def write_mot(path: Path, rows: Sequence[Row]) -> Path:
    """Write a text of MOTChallenge."""
    path.write_text("".join(f"{','.join(map(str, row))},0.9,-1,-1,-1\n" for row in rows))
    return path
