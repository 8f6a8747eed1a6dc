"""Frames of a video, one after the other, with their times; or of a folder of numbered pictures.

Videos are decoded by PyAV (``pip install "spcl[video]"``), which gives the time of each frame, so that videos with a
variable frame rate have right times. A frame becomes pixels only where they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_decoding import open_image
from spcl.data.image_endings import is_image_name
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.threads import num_threads

if TYPE_CHECKING:
    from PIL import Image

_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        number: Number of the frame, as tracks files count.
        seconds: Time since the first frame; None where the video has no time for it.
        pixels: Function that gives the pixels, ``[H, W, 3]`` uint8, RGB.
    """

    number: int
    seconds: float | None
    pixels: Callable[[], NDArray[np.uint8]]


class Footage(Protocol):
    """The frames of a camera, which are read once.

    Attributes:
        num_frames: Number of frames; 0 where the video does not say.
        problem: Description of the fault at which reading ended early; empty: there was none.
    """

    num_frames: int
    problem: str

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames in their order."""


@contextmanager
def opened_footage(path: Path, *, first_frame: int, fps: float | None) -> Iterator[Footage]:
    """Open a video or a folder of numbered pictures.

    Args:
        path: Path of the video or of the folder.
        first_frame: Number of a video's first frame; pictures of a folder have the numbers in their names.
        fps: Frames in a second, for a folder; None: its frames have no times.

    Raises:
        InputError: If there is none, it cannot be read, or PyAV is needed and not installed.
    """
    if not path.exists():
        raise InputError(f"there is no video {path}: {what_is_there(path)}", code="no-such-file")
    if path.is_dir():
        yield _Pictures(path, fps)
        return
    if fps is not None:
        raise InputError(
            f"--fps {fps:g} is for a folder of frames; the video {path} has the times of its frames: leave it out",
            code="option-does-not-apply",
        )
    try:
        import av
    except ModuleNotFoundError as error:
        raise InputError(
            'videos are read by PyAV, which is not installed: pip install "spcl[video]", or give a folder of frames',
            code="package-not-installed",
        ) from error
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"the video {path} cannot be read: {first_line(error)}", code="damaged-file") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no video; give a video file or a folder of frames", code="wrong-file-kind")
        yield _Video(container, first_frame)


class _Video:
    """The frames of a container that PyAV has opened."""

    def __init__(self, container: Any, first_frame: int) -> None:
        self._container, self._first = container, first_frame
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = num_threads()
        self.num_frames = int(self._stream.frames or 0)
        self.problem = ""

    def __iter__(self) -> Iterator[Frame]:
        import av

        start: float | None = None
        decoded = self._container.decode(self._stream)
        number = self._first
        while True:
            try:
                frame = next(decoded, None)
            except av.error.FFmpegError as error:
                # A recording that was cut off: the frames up to here are good.
                self.problem = first_line(error)
                return
            if frame is None:
                return
            time = None if frame.pts is None else float(frame.pts * frame.time_base)
            start = time if start is None else start
            yield Frame(number, None if time is None or start is None else time - start, _pixels_of(frame))
            number += 1


def _pixels_of(frame: Any) -> Callable[[], NDArray[np.uint8]]:
    def pixels() -> NDArray[np.uint8]:
        plain: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
        # Phones store pictures as the sensor lies; trackers see them upright.
        turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(plain, turns)) if turns else plain

    return pixels


class _Pictures:
    """The pictures of a folder; the last number in a name is the number of its frame."""

    def __init__(self, folder: Path, fps: float | None) -> None:
        files = [file for file in folder.iterdir() if is_image_name(file.name) and not file.name.startswith(".")]
        numbers = {file: _LAST_NUMBER.search(file.stem) for file in files}
        if not files or None in numbers.values():
            unnumbered = [file.name for file in files if numbers[file] is None]
            what = f"{unnumbered[0]} has no number" if unnumbered else what_is_there(folder)
            raise InputError(
                f"{folder} is no folder of frames: {what}; expected pictures such as 000001.jpg, or a video file",
                code="no-images",
            )
        self._files = sorted((int(found[1]), file) for file, found in numbers.items() if found is not None)
        twice = [file for (one, _), (other, file) in zip(self._files, self._files[1:], strict=False) if one == other]
        if twice:
            raise InputError(
                f"{folder} has two pictures with the number of {twice[0].name}; give the frames of one video",
                code="ambiguous-folder",
            )
        self._fps = fps
        self.num_frames = len(self._files)
        self.problem = ""

    def __iter__(self) -> Iterator[Frame]:
        first = self._files[0][0]
        for number, file in self._files:
            seconds = None if self._fps is None else (number - first) / self._fps

            def pixels(file: Path = file) -> NDArray[np.uint8]:
                image: Image.Image = open_image(file)
                return np.asarray(image)

            yield Frame(number, seconds, pixels)
