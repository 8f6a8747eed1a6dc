"""Images: every kind of file is read upright as RGB, resized once; what cannot be read is named."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize

from spcl.data import image_decoding, image_store
from spcl.data.image_cache import open_image_cache
from spcl.data.image_decoding import check_images, open_image
from spcl.data.image_store import ImageStore
from spcl.pixel_range import PixelRange
from spcl.records import Record
from tests.fakes import draw
from tests.input_errors import input_error


def gradient(size=(20, 40)) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return np.stack([x, y, 255 - x], axis=2).astype(np.uint8)


def store(paths, **options) -> ImageStore:
    return ImageStore([Record(path) for path in paths], **({"size": (32, 16), "num_threads": 2} | options))


@pytest.mark.parametrize("memory", [0, 2**30])
def test_resized_as_the_official_transform(tmp_path, memory):
    paths = [draw(tmp_path / f"{number}.png", number, size=(30, 50)) for number in range(5)]
    images = store(paths, memory=memory)
    rows = np.array([3, 0, 3, 4])
    expected = [np.asarray(Resize((32, 16), InterpolationMode.BICUBIC)(Image.open(paths[row]))) for row in rows]
    for _ in range(2):
        assert np.array_equal(images.read(rows), np.stack(expected))


def test_kept_images_are_not_read_again(tmp_path):
    path = draw(tmp_path / "a.png", 1)
    kept, again = store([path]), store([path], memory=0)
    first = kept.read(np.array([0])), again.read(np.array([0]))
    path.unlink()
    assert np.array_equal(kept.read(np.array([0])), first[0])
    with input_error("unreadable-image", "no such file"):
        again.read(np.array([0]))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_modes(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode in ("CMYK", "I;16") else "x.png")
    if mode == "I;16":
        grey = np.asarray(Image.fromarray(gradient()).convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(path)
    else:
        Image.fromarray(gradient()).convert(mode).save(path)
    image = open_image(path)
    assert image.mode == "RGB"
    assert image.size == (20, 40)
    expected = (
        gradient()
        if mode in ("RGBA", "CMYK", "P")
        else np.asarray(Image.fromarray(gradient()).convert("L").convert("RGB"))
    )
    if mode != "1":
        assert np.abs(np.asarray(image, dtype=int) - expected.astype(int)).mean() < 20


@pytest.mark.parametrize(
    ("name", "dtype", "largest"),
    [("x.png", np.uint16, 65535), ("x.tif", np.uint16, 65535), ("x.tif", np.int32, 2**31 - 1)],
)
def test_deep_greys_are_scaled(tmp_path, name, dtype, largest):
    shares = np.linspace(0, 1, 16).reshape(4, 4)
    Image.fromarray((shares * largest).astype(dtype)).save(tmp_path / name)
    assert np.abs(np.asarray(open_image(tmp_path / name))[..., 0] - shares * 255).max() <= 1


def test_dark_sixteen_bits_stay_dark(tmp_path):
    """The scale is the format's, not each image's: a night shot is not turned into a day shot."""
    Image.fromarray(np.full((4, 4), 255, dtype=np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(open_image(tmp_path / "x.png")).max() == 1


def scene(seed: int) -> np.ndarray:
    """``[64, 32]`` shares from 0 to 1: some patches, other ones for each seed."""
    rng = np.random.default_rng(seed)
    return np.clip(np.kron(rng.random((8, 4)), np.ones((8, 8))) + rng.normal(0, 0.02, (64, 32)), 0, 1)


DEEP = {
    "12 bits in 16": ("x.tif", lambda share: (share * 4095).astype(np.uint16)),
    "12 bits in a 16-bit PNG": ("x.png", lambda share: (share * 4095).astype(np.uint16)),
    "radiometric, 16 bits": ("x.tif", lambda share: (29_000 + 1500 * share).astype(np.uint16)),
    "radiometric, 32 bits": ("x.tif", lambda share: (-400 + 1500 * share).astype(np.int32)),
    "degrees": ("x.tif", lambda share: (12.5 + 9 * share).astype(np.float32)),
    "shares": ("x.tif", lambda share: share.astype(np.float32)),
}


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first.ravel() @ second.ravel() / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize("kind", DEEP)
def test_images_that_use_little_of_their_range_are_stretched(tmp_path, kind):
    name, values = DEEP[kind]
    paths = [tmp_path / str(seed) / name for seed in range(2)]
    greys = []
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        Image.fromarray(values(scene(seed))).save(path)
        greys.append(np.asarray(open_image(path), float)[..., 0])
        # As the scene would be in 8 bits: black, white and all between.
        assert np.abs(greys[seed] - 255 * scene(seed)).mean() < 12
    assert cosine(*greys) < cosine(scene(0), scene(1)) + 0.05
    images = store(paths)
    images.read(np.array([0, 1]))
    assert images.num_stretched == (0 if kind == "shares" else 2)


def test_a_range_that_is_given_keeps_brightness_comparable(tmp_path):
    for name, share in (("dark", 0.2), ("bright", 0.9)):
        Image.fromarray((share * scene(0) * 4095).astype(np.uint16)).save(tmp_path / f"{name}.tif")
    bits = PixelRange.parse("0:4095")
    dark, bright = (np.asarray(open_image(tmp_path / f"{name}.tif", bits), float) for name in ("dark", "bright"))
    assert np.abs(dark / 0.2 - bright / 0.9).max() <= 4
    assert np.asarray(open_image(tmp_path / "bright.tif", PixelRange.parse("full"))).max() <= 15
    # Eight bits are never changed.
    Image.fromarray((scene(0) * 90).astype(np.uint8)).save(tmp_path / "x.png")
    for text in ("auto", "full", "0:4095"):
        assert np.asarray(open_image(tmp_path / "x.png", PixelRange.parse(text))).max() <= 90
    given = store([tmp_path / "dark.tif"], pixel_range="0:4095")
    given.read(np.array([0]))
    assert "1 image of more than 8 bits: 0 is black, 4095 white" in given.pixel_range.words(given.num_stretched)


def test_values_without_a_picture_stay_dark():
    auto = PixelRange()
    with pytest.raises(ValueError, match="none of its values"):
        auto.to_eight_bits(np.full((4, 4), np.nan, np.float32))
    assert not auto.to_eight_bits(np.zeros((4, 4), np.uint16), 65535)[0].any()
    assert auto.to_eight_bits(np.array([[np.nan, 20.0], [30.0, np.inf]]))[0].tolist() == [[0, 0], [255, 0]]
    # The noise of a uniform image is not made a picture.
    noise = 700 + np.random.default_rng(0).integers(-2, 3, (50, 50))
    assert np.ptp(auto.to_eight_bits(noise.astype(np.uint16), 65535)[0]) < 40


@pytest.mark.parametrize("text", ["", "wide", "5", "9:1", "1:1", "nan:3", "0:inf", "1:2:3"])
def test_a_range_that_is_none_is_named(text):
    with input_error("setting-not-understood"):
        PixelRange.parse(text)


def test_cmyk_photograph(tmp_path):
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    assert np.abs(np.asarray(open_image(tmp_path / "x.jpg"), dtype=int) - gradient()).mean() < 5


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 50_000])
def test_gigantic_images_are_refused_before_they_are_decoded(tmp_path, side):
    (tmp_path / "x.ppm").write_bytes(b"P6 %d %d 255 " % (side, side))
    with input_error("unreadable-image", "89 megapixels"):
        open_image(tmp_path / "x.ppm")


def test_threads_leave_the_warning_filters_alone(tmp_path):
    path = draw(tmp_path / "a.png", 1, size=(4, 4))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_image, [path] * 500))
    assert list(warnings.filters) == before


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert open_image(tmp_path / "x.png").getpixel((0, 0)) == (255, 255, 255)


def test_turned_upright(tmp_path):
    image = Image.fromarray(gradient((20, 40)))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    assert open_image(tmp_path / "x.jpg").size == (40, 20)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert open_image(tmp_path / "x.webp").getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize(("name", "options"), [("x.png", {}), ("x.tif", {}), ("x.tiff", {"compression": "tiff_lzw"})])
def test_first_frame_of_animated_png_and_first_page_of_tiff(tmp_path, name, options):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    assert open_image(tmp_path / name).getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("mode", "pixel", "transparency"),
    [("RGB", (255, 0, 0), (255, 0, 0)), ("L", 7, 7), ("P", 1, 1), ("P", 1, b"\xff\x00")],
)
def test_a_colour_that_is_transparent_is_white(tmp_path, mode, pixel, transparency):
    image = Image.new(mode, (4, 4), pixel)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 10, 10])
    image.save(tmp_path / "x.png", transparency=transparency)
    assert open_image(tmp_path / "x.png").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_colour(tmp_path):
    """Pillow keeps the upper eight bits of each channel; here a PNG is written by hand, for it writes none."""
    values = np.array([[[0, 0x1234, 0xFFFF], [0x8000, 0xABCD, 0x00FF]]], dtype=">u2")
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + values.tobytes())),
        (b"IEND", b""),
    ]
    written = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "x.png").write_bytes(written)
    assert np.asarray(open_image(tmp_path / "x.png")).tolist() == [[[0, 0x12, 0xFF], [0x80, 0xAB, 0x00]]]


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "x.png")
    assert store([tmp_path / "x.png"]).read(np.array([0])).shape == (1, 32, 16, 3)


def broken(tmp_path: Path) -> list[Path]:
    whole = draw(tmp_path / "whole.jpg", 1, size=(64, 64))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:400])
    return [whole, *(tmp_path / name for name in ("empty.jpg", "text.jpg", "cut.jpg", "gone.jpg"))]


def test_broken_images_are_named(tmp_path):
    paths = broken(tmp_path)
    for path in paths[1:]:
        with input_error("unreadable-image", path.name, "--on-broken skip"):
            store([path]).read(np.array([0]))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux alone")
def test_a_path_that_is_not_utf8_is_reported(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    draw(tmp_path / "whole.jpg", 1).rename(path)
    with input_error("unreadable-image", "UTF-8"):
        store([path]).read(np.array([0]))
    skipping = store([path], on_broken="skip")
    skipping.read(np.array([0]))
    ((_, reason),) = check_images([Record(path)], sample=None)
    assert skipping.broken[0] == reason
    assert open_image(path).size  # it could be read: what fails is to name it


def test_broken_images_are_skipped_and_counted(tmp_path):
    images = store(broken(tmp_path), on_broken="skip")
    pixels = images.read(np.arange(5))
    assert sorted(images.broken) == [1, 2, 3, 4]
    assert (pixels[1] == pixels[1, 0, 0]).all()
    assert pixels[0].std() > 5
    assert images.broken[4] == "there is no such file"


def test_checking_before_the_start(tmp_path):
    records = [Record(path) for path in broken(tmp_path)]
    calls = []
    found = check_images(records, sample=None, progress=lambda *at: calls.append(at))
    assert [path.name for path, _ in found] == ["empty.jpg", "text.jpg", "cut.jpg", "gone.jpg"]
    assert all(reason and "Repair" not in reason and str(tmp_path) not in reason for _, reason in found)
    assert found[-1][1] == "there is no such file"
    assert calls[-1] == (5, 5)
    assert len(check_images(records[:1] * 9, sample=3)) == 0


def test_images_that_are_not_on_disk():
    path = Path("nowhere/x.jpg")
    images = store([path], arrays={path: gradient()})
    assert images.read(np.array([0])).shape == (1, 32, 16, 3)


def test_images_that_do_not_fit_in_memory_are_kept_in_a_file(tmp_path, monkeypatch):
    paths = [draw(tmp_path / f"{row}.png", row) for row in range(6)]
    (tmp_path / "4.png").write_bytes(b"broken")
    records = [Record(path) for path in paths]
    options = {"size": (16, 8), "memory": 0, "on_broken": "skip", "cache_dir": tmp_path / "cache"}
    rows = np.array([5, 0, 4, 0])
    expected = ImageStore(records, size=(16, 8), memory=0, on_broken="skip").read(rows)
    first = ImageStore(records, **options)
    assert np.array_equal(first.read(rows), expected)
    assert list(first.broken) == [4]
    opened, original = [], image_decoding.open_image
    monkeypatch.setattr(image_store, "open_image", lambda path, *how: opened.append(path) or original(path, *how))
    again = ImageStore(records, **options)
    assert np.array_equal(again.read(rows), expected)
    assert opened == [paths[4]]  # only the broken one is tried again
    assert list(again.broken) == [4]
    draw(paths[0], 3)  # another image under the same name
    os.utime(paths[0], ns=(1, 1))
    changed = ImageStore(records, **options)
    assert not np.array_equal(changed.read(rows)[1], expected[1])
    assert len(list((tmp_path / "cache").glob("*.u8"))) == 2


def test_a_cache_has_its_room_before_it_is_filled(tmp_path, monkeypatch):
    """A mapped file on a disk that fills up later ends the process with a signal."""
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(3)]
    folder = tmp_path / "cache"
    size = 3 * 64 * 32 * 3

    def taken():
        return [(path.stat().st_size, path.stat().st_blocks * 512 >= size) for path in folder.glob("*.u8")]

    pixels, marks = open_image_cache(folder, paths, 64, 32)
    assert taken() == [(size, True)]
    pixels[1], marks[1] = 7, True
    again, marked = open_image_cache(folder, paths, 64, 32)
    assert (again[1] == 7).all()
    assert marked.tolist() == [False, True, False]
    shutil.rmtree(folder)

    def refusing(number):
        def allocate(*arguments):
            raise OSError(number, os.strerror(number))

        return allocate

    # No call for it in this file system, then in this system.
    for make in (
        lambda: monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP)),
        lambda: monkeypatch.delattr(os, "posix_fallocate"),
    ):
        make()
        pixels, _ = open_image_cache(folder, paths, 64, 32)
        assert not pixels.any()
        assert taken()[0][0] == size
        shutil.rmtree(folder)
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC), raising=False)
    with input_error("cannot-write", "No space left", "--cache-dir none"):
        open_image_cache(folder, paths, 64, 32)
    assert not list(folder.iterdir())


def test_room_that_another_process_has_reserved_counts_once(tmp_path, monkeypatch):
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(3)]
    open_image_cache(tmp_path / "cache", paths, 64, 32)
    next((tmp_path / "cache").glob("*.done")).unlink()
    usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 0)
    monkeypatch.setattr("spcl.data.image_cache.shutil.disk_usage", lambda folder: usage)
    open_image_cache(tmp_path / "cache", paths, 64, 32)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on other systems")
def test_a_cache_of_images_in_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    paths = [draw(folder / "1.png", 1), folder / "gone.png"]
    pixels, _ = open_image_cache(tmp_path / "cache", paths, 16, 8)
    assert pixels.shape == (2, 16, 8, 3)


def test_a_cache_that_cannot_be_is_named(tmp_path, monkeypatch):
    records = [Record(draw(tmp_path / "0.png", 0))]
    (tmp_path / "file").write_text("")
    with input_error("cannot-write", "--cache-dir none"):
        ImageStore(records, size=(16, 8), memory=0, cache_dir=tmp_path / "file")
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("spcl.data.image_cache.shutil.disk_usage", lambda folder: usage)
    with input_error("disk-full", "--cache-dir DIR"):
        ImageStore(records, size=(16, 8), memory=0, cache_dir=tmp_path / "cache")


def deep_colour_png(path: Path, values: np.ndarray) -> None:
    """Write ``[H, W, C]`` values of 16 bits; Pillow writes no such files."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def deep_colour_tiff(path: Path, values: np.ndarray, *, compressed: bool) -> None:
    """Write ``[H, W, 3]`` values of 16 bits, little-endian."""
    height, width, _ = values.shape
    data = values.astype("<u2").tobytes()
    data = zlib.compress(data) if compressed else data
    at = 8 + 2 + 12 * 9 + 4
    short, long = 3, 4
    tags = [
        *((256, long, 1, width), (257, long, 1, height), (258, short, 3, at), (259, short, 1, 8 if compressed else 1)),
        *((262, short, 1, 2), (273, long, 1, at + 6), (277, short, 1, 3), (278, long, 1, height)),
        (279, long, 1, len(data)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(head + struct.pack("<HHH", 16, 16, 16) + data)


WAYS_OF_DEEP_COLOUR = {
    "png": lambda path, values: deep_colour_png(path, values),
    "png with opacity": lambda path, values: deep_colour_png(
        path, np.concatenate([values, np.full_like(values[..., :1], 65535)], axis=2)
    ),
    "tiff": lambda path, values: deep_colour_tiff(path, values, compressed=False),
    "compressed tiff": lambda path, values: deep_colour_tiff(path, values, compressed=True),
}


@pytest.mark.parametrize("way", WAYS_OF_DEEP_COLOUR)
def test_colour_of_twelve_bits_in_sixteen_is_stretched(tmp_path, way):
    eight = gradient()
    path = tmp_path / "deep"
    WAYS_OF_DEEP_COLOUR[way](path, eight.astype(np.uint16) * 16)
    assert np.abs(np.asarray(open_image(path), float) - eight).max() <= 2
    images = store([path])
    images.read(np.array([0]))
    assert images.num_stretched == 1
    # An image that a program opened and has not decoded yet is the same image.
    with Image.open(path) as image:
        np.testing.assert_array_equal(image_decoding.image_in_memory(image), open_image(path))
    assert np.asarray(open_image(path, PixelRange.parse("full"))).max() <= 15
    given = np.asarray(open_image(path, PixelRange.parse("0:8191")), float)
    assert np.abs(given - eight / 2).max() <= 1
    # Values that use the range are those of Pillow.
    WAYS_OF_DEEP_COLOUR[way](path, eight.astype(np.uint16) * 257)
    np.testing.assert_array_equal(open_image(path), eight)


def test_grey_with_opacity_of_twelve_bits_in_sixteen_is_stretched(tmp_path):
    values = np.stack([gradient()[..., 0].astype(np.uint16) * 16, np.full((40, 20), 65535, np.uint16)], axis=2)
    deep_colour_png(tmp_path / "x.png", values)
    assert np.abs(np.asarray(open_image(tmp_path / "x.png"), float) - gradient()[..., :1]).max() <= 2


def test_an_image_without_a_finite_value_cannot_be_read(tmp_path):
    Image.fromarray(np.full((8, 4), np.nan, np.float32)).save(tmp_path / "x.tif")
    with input_error("unreadable-image", "x.tif", "finite"):
        open_image(tmp_path / "x.tif")


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    places = [tmp_path / "pipe.jpg", Path("/dev/zero"), Path("/dev/null")]
    for place in places:
        with input_error("unreadable-image", place.name, "not a regular file"):
            open_image(place)
    records = [Record(place) for place in places]
    broken = check_images(records, sample=None, num_threads=1)
    assert len(broken) == len(places)
    store = ImageStore(records, size=(8, 4), on_broken="skip", num_threads=0)
    store.read(np.arange(len(records)))
    assert all("not a regular file" in reason for reason in store.broken.values())
