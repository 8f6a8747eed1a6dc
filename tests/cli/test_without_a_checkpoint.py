"""Commands without a checkpoint: ImageNet weights or others, and galleries and calibrations that remember them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import timm
import torch

from spcl.cli.encoder_flags import names_checkpoint
from spcl.cli.main import main
from spcl.gallery.gallery import Gallery
from spcl.gallery.gallery_encoder import remembered_encoder
from spcl.inference import encoder_choice
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.inference.embedding import imagenet_encoder, load_encoder
from spcl.nn import imagenet_weights
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.input_errors import input_error

FAST = ["--device", "cpu", "--workers", "2"]
OTHERS = ["--arch", "timm/test_resnet", "--pretrained", "w.pth"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for identity in range(8):
        for shot in range(4):
            draw(root / f"crops/{identity:02d}/{identity:02d}_{shot}.png", identity, shot, size=(32, 64))
    torch.manual_seed(3)
    torch.save({"model": timm.create_model("test_resnet", num_classes=4).state_dict()}, root / "w.pth")
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(network, epoch=1, best_mean_ap=None, facts={}), root / "c.pth.tar")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(["embed", "crops", "--gallery", "g", "-o", "f.parquet", "--identity-from", "folder", *OTHERS, *FAST])
        main(["embed", "c.pth.tar", "crops", "--gallery", "of-c", "-o", "of-c.parquet", *FAST])
    return root


@pytest.fixture
def folder(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    capsys.readouterr()
    return made


def answered(*words, capsys):
    main([*words, "--json", *FAST])
    return json.loads(capsys.readouterr().out)


QUERY = "crops/00/00_0.png"


@pytest.mark.parametrize("source", ["g", "f.parquet", "of-c", "of-c.parquet"])
def test_a_search_takes_the_encoder_that_its_source_remembers(folder, capsys, source):
    plain = answered("search", source, QUERY, "--top", "3", capsys=capsys)
    given = ["--encoder", "c.pth.tar"] if source.startswith("of-c") else OTHERS
    assert answered("search", source, QUERY, "--top", "3", *given, capsys=capsys) == plain
    if source.startswith("of-c"):
        assert answered("search", "c.pth.tar", source, QUERY, "--top", "3", capsys=capsys) == plain
    main(["search", source, QUERY, *FAST])
    assert f"encoder: {remembered_encoder(source).origin}, as the " in capsys.readouterr().out


def test_identify_and_embed_take_it_too(folder, capsys, tmp_path):
    named = answered("identify", "g", QUERY, "crops/01/01_1.png", "--false-match-rate", "0.1", capsys=capsys)
    assert named["num_identities"] == 8
    added = answered("embed", "crops/00", "--gallery", "g", capsys=capsys)
    assert added["fingerprint"] == Gallery.open("g").fingerprint
    refusal = refused(
        ["embed", "crops/00", "--gallery", "g", "--arch", "timm/test_resnet", "--pretrained", "none"], capsys
    )
    assert "[encoder-mismatch]" in refusal
    assert f"timm/test_resnet, the weights {folder / 'w.pth'}, images of 128 x 64" in refusal


def test_images_are_searched_in_with_weights_of_others(folder, capsys):
    found = answered("search", "crops", QUERY, "--top", "2", "--identity-from", "folder", *OTHERS, capsys=capsys)
    assert found == answered("search", "g", QUERY, "--top", "2", capsys=capsys)
    main(["search", "crops", QUERY, *OTHERS, *FAST])
    printed = capsys.readouterr().out
    assert "encoder: timm/test_resnet, weights w.pth (" in printed
    assert "not used: fc.weight, fc.bias); tall crops (median height x width of" in printed


@pytest.mark.slow
def test_calibrate_compare_and_identify_by_a_file(folder, capsys, tmp_path):
    words = ["calibrate", "crops", "--labels", *OTHERS, *FAST]
    refusal = refused(words, capsys)
    assert "give -o calibration.json" in refusal
    assert "[missing-argument]" in refusal
    file = str(tmp_path / "cal.json")
    main([*words, "-o", file])
    assert f"stored in {file}\n" in capsys.readouterr().out
    pair = [QUERY, "crops/00/00_1.png"]
    main(["compare", *pair, "--calibration", file, "--device", "cpu"])
    printed = capsys.readouterr().out
    assert f"as the calibration {file} has it" in printed
    assert "verdict      " in printed
    # Without the file nothing is known, and the next step is for such an encoder.
    main(["compare", *pair, *OTHERS, "--device", "cpu"])
    assert "spcl calibrate IMAGES -o calibration.json" in capsys.readouterr().out
    assert "[encoder-mismatch]" in refused(["compare", "c.pth.tar", *pair, "--calibration", file], capsys)
    main(["embed", "crops/00", "--gallery", str(tmp_path / "one"), "--identity-from", "folder", *OTHERS, *FAST])
    capsys.readouterr()
    few = ["identify", str(tmp_path / "one"), QUERY]
    assert "identit" in refused(few, capsys)
    assert answered(*few, "--calibration", file, capsys=capsys)["basis"] != "gallery"
    assert "is not a calibration" in refused(["compare", *pair, "--calibration", "w.pth"], capsys)
    assert "there is no calibration no.json" in refused(["compare", *pair, "--calibration", "no.json"], capsys)


def test_evaluate_and_export(folder, capsys, tmp_path):
    row = answered("evaluate", "crops", *OTHERS, capsys=capsys)
    assert 0 < row["mAP"] <= 1
    out = str(tmp_path / "e.safetensors")
    assert "[no-encoder]" in refused(["export", "e.onnx"], capsys)
    # The only word is the file to write, though checkpoints may be called so.
    main(["export", out, "--images", "crops", *OTHERS])
    assert load_encoder(out).fingerprint == Gallery.open("g").fingerprint


def test_the_encoder_has_one_place(folder, capsys):
    for words, message in (
        (["embed", "c.pth.tar", "crops", "--encoder", "imagenet", "-o", "x.npy"], "[option-contradiction]"),
        (["search", "c.pth.tar", "g", QUERY, "--encoder", "other.pth"], "[option-contradiction]"),
        (
            ["cluster", "crops", "-o", "x", "--checkpoint", "c.pth.tar", "--encoder", "imagenet"],
            "[option-contradiction]",
        ),
        (["embed", "c.pth.tar", "crops", "--pretrained", "w.pth", "-o", "x.npy"], "[option-contradiction]"),
        (["embed", "--encoder", "c.pth.tar", "crops", "--pretrained", "none", "-o", "x.npy"], "[option-contradiction]"),
        (
            ["embed", "c.pth.tar", "-o", "x.npy"],
            "[missing-argument]",
        ),
        (["embed", "-o", "x.npy"], "[missing-argument]"),
        (["compare", "c.pth.tar", QUERY], "second is missing"),
        (["search", "c.pth.tar", "g"], "the images to be searched for are missing"),
        (["embed", "crops/00", "crops", "-o", "x.npy"], "[not-a-checkpoint]"),
        (["embed", "no.pth.tar", "crops", "-o", "x.npy"], "there is no checkpoint no.pth.tar"),
        (["embed", "--checkpoint", "no.pth.tar", "crops", "-o", "x.npy"], "there is no checkpoint no.pth.tar"),
        (
            ["compare", "--checkpoint=c.pth.tar", "--encoder", "imagenet", QUERY, QUERY],
            "[option-contradiction]",
        ),
        (["compare", "--encoder", "none", QUERY, QUERY], "there is no checkpoint none"),
        (
            ["compare", "--encoder", "timm/test_resnet", "--pretrained", "none", QUERY, QUERY],
            "--arch timm/test_resnet",
        ),
        (["embed", "crops", "--domain", "source", "-o", "x.npy"], "--domain source is for a checkpoint"),
        (["embed", "w.pth", "crops", "-o", "x.npy"], "give it to --pretrained, with --arch"),
        (["embed", "", "crops", "-o", "x.npy"], "[missing-argument]"),
    ):
        assert message in refused(words, capsys), words


def test_other_spellings_of_the_encoder(folder, capsys):
    def similarity(*words):
        main(["compare", *words, QUERY, "crops/01/01_0.png", "--json", "--device", "cpu"])
        return json.loads(capsys.readouterr().out)["similarity"]

    right = similarity("c.pth.tar")
    for words in (["--checkpoint", "c.pth.tar"], ["--checkpoint=c.pth.tar"], ["--encoder", "c.pth.tar"]):
        assert similarity(*words) == right
    assert similarity("--encoder", "ImageNet", *OTHERS) == similarity("--encoder", "imagenet", *OTHERS)


def test_what_is_not_remembered_or_has_changed_is_said(folder, capsys, tmp_path):
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    path = tmp_path / "mine.pth.tar"
    save_atomically(checkpoint_of(network, epoch=1, best_mean_ap=None, facts={}), path)
    Gallery.create(tmp_path / "g", load_encoder(path)).add("crops/00")
    torch.manual_seed(8)
    other = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(other, epoch=1, best_mean_ap=None, facts={}), path)
    assert "[encoder-mismatch]" in refused(["search", str(tmp_path / "g"), QUERY], capsys)
    path.unlink()
    refusal = refused(["search", str(tmp_path / "g"), QUERY], capsys)
    assert str(path) in refusal and "[no-such-checkpoint]" in refusal
    Gallery.create(tmp_path / "old", fingerprint="x", dim=8)
    assert "[encoder-unknown]" in refused(["search", str(tmp_path / "old"), QUERY], capsys)


def test_without_weights_the_extra_is_named(folder, capsys, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(imagenet_weights, "_packaged", lambda arch: None)
    monkeypatch.setattr(imagenet_weights, "is_reachable", lambda url: True)
    monkeypatch.setattr(timm, "create_model", unreachable)
    for words in (["compare", QUERY, QUERY], ["embed", "crops", "-o", "x.npy", "--encoder", "imagenet"]):
        assert 'pip install "spcl[demo]"' in refused(words, capsys)


def test_the_size_follows_the_images_as_in_cluster(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(encoder_choice, "SMALL_IMAGENET_ARCH", "timm/test_resnet")
    for number in range(4):
        draw(tmp_path / f"wide/{number}.png", number, size=(90, 60))
    for images, size in (("crops", (128, 64)), (str(tmp_path / "wide"), (112, 112))):
        done = answered(
            "embed", images, "-o", str(tmp_path / "x.parquet"), "--overwrite", "--pretrained", "none", capsys=capsys
        )
        assert done["fingerprint"] == imagenet_encoder("timm/test_resnet", pretrained="none", size=size).fingerprint
    assert len(pd.read_parquet(tmp_path / "x.parquet")) == 4


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("no.pth.tar", None, True),
        ("runs/no.safetensors", None, True),
        ("checkpoint", b"PK\x03\x04" + bytes(30), True),
        ("old", b"\x80\x02}" + bytes(30), True),
        ("image", b"\xff\xd8\xff" + bytes(30), False),
        ("table.csv", b"path\n", False),
        ("table.xlsx", b"PK\x03\x04" + bytes(30), False),
        ("features.parquet", b"PAR1", False),
        ("market1501", None, False),
        ("run/checkpoint.pth.tar", b"x", True),
    ],
)
def test_what_a_checkpoint_is_called(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert names_checkpoint(str(path)) == expected
    if name.startswith("run/"):
        assert names_checkpoint(str(path.parent))


def test_an_origin_of_another_version_is_an_error():
    from spcl.inference.encoder_origin import EncoderOrigin

    assert EncoderOrigin.of_facts({}) is None
    with input_error("version-not-supported", "colour"):
        EncoderOrigin.of_facts({"encoder": {"colour": "red"}})
