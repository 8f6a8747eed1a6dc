"""``spcl export``: the ending decides, flags that do not fit are refused, and nothing is replaced unasked."""

from __future__ import annotations

import json

import pytest

from spcl import EncoderChoice, ExportRequest, export_encoder
from spcl.cli.export import Export
from spcl.cli.main import main
from spcl.cli.options import parsed
from spcl.data.source_options import SourceOptions
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.inference.embedding import load_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = EncoderNetwork(
        EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=("source", "target"))
    ).eval()
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    return "c.pth.tar"


def test_columns_of_a_table_of_images_are_renamed():
    given = ["c.pth.tar", "a.onnx", "--images", "t.csv", "--columns", "path=file", "--time-format", "%Y"]
    assert parsed(Export, given, "spcl export").source() == SourceOptions(columns="path=file", time_format="%Y")


def test_onnx_and_what_is_told(checkpoint, tmp_path, capsys):
    for number in range(12):
        draw(tmp_path / "crops" / f"{number}.png", number)
    (tmp_path / "crops" / "broken.png").write_bytes(b"")
    main(["export", checkpoint, "a.onnx", "--images", "crops", "--opset", "17"])
    printed = capsys.readouterr().out
    assert "input images: float32 [batch, 3, 32, 16], RGB, pixels from 0 to 255" in printed
    assert "agrees with torch on 12 images in batches of 1, 2, 7 and 16: smallest cosine" in printed
    assert "warning: crops/broken.png is left out of the comparison: the file is empty" in printed
    main(
        ["export", checkpoint, "b.onnx", "--json", "--domain", "source", "--for-tracker", "--float16", "--opset", "17"]
    )
    row = json.loads(capsys.readouterr().out)
    assert row["fingerprint"] == load_encoder(checkpoint, domain="source").fingerprint
    assert row["num_images"] == 32
    assert 0.999 < row["least_cosine"] <= 1.000001
    assert "own_preparation" in row
    choice = EncoderChoice(checkpoint=checkpoint, domain="source")
    request = ExportRequest("b.onnx", choice, opset=17, float16=True, for_tracker=True, overwrite=True)
    written = export_encoder(request)
    assert capsys.readouterr() == ("", "")
    assert written.to_dict().keys() == row.keys()
    assert {name: row[name] for name in ("path", "fingerprint", "least_cosine")} == {
        "path": str(written.path),
        "fingerprint": written.fingerprint,
        "least_cosine": written.onnx.agreement.least_cosine,
    }


def test_weights_serve_as_a_checkpoint(checkpoint, tmp_path, capsys):
    main(["export", checkpoint, "out/encoder.safetensors"])
    printed = capsys.readouterr().out
    assert "weights: out/encoder.safetensors (" in printed
    assert "model card: out/encoder.md" in printed
    main(["export", "out/encoder.safetensors", "out/again.safetensors", "--json"])
    row = json.loads(capsys.readouterr().out)
    assert row["fingerprint"] == load_encoder(checkpoint).fingerprint
    main(["export", "out/encoder.safetensors", "out/again.onnx", "--opset", "17"])
    assert (tmp_path / "out/again.onnx").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c.pth.tar", "a.pt"], "a.pt ends in .pt; expected .onnx or .safetensors"),
        (["c.pth.tar", "a"], "a ends in nothing; expected .onnx or .safetensors"),
        (["c.pth.tar", "a.safetensors", "--float16", "--opset", "17"], "--float16, --opset is for .onnx files"),
        (["c.pth.tar", "a.onnx", "--domain", "moon"], "[bad-value]"),
        (["c.pth.tar", "a.onnx", "--images", "nowhere"], "there are no images at nowhere"),
        (["c.pth.tar", "there.onnx"], "there.onnx exists already"),
        (["c.pth.tar", "notes.txt/a.onnx"], "cannot write notes.txt/a.onnx"),
        (["no.pth.tar", "a.onnx"], "there is no checkpoint no.pth.tar; in . there are c.pth.tar"),
        (["notes.txt", "a.onnx"], "notes.txt cannot be read as a checkpoint"),
        (["there.onnx", "a.onnx"], "there.onnx cannot be read as a checkpoint"),
    ],
)
def test_refusals(checkpoint, tmp_path, capsys, words, message):
    (tmp_path / "there.onnx").write_text("onnx")
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(SystemExit) as stopped:
        main(["export", *words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "a.onnx").exists()


def test_weights_that_a_killed_export_left_without_their_card_are_completed(checkpoint, tmp_path, capsys):
    main(["export", checkpoint, "e.safetensors"])
    (tmp_path / "e.md").unlink()
    main(["export", checkpoint, "e.safetensors"])
    assert (tmp_path / "e.md").is_file()
    with pytest.raises(SystemExit):
        main(["export", checkpoint, "e.safetensors"])
    assert "e.safetensors exists already" in capsys.readouterr().err
    (tmp_path / "e.md").unlink()
    another = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval()
    save_atomically(checkpoint_of(another, epoch=1, best_mean_ap=None, facts={}), tmp_path / "other.pth.tar")
    with pytest.raises(SystemExit):
        main(["export", "other.pth.tar", "e.safetensors"])
    assert "e.safetensors exists already" in capsys.readouterr().err
