"""Random bytes of image files, one entry point for each format that is read; and images in requests."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from spcl.data.image_decoding import open_image, resized
from tests.trust.mutations import damaged_bytes
from tests.trust.workers import EntryPoint, TryInput

Options = dict[str, Any]


def _picture(mode: str, size: tuple[int, int] = (14, 21)) -> Image.Image:
    rng = np.random.default_rng(len(mode))
    wide = size[1], size[0]
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, wide).astype(np.uint16))
    if mode in ("F", "I"):
        return Image.fromarray(rng.integers(0, 9999, wide).astype(np.float32 if mode == "F" else np.int32))
    colours = Image.fromarray(rng.integers(0, 256, (*wide, 4)).astype(np.uint8), "RGBA")
    return colours.convert("RGB").convert(mode) if mode != "RGBA" else colours


def _saved(mode: str, kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    written = io.BytesIO()
    _picture(mode).save(written, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}), **options)
    return written.getvalue()


def _deep_png(colour: int, channels: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    rows = np.random.default_rng(0).integers(0, 65536, (5, 4 * channels)).astype(">u2")
    data = b"".join(b"\x00" + row.tobytes() for row in rows)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 5, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _samples(kind: str) -> list[bytes]:
    frames = {"save_all": True, "append_images": [_picture("RGB", (14, 21))]}
    if kind == "JPEG":
        return [_saved("RGB", kind), _saved("L", kind), _saved("CMYK", kind), _saved("RGB", kind, progressive=True)]
    if kind == "PNG":
        plain = [_saved(mode, kind) for mode in ("RGB", "RGBA", "P", "L", "1", "I;16", "LA")]
        return [*plain, _deep_png(2, 3), _deep_png(6, 4), _saved("RGB", kind, **frames)]
    if kind == "TIFF":
        compressed = [
            _saved("RGB", kind, compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")
        ]
        return [
            *(_saved(mode, kind) for mode in ("RGB", "I;16", "F", "I", "CMYK", "1")),
            *compressed,
            _saved("RGB", kind, **frames),
        ]
    if kind == "WEBP":
        return [_saved("RGB", kind), _saved("RGBA", kind, lossless=True), _saved("RGB", kind, **frames)]
    if kind == "GIF":
        return [_saved("P", kind), _saved("RGB", kind, **frames), _saved("L", kind, transparency=3)]
    if kind == "BMP":
        return [_saved(mode, kind) for mode in ("RGB", "L", "1", "P")]
    if kind == "PPM":
        return [
            *(_saved(mode, kind) for mode in ("RGB", "L", "1", "I;16")),
            b"P2\n# c\n3 2\n900\n1 2 3\n4 5 900\n",
            b"P3 1 1 255 1 2 3",
        ]
    return [_saved(mode, kind) for mode in ("RGB", "L")]


def _of_format(kind: str, ending: str, folder: Path) -> TryInput:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    samples, path = _samples(kind), folder / f"image{ending}"

    def try_input(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(rng, samples))
        pixels = resized(open_image(path), (8, 16))
        assert pixels.shape == (16, 8, 3) and pixels.dtype == np.uint8

    return try_input


def _formats() -> dict[str, str]:
    found = {
        "JPEG": ".jpg",
        "PNG": ".png",
        "TIFF": ".tif",
        "WEBP": ".webp",
        "GIF": ".gif",
        "BMP": ".bmp",
        "PPM": ".ppm",
    }
    if features.check("jpg_2000"):
        found["JPEG2000"] = ".jp2"
    if features.check("avif"):
        found["AVIF"] = ".avif"
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        return found
    return found | {"HEIF": ".heic"}


def _prepare(kind: str, ending: str) -> Callable[[Path], TryInput]:
    return partial(_of_format, kind, ending)


ENTRY_POINTS = tuple(EntryPoint(f"image, {kind}", _prepare(kind, ending)) for kind, ending in _formats().items())
