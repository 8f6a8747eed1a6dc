"""Files that want to run code, to fill the memory, or to write to the terminal."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from spcl.cli.main import main
from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.errors import InputError
from spcl.gallery.enrolment_file import known_facts, read_enrolled
from spcl.inference.checkpoint import checkpoint_of, load_network, save_atomically
from spcl.inference.stored_encoder import check_progress
from spcl.monitoring.reference import read_reference
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.trunk_weights import read_weights
from spcl.printable import printable, printable_name
from spcl.reporting.console import ConsoleReporter
from spcl.training_run.run_files import RESUME_FILE, saved_epochs
from tests.fakes import draw
from tests.input_errors import input_error
from tests.trust.tally import record

SECTION = "Hostile files"
HEAD = "reid_head.safetensors"


class Runs:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(canary: Path) -> dict[str, object]:
    """Objects that would make a file when they are loaded."""
    made = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": Runs(os.system, f"touch {canary}"),
        "eval": Runs(eval, f"__import__('builtins').{made}"),
        "exec": Runs(exec, made),
        "getattr": Runs(getattr, Runs(__import__, "os"), "getcwd"),
        "Path.touch": Runs(Path.touch, canary),
        "torch.load": Runs(torch.load, str(canary)),
        "NumPy": np.array([Runs(os.system, f"touch {canary}")], dtype=object),
        "in a state": {"state_dict": {"w": torch.zeros(2), "x": Runs(os.system, f"touch {canary}")}},
    }


def written(content: object, how: str) -> bytes:
    """A file with a pickle: as ``torch.save`` writes it, in its old form, a plain pickle, or an array of NumPy."""
    file = io.BytesIO()
    if how.startswith("torch"):
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    elif how == "npy":
        np.save(file, np.array([content, 1], dtype=object), allow_pickle=True)
    elif how == "npz":
        array = np.array([content, 1], dtype=object)
        np.savez(file, about=array, identities=array, values=array, allow_pickle=True)
    else:
        file.write(pickle.dumps(content, protocol=int(how)))
    return file.getvalue()


def places(folder: Path, content: bytes) -> dict[str, object]:
    """Each place where a file is loaded, with the file there."""

    def at(name: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    for name in ("config.json", "model.safetensors", HEAD):
        at(f"hub/{name}")
    at(f"run/{RESUME_FILE}")
    at("g/enrolled.npz"), at("g/reference.npz"), at("g/rows.arrow"), at("g/monitor.npz")
    return {
        "a checkpoint": lambda: load_network(at("c.pth.tar")),
        "an official checkpoint": lambda: load_network(at("model_best.pth"), arch="resnet50"),
        "weights of a trunk": lambda: read_weights(at("w.pth")),
        "safetensors": lambda: load_network(at("w.safetensors")),
        "weights in safetensors": lambda: read_weights(at("w.safetensors")),
        "a folder of the hub": lambda: load_network(folder / "hub"),
        "the state of a run": lambda: saved_epochs(folder / "run"),
        "identities of a gallery": lambda: (known_facts(folder / "g"), read_enrolled(folder / "g", "any")),
        "a reference of a gallery": lambda: read_reference(folder / "g", "x"),
        "an image": lambda: open_image(at("i.png")),
    }


WAYS = ["torch", "2", *(pytest.param(how, marks=pytest.mark.trust) for how in ("torch, old", "npy", "npz", "0", "4"))]


@pytest.mark.parametrize("how", WAYS)
def test_no_pickle_is_executed(tmp_path, how):
    canary, tried, wrong = tmp_path / "canary", 0, []
    for name, content in hostile(canary).items():
        folder = tmp_path / name
        for place, load in places(folder, written(content, how)).items():
            tried += 1
            try:
                load()
            except InputError:
                pass
            except Exception as error:
                wrong.append(f"{name} in {place}: {error!r}")
            if canary.exists():
                wrong.append(f"{name} in {place} was executed")
                canary.unlink()
        shutil.rmtree(folder)
    record(
        SECTION,
        f"pickles of 8 kinds ({how}) in 10 places: none is executed, an error of the file",
        tried,
        tried - len(wrong),
    )
    assert not wrong, "\n".join(wrong)


def test_the_canary_works(tmp_path):
    for name, content in hostile(tmp_path / "canary").items():
        if name not in ("getattr", "torch.load", "in a state"):
            pickle.loads(pickle.dumps(content))
            assert (tmp_path / "canary").exists(), name
            (tmp_path / "canary").unlink()


@pytest.mark.trust
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF"])
def test_an_image_that_unfolds(tmp_path, kind):
    """A file of less than 1 MB with 225 million pixels; WebP allows 16,383 in a side."""
    side = 15_000
    file = tmp_path / f"bomb.{kind.lower()}"
    image = Image.new("1" if kind != "WEBP" else "L", (side, side))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        if kind == "WEBP":
            # The head alone: writing the pixels takes a minute.
            file.write_bytes(
                b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2 + bytes(8)
            )
        else:
            image.save(file, compression="group4") if kind == "TIFF" else image.save(file)
    assert file.stat().st_size < 10**6
    with pytest.raises(UnreadableImageError) as error:
        open_image(file)
    held = "pixels" in str(error.value) or kind == "WEBP"
    record(SECTION, f"an image of 225 million pixels in less than 1 MB: {kind}", 1, int(held))
    assert held, str(error.value)


def test_an_archive_that_unfolds(tmp_path):
    file = tmp_path / "c.pth.tar"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data/0", "w") as member:
            for _ in range(400):
                member.write(bytes(10**6))
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    assert file.stat().st_size < 3 * 10**6
    for load in (load_network, read_weights):
        with input_error("wrong-file-kind", file, "unfolds to 0.4 GB"):
            load(file)
    file.rename(tmp_path / "enrolled.npz")
    assert read_enrolled(tmp_path, "any") is None
    header = b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError):
        read_weights(tmp_path / "w.safetensors")
    record(SECTION, "zip archives and safetensors that say more than they hold", 4, 4)


def test_values_of_a_checkpoint_that_cannot_be(tmp_path):
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    content = checkpoint_of(network, epoch=1, best_mean_ap=0.5, facts={})
    for name, values in {
        "epoch": (-1, 1.5, True, "x", None, 10**30, [1]),
        "best_mAP": (float("nan"), float("inf"), -0.1, 1.1, "x", None, [1]),
    }.items():
        for value in values:
            with input_error("damaged-file", "c.pth.tar", "epoch" if name == "epoch" else "mAP"):
                check_progress(content | {name: value}, Path("c.pth.tar"))
    save_atomically(content | {"epoch": -1}, tmp_path / "c.pth.tar")
    with input_error("damaged-file", "the epoch -1"):
        load_network(tmp_path / "c.pth.tar")


ESCAPES = ("\x1b[2J\x1b]0;owned\x07.png", "a\nerror: no [x].png", "b\r\x9b31m.png", "c\u202egpj.png", "\u2028d.png")


def test_names_cannot_act_on_the_terminal(tmp_path, capsys, monkeypatch):
    for name in ESCAPES:
        shown = printable_name(name)
        assert shown.isprintable() and "\\" in shown
        assert "\x1b" not in printable(name) and "\x9b" not in printable(name)
    assert printable("two\nlines\tof Zoë") == "two\nlines\tof Zoë"
    ConsoleReporter().say(ESCAPES[0])
    ConsoleReporter().warn(ESCAPES[2])
    monkeypatch.chdir(tmp_path)
    for name in ESCAPES:
        draw(tmp_path / "whole.png", 1, 1).rename(tmp_path / name)
        (tmp_path / name).write_bytes(b"no image")
        with pytest.raises(SystemExit):
            main(["compare", "none.pth.tar", name, name])
        with pytest.raises(SystemExit):
            main(["embed", name, name, "-o", "f.parquet"])
        with input_error("unreadable-image"):
            open_image(tmp_path / name)
    printed = "".join(capsys.readouterr())
    active = [mark for mark in ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2028") if mark in printed]
    lines = [line for line in printed.splitlines() if line.startswith("error: no [x]")]
    record(
        SECTION,
        "names with escape codes, line ends, marks of direction in messages",
        10,
        10 * (not active and not lines),
    )
    assert not active and not lines, repr(printed)


def test_a_long_name_is_not_printed_whole(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("path\n" + "a" * 100_000 + "\n")
    with pytest.raises(SystemExit):
        main(["embed", "none.pth.tar", "list.csv", "-o", "f.parquet"])
    assert len("".join(capsys.readouterr())) < 5000


def test_links_that_lead_out_are_copied_as_images_and_nothing_is_written_through_them(tmp_path):
    """The image of a link is copied; a link where a result is to be written is replaced, and its file is as it was."""
    secret = tmp_path / "mine.csv"
    secret.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/f.csv").symlink_to(secret)
    from spcl.atomic_files import written_aside

    with written_aside(tmp_path / "out/f.csv") as aside:
        aside.write_text("new")
    assert secret.read_text() == "mine" and not (tmp_path / "out/f.csv").is_symlink()
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "link.safetensors").dictionaries
