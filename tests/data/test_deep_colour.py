"""Colour files of more than 8 bits a channel are read with their depth, and stretched as grey ones are."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from spcl.data.image_decoding import open_image
from spcl.data.image_store import ImageStore
from spcl.pixel_range import PixelRange
from spcl.records import Record
from tests.input_errors import input_error

HEIGHT, WIDTH = 24, 16


def values_of(channels: int = 3, largest: int = 4095, seed: int = 0) -> NDArray[np.uint16]:
    """``[H, W, channels]``; the last of 2 or 4 channels is an opacity of 16 bits, transparent in the first row."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, largest + 1, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    # A tint, which one range for each channel would remove.
    values[..., 0] //= 2
    if channels in (2, 4):
        values[..., -1] = 65535
        values[0] = 0
    return values


def png_file(path: Path, values: NDArray[np.uint16], *more: tuple[bytes, bytes]) -> Path:
    kind = {2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return path


def tiff_file(
    path: Path,
    values: NDArray[np.uint16],
    *,
    end: str = "<",
    deflate: bool = False,
    planes: bool = False,
    turned: int = 1,
) -> Path:
    """Write a TIFF of 16 bits a channel in one strip, or one for each plane."""
    height, width, channels = values.shape
    parts = list(np.moveaxis(values, 2, 0)) if planes else [values]
    strips = [part.astype(f"{end}u2").tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    tags: list[tuple[int, str, list[int]]] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [16] * channels),
        (259, "H", [8 if deflate else 1]),
        (262, "H", [2]),
        (273, "I", [8 + sum(map(len, strips[:number])) for number in range(len(strips))]),
        (274, "H", [turned]),
        (277, "H", [channels]),
        (278, "I", [height]),
        (279, "I", [len(strip) for strip in strips]),
        (284, "H", [2 if planes else 1]),
        *([(338, "H", [2])] if channels == 4 else []),
    ]
    body = b"".join(strips)
    entries, more = b"", b""
    more_at = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        data = struct.pack(f"{end}{len(numbers)}{kind}", *numbers)
        if len(data) > 4:
            place, more = struct.pack(f"{end}I", more_at + len(more)), more + data
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack(f"{end}HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + place
    start = struct.pack(f"{end}2sHI", b"II" if end == "<" else b"MM", 42, 8 + len(body))
    path.write_bytes(start + body + struct.pack(f"{end}H", len(tags)) + entries + bytes(4) + more)
    return path


def ppm_file(path: Path, values: NDArray[np.uint16]) -> Path:
    path.write_bytes(b"P6\n# a comment\n%d %d\n65535\n" % (WIDTH, HEIGHT) + values.astype(">u2").tobytes())
    return path


def shown(path: Path, text: str = "auto") -> NDArray[np.float64]:
    return np.asarray(open_image(path, PixelRange.parse(text)), dtype=np.float64)


def expected(values: NDArray[np.uint16], low: float = 0, high: float = 4095) -> NDArray[np.float64]:
    return (((values.astype(np.float64) - low) / (high - low)).clip(0, 1) * 255).round()


WRITERS = {
    "x.png": lambda path: png_file(path, values_of()),
    "opacity.png": lambda path: png_file(path, values_of(4)),
    "little end.tif": lambda path: tiff_file(path, values_of()),
    "big end.tif": lambda path: tiff_file(path, values_of(), end=">"),
    "deflate.tif": lambda path: tiff_file(path, values_of(), deflate=True),
    "deflate, big end.tif": lambda path: tiff_file(path, values_of(), deflate=True, end=">"),
    "planes.tif": lambda path: tiff_file(path, values_of(), planes=True),
    "planes, big end.tif": lambda path: tiff_file(path, values_of(), planes=True, end=">"),
    "opacity.tif": lambda path: tiff_file(path, values_of(4)),
    "opacity, deflate.tif": lambda path: tiff_file(path, values_of(4), deflate=True),
    "x.ppm": lambda path: ppm_file(path, values_of()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_twelve_bits_of_colour_in_a_file_of_sixteen(tmp_path, name):
    path = WRITERS[name](tmp_path / name)
    has_opacity = name.startswith("opacity")
    values, first = values_of(4 if has_opacity else 3)[..., :3], int(has_opacity)
    # Transparent pixels are white, and do not count for the range.
    assert not has_opacity or (shown(path)[0] == 255).all()
    dark, bright = np.percentile(values[first:], (0.5, 99.5))
    assert np.array_equal(shown(path)[first:], expected(values, dark, bright)[first:])
    assert np.array_equal(shown(path, "0:4095")[first:], expected(values)[first:])
    # Scaled by the format's range, the pixels are those of Pillow, cut or (PPM) rounded; planes are rounded here.
    is_rounded = name.endswith("ppm") or name.startswith("planes")
    assert np.abs(shown(path, "full")[first:] - (values >> 8)[first:]).max() <= int(is_rounded)
    images = ImageStore([Record(path)], size=(HEIGHT, WIDTH))
    images.read(np.array([0]))
    assert (images.num_stretched, images.num_reduced) == (1, 0)


def test_colour_that_uses_its_range_is_not_stretched(tmp_path):
    values = values_of(largest=65535)
    assert np.array_equal(shown(png_file(tmp_path / "x.png", values)), values >> 8)
    assert not open_image(tmp_path / "x.png").info["stretched"]


def test_grey_with_opacity(tmp_path):
    values = values_of(2)
    path = png_file(tmp_path / "x.png", values)
    grey = expected(values[1:, :, :1])
    assert np.array_equal(shown(path, "0:4095")[1:], np.repeat(grey, 3, axis=2))
    assert (shown(path)[0] == 255).all()
    assert open_image(path).info["stretched"]


def test_a_transparent_colour_of_sixteen_bits(tmp_path):
    values = values_of()
    values[3, 4] = (300, 301, 302)
    values[3, 5] = (300, 301, 303)
    path = png_file(tmp_path / "x.png", values, (b"tRNS", struct.pack(">3H", 300, 301, 302)))
    pixels = shown(path, "0:4095")
    assert pixels[3, 4].tolist() == [255, 255, 255]
    assert pixels[3, 5].tolist() == expected(values)[3, 5].tolist()


def test_colour_is_turned_upright(tmp_path):
    values, exif = values_of(), Image.Exif()
    exif[0x0112] = 6
    upright = np.rot90(expected(values), -1)
    chunk = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    assert np.array_equal(shown(png_file(tmp_path / "x.png", values, chunk), "0:4095"), upright)
    for deflate in (False, True):
        path = tiff_file(tmp_path / "x.tif", values, turned=6, deflate=deflate)
        assert np.array_equal(shown(path, "0:4095"), upright)


def test_a_damaged_file_is_named(tmp_path):
    for path in (png_file(tmp_path / "x.png", values_of()), ppm_file(tmp_path / "x.ppm", values_of())):
        path.write_bytes(path.read_bytes()[: -HEIGHT * WIDTH])
        with input_error("unreadable-image", path.name):
            open_image(path)


def test_ten_bits_of_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    values = np.kron(values_of(largest=400)[::8, ::8], np.ones((32, 32, 1))).astype(np.uint16)
    size = (values.shape[1], values.shape[0])
    heif.from_bytes("RGB;16", size, (values * 64).tobytes()).save(tmp_path / "x.heic", quality=-1, chroma=444)
    for text in ("0:1023", "0:400"):
        largest = float(text[2:])
        assert np.abs(shown(tmp_path / "x.heic", text) - expected(values, 0, largest)).mean() < 4
    assert open_image(tmp_path / "x.heic").info["stretched"]


def deep_avif() -> bytes:
    # Pillow writes 8 bits; the configuration box alone is that of 10 bits here.
    import io

    file = io.BytesIO()
    Image.fromarray((values_of(largest=90)).astype(np.uint8)).save(file, "AVIF", quality=100, subsampling="4:4:4")
    return file.getvalue()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_ten_bits_of_avif_are_stretched_and_counted(tmp_path, monkeypatch):
    """Pillow gives 8 bits; the depth is in the file's header."""
    from spcl.data import deep_colour

    path = tmp_path / "x.avif"
    path.write_bytes(deep_avif())
    assert not open_image(path).info["stretched"]
    monkeypatch.setattr(deep_colour, "_avif_depth", lambda _: 10)
    assert shown(path).max() == 255
    images = ImageStore([Record(path)] * 2, size=(8, 8), memory=0)
    images.read(np.array([0, 1]))
    words = images.pixel_range.words(images.num_stretched, images.num_reduced)
    assert words.endswith(
        "Of 2, only the upper 8 bits of a channel could be read: convert them to 16-bit PNG for all grey levels"
    )


def test_depths_in_headers():
    from spcl.data.deep_colour import _avif_depth, _jpeg2000_depth

    for flags, depth in ((0x0C, 8), (0x4C, 10), (0x6C, 12)):
        assert _avif_depth(bytes(40) + b"av1C" + bytes([0x81, 0x20, flags, 0])) == depth
    assert _avif_depth(b"av1C") == _avif_depth(b"") == _jpeg2000_depth(b"\xff\x4f\xff\x51") == 8
    for depth in (8, 12, 16):
        marker = struct.pack(">4sHH8IH3B", b"\xff\x4f\xff\x51", 47, 0, *[1] * 8, 3, depth - 1, 1, 1)
        assert _jpeg2000_depth(bytes(85) + marker) == depth


@pytest.mark.parametrize("deflate", [False, True])
def test_forms_that_cannot_be_read_in_depth_are_counted(tmp_path, deflate):
    """Compressed planes: Pillow's decoder gives their upper bytes only."""
    path = tiff_file(tmp_path / "x.tif", values_of(), planes=True, deflate=deflate)
    image = open_image(path)
    assert image.info["stretched"]
    assert image.info["reduced"] is deflate
    assert np.abs(np.asarray(image, float) - expected(values_of())).mean() < 12


def test_ordinary_images_import_no_reader_of_deep_ones(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    program = (
        "import sys; from pathlib import Path; from spcl.data.image_decoding import open_image; "
        f"open_image(Path({str(path)!r})); print(sorted({{'torch', 'torchvision', 'pillow_heif'}} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
