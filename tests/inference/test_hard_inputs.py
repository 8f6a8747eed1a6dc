"""Whatever an image is, a file and the same image in memory give one feature; what is no image is named."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from spcl.data.image_decoding import open_image
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.inference.checkpoint import checkpoint_of
from spcl.inference.embedding import EmbedSettings, Encoder, embed_records, load_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record
from spcl.runtime import Runtime
from spcl.training_run.starting_point import find_start, settings_from_checkpoint
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval(), "target")


def picture(shot: int = 0) -> Image.Image:
    return render_image(SyntheticSpec(height=64, width=32), 0, 0, shot)


def turned(image: Image.Image) -> Image.Image:
    exif = image.getexif()
    exif[0x0112] = 6
    held = io.BytesIO()
    image.save(held, "PNG", exif=exif)
    return Image.open(held)


def see_through(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 32).astype(np.uint8), (64, 1))))
    return image


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


HARD = {
    "grey": lambda image: image.convert("L"),
    "opacity": see_through,
    "grey opacity": lambda image: see_through(image).convert("LA"),
    "palette": lambda image: image.quantize(32),
    "CMYK": lambda image: image.convert("CMYK"),
    "16 bits": sixteen_bits,
    "turned": turned,
    "one pixel": lambda image: image.resize((1, 1)),
    "flat": lambda image: image.resize((500, 2)),
}


@pytest.mark.parametrize("kind", HARD)
def test_an_image_in_memory_is_treated_as_its_file(encoder, tmp_path, kind):
    image = HARD[kind](picture())
    path = tmp_path / ("x.tif" if kind == "CMYK" else "x.png")
    image.save(path, **({"exif": image.getexif()} if kind == "turned" else {}))
    mode = image.mode
    given, from_file = encoder.embed(image), encoder.embed(path)
    assert np.array_equal(given, from_file)
    assert image.mode == mode
    # Not because nothing matters: read as raw pixels, most of these are another image.
    plain = encoder.embed(np.asarray(open_image(path)))
    assert np.array_equal(given, plain)
    if kind in ("opacity", "turned", "16 bits"):
        assert not np.allclose(given, encoder.embed(Image.fromarray(np.asarray(image.convert("RGB")))), atol=1e-4)


def test_arrays_of_every_kind(encoder):
    image = picture()
    rgb, grey = np.asarray(image), np.asarray(image.convert("L"))
    expected = encoder.embed([image, image.convert("L"), see_through(image)])
    given = encoder.embed([rgb, grey, np.asarray(see_through(image))])
    assert np.array_equal(given, expected)
    # Batches of another size may be added up in another order.
    for array, rows in (
        (grey, [1]),
        (grey[:, :, None], [1]),
        (np.stack([rgb, rgb]), [0, 0]),
        # Strides of a view: mirrored twice it is the same image.
        (np.ascontiguousarray(rgb[:, ::-1])[:, ::-1], [0]),
    ):
        np.testing.assert_allclose(encoder.embed(array), expected[rows], atol=1e-6)
    assert encoder.embed([]).shape == (0, encoder.feature_dim)


@pytest.mark.parametrize(
    ("image", "code", "named"),
    [
        (np.zeros((8, 4, 3)), "not-an-image", "float64"),
        (np.zeros((3, 8, 5), np.uint8), "not-an-image", "[3, 8, 5]"),
        (np.zeros((8, 4, 2), np.uint8), "not-an-image", "[8, 4, 2]"),
        (np.zeros((0, 4, 3), np.uint8), "not-an-image", "[0, 4, 3]"),
        (np.zeros(5, np.uint8), "not-an-image", "[5]"),
        (torch.zeros(3, 8, 4), "wrong-shape", "[3, 8, 4]"),
        (None, "not-an-image", "NoneType"),
        ("gone.jpg", "unreadable-image", "gone.jpg"),
    ],
)
def test_what_is_no_image_is_named(encoder, image, code, named):
    with input_error(code, named):
        encoder.embed([picture(), image])


def test_an_image_that_breaks_when_it_is_decoded(encoder, tmp_path):
    path = draw(tmp_path / "x.jpg", 1, size=(64, 64))
    half = path.read_bytes()[:700]
    lazy = Image.open(io.BytesIO(half))
    with input_error("unreadable-image", "image 0"):
        encoder.embed(lazy)


def test_the_frame_at_which_an_image_stands(encoder):
    frames, held = [picture(0), picture(1)], io.BytesIO()
    frames[0].save(held, "PNG", save_all=True, append_images=frames[1:])
    moving = Image.open(held)
    moving.seek(1)
    assert np.array_equal(encoder.embed(moving), encoder.embed(frames[1]))
    assert moving.tell() == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_bad_images_never_end_a_job(encoder, tmp_path):
    good = [draw(tmp_path / f"good{number}.png", number) for number in range(4)]
    bad = {
        "empty.jpg": b"",
        "text.png": b"no image",
        "cut.jpg": draw(tmp_path / "whole.jpg", 1, size=(64, 64)).read_bytes()[:400],
        "vast.ppm.png": b"P6 50000 50000 255 ",
        "broken.tif": b"II*\x00\xff\xff\xff\xff",
        "broken.webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    paths = [good[0], *(tmp_path / name for name in bad), good[1], tmp_path / "gone.png", tmp_path / "folder.jpg"]
    result = embed_records(encoder, [Record(path) for path in [*paths, *good[2:]]])
    assert [record.path for record in result.records] == good
    assert np.allclose(result.features, encoder.embed(good), atol=1e-6)
    reasons = {path.name: reason for path, reason in result.broken}
    assert set(reasons) == {*bad, "gone.png", "folder.jpg"}
    assert reasons["empty.jpg"] == "the file is empty"
    assert "89 megapixels" in reasons["vast.ppm.png"]
    assert all(str(tmp_path) not in reason for reason in reasons.values())
    with input_error("unreadable-image", "empty.jpg", "the file is empty"):
        embed_records(encoder, [Record(path) for path in paths], EmbedSettings(on_broken="error"))
    with input_error("no-readable-images", "empty.jpg"):
        embed_records(encoder, [Record(tmp_path / name) for name in bad])


def test_a_decoder_that_raises_another_error(encoder, tmp_path, monkeypatch):
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(3)]
    opening = Image.open

    def broken(path, *rest):
        if str(path).endswith("1.png"):
            raise IndexError("list index out of range")
        return opening(path, *rest)

    monkeypatch.setattr(Image, "open", broken)
    result = embed_records(encoder, [Record(path) for path in paths])
    assert [record.path for record in result.records] == [paths[0], paths[2]]
    assert result.broken == ((paths[1], "it cannot be decoded (IndexError: list index out of range)"),)


def test_a_folder_without_images(encoder, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with input_error("no-images", "notes.txt"):
        encoder.embed(tmp_path)


LFS_POINTER = "version https://git-lfs.github.com/spec/v1"


@pytest.mark.parametrize(
    ("name", "write", "code", "named"),
    [
        ("x.pth", lambda path: path.write_bytes(b""), "wrong-file-kind", "x.pth"),
        ("x.pth", lambda path: path.write_text("no checkpoint"), "wrong-file-kind", "x.pth"),
        ("x.pth", lambda path: torch.save(torch.zeros(3), path), "not-a-checkpoint", "Tensor"),
        ("x.pth", lambda path: torch.save({"model": 1}, path), "not-a-checkpoint", "model"),
        (
            "x.pth",
            lambda path: torch.save({"module.base.0.weight": torch.zeros(2)}, path),
            "architecture-unknown",
            "--arch",
        ),
        (
            "x.pth",
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
            "wrong-file-kind",
            "Git LFS",
        ),
        ("x.safetensors", lambda path: path.write_text("<html>"), "wrong-file-kind", "web page"),
        ("x.pth", lambda path: zipfile.ZipFile(path, "w").close(), "damaged-file", "x.pth"),
        ("x.pth", lambda path: path.mkdir(), "not-a-file", "x.pth is a folder"),
        (
            "resume.pt",
            lambda path: torch.save({"state": {}, "config": {}, "images": []}, path),
            "not-a-checkpoint",
            "checkpoint.pth.tar",
        ),
        ("x.safetensors", lambda path: path.write_text("no weights"), "wrong-file-kind", "safetensors"),
        ("x.safetensors", lambda path: None, "no-such-checkpoint", "x.safetensors"),
    ],
)
def test_a_checkpoint_of_another_kind(tmp_path, name, write, code, named):
    write(tmp_path / name)
    with input_error(code, named):
        load_encoder(tmp_path / name)


def test_a_folder_in_place_of_a_checkpoint(tmp_path):
    (tmp_path / "model_best.pth.tar").write_bytes(b"")
    with input_error("not-a-file", "model_best.pth.tar"):
        load_encoder(tmp_path)


def started_from(path):
    start = {"arch": "timm/test_resnet", "size": (32, 16), "pretrained": "auto", "domain": "auto"}
    return find_start(Runtime("cpu"), checkpoint=str(path), **start)


OUT_OF_RANGE = [
    ("features", 10**12), ("features", -5), ("features", True), ("features", 7), ("dropout", math.nan),
    ("dropout", 1.0), ("height", 10**6), ("height", 0), ("width", -1), ("last_stride", 3), ("group_size", 1),
    ("group_size", -2), ("pixel_range", "5:2"),
]  # fmt: skip
NO_CHANNELS = [[math.nan] * 3, [0.5], "abc", None, [0.5] * 4, [True] * 3, [math.inf, 1, 1]]


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        ({"spcl": "mine"}, "damaged-file", "c.pth.tar"),
        ({"spcl": {"version": "9.1"}}, "damaged-file", "c.pth.tar"),
        ({"encoder": {"domains": None}}, "damaged-file", "c.pth.tar"),
        ({"encoder": {"attention": 4}}, "version-not-supported", "attention 4"),
        ({"encoder": {"pooling": "max"}}, "version-not-supported", "pooling 'max'"),
        ({"encoder": {"height": "tall"}}, "damaged-file", "height 'tall'"),
        ({"encoder": {"domains": [1]}}, "damaged-file", "[1]"),
        *(({"encoder": {name: value}}, "damaged-file", f"{name} {value!r}") for name, value in OUT_OF_RANGE),
        ({"encoder": {"domains": ["target", "target"]}}, "damaged-file", "different names"),
        ({"encoder": {"domains": ["a"] * 100_000}}, "damaged-file", "different names"),
        ({"encoder": {"domains": ["a.b"]}}, "damaged-file", "different names"),
        *(({"stored": {name: value}}, "damaged-file", name) for name in ("mean", "std") for value in NO_CHANNELS),
        ({"stored": {"std": [0.0, 1.0, 1.0]}}, "damaged-file", "above 0"),
        ({"state_dict": [torch.zeros(1)]}, "not-a-checkpoint", "state_dict"),
        ({"state_dict": torch.zeros(2)}, "not-a-checkpoint", "state_dict"),
        ({"state_dict": {1: torch.zeros(2)}}, "not-a-checkpoint", "state_dict"),
    ],
)
@pytest.mark.parametrize("use", [load_encoder, settings_from_checkpoint, started_from])
def test_a_checkpoint_that_is_no_whole_one_or_another_versions(encoder, tmp_path, changed, code, named, use):
    content = checkpoint_of(encoder.network, epoch=1, best_mean_ap=None, facts={"version": "9.1"})
    changed = dict(changed)
    settings = content["spcl"]["encoder"] | changed.pop("encoder", {})
    content["spcl"] |= changed.pop("stored", {})
    content["spcl"]["encoder"] = {name: value for name, value in settings.items() if value is not None}
    torch.save(content | changed, tmp_path / "c.pth.tar")
    with input_error(code, named):
        use(tmp_path / "c.pth.tar")


def test_what_this_version_wrote_is_not_called_another_versions(encoder, tmp_path):
    content = checkpoint_of(encoder.network, epoch=1, best_mean_ap=None, facts={})
    content["spcl"]["encoder"]["pooling"] = "max"
    torch.save(content, tmp_path / "c.pth.tar")
    with input_error("damaged-file", "pooling 'max'"):
        load_encoder(tmp_path / "c.pth.tar")


@pytest.mark.parametrize("kind", ["sparse", "complex", "whole"])
def test_weights_of_another_type_are_refused(encoder, tmp_path, kind):
    content = checkpoint_of(encoder.network, epoch=1, best_mean_ap=None, facts={})
    name = next(name for name, value in content["state_dict"].items() if value.ndim == 4)
    weight = content["state_dict"][name]
    other = {"sparse": weight.to_sparse(), "complex": weight.to(torch.complex64), "whole": weight.to(torch.int64)}
    content["state_dict"][name] = other[kind]
    torch.save(content, tmp_path / "c.pth.tar")
    with input_error("weights-mismatch" if kind == "whole" else "not-a-checkpoint", "c.pth.tar"):
        load_encoder(tmp_path / "c.pth.tar")


def test_a_checkpoint_whose_end_is_that_of_an_archive_on_several_disks(tmp_path):
    path = tmp_path / "c.pth.tar"
    torch.save({"state_dict": {}}, path)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x06\x07")  # the locator of the directory; the number of disks follows
    data[at + 16] = 7
    path.write_bytes(data)
    with input_error("wrong-file-kind", path):
        load_encoder(path)
