"""A folder of the hub: plain timm gives the encoder's features with it, neck included, and load_encoder the encoder."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from spcl.cli.main import main
from spcl.export.export_encoder import ExportRequest, export_encoder
from spcl.export.hub_folder import export_hub
from spcl.inference.checkpoint import add_facts, checkpoint_of, save_atomically
from spcl.inference.embedding import load_encoder
from spcl.inference.encode_options import EncoderChoice
from tests.export.test_weights import encoder_of
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"features": 16},
        {"last_stride": 1},
        {"arch": "timm/test_vit", "features": 8, "height": 160, "width": 160},
        {"arch": "resnet18", "last_stride": 2},
    ],
    ids=str,
)
def test_timm_and_load_encoder_give_the_features(tmp_path, settings):
    encoder = encoder_of(**settings)
    image = draw(tmp_path / "image.png", 3, size=(90, 50))
    written = export_hub(encoder, tmp_path / "mine")
    assert written.least_cosine > 0.99999
    expected = encoder.embed(image)
    model = timm.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        output = model(prepare(Image.open(image).convert("RGB")).unsqueeze(0))
    assert np.abs(torch.nn.functional.normalize(output, dim=1).numpy() - expected).max() < 1e-5
    again = load_encoder(tmp_path / "mine")
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.embed(image), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.png", "mine"]


def test_the_card_has_front_matter_and_code_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = encoder_of()
    draw(tmp_path / "image.jpg", 3, size=(50, 90))
    export_hub(encoder, "mine")
    text = (tmp_path / "mine/README.md").read_text()
    _, front, rest = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "timm"
    assert "/somewhere" not in text + (tmp_path / "mine/config.json").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", rest, flags=re.DOTALL)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert np.abs(names["features"].numpy() - encoder.embed("image.jpg")).max() < 1e-5
    config = json.loads((tmp_path / "mine/config.json").read_text())
    assert config["spcl"]["fingerprint"] == encoder.fingerprint


@pytest.mark.parametrize(
    "settings", [{"pooling": "gem"}, {"arch": "resnet18"}, {"arch": "timm/test_convnext"}], ids=str
)
def test_what_timm_cannot_hold_is_refused(tmp_path, settings):
    with input_error("hub-not-possible"):
        export_hub(encoder_of(**settings), tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_facts_are_added_to_a_folder(tmp_path):
    encoder = encoder_of()
    export_hub(encoder, tmp_path / "mine")
    add_facts(tmp_path / "mine", {"note": "kept"})
    again = load_encoder(tmp_path / "mine")
    assert again.facts["note"] == "kept"
    assert again.fingerprint == encoder.fingerprint
    with input_error("cannot-write"):
        add_facts("hf-hub:someone/mine", {"note": "kept"})


def test_other_folders_are_not_replaced(tmp_path):
    encoder = encoder_of()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    for overwrite in (False, True):
        with input_error("already-exists"):
            export_hub(encoder, tmp_path / "other", overwrite=overwrite)
    with input_error("not-a-folder"):
        export_hub(encoder, tmp_path / "other/notes.txt")
    export_hub(encoder, tmp_path / "mine")
    with input_error("already-exists", "--overwrite"):
        export_hub(encoder, tmp_path / "mine")
    export_hub(encoder, tmp_path / "mine", overwrite=True)
    (tmp_path / "mine/model.safetensors").unlink()
    with input_error("damaged-file", "model.safetensors"):
        load_encoder(tmp_path / "mine")


def test_upload_and_download(tmp_path, monkeypatch):
    """The hub is a folder here: what is uploaded is what is downloaded."""
    import huggingface_hub

    seen = {}

    class Api:
        def create_repo(self, repository, exist_ok):
            return f"https://hub.example/{repository}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            seen[repo_id] = folder_path

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, revision, allow_patterns: str(seen[name]))
    encoder = encoder_of()
    written = export_hub(encoder, tmp_path / "mine", push="someone/mine")
    assert load_encoder("hf-hub:someone/mine").origin.checkpoint == "hf-hub:someone/mine"
    assert written.pushed.endswith("someone/mine")
    assert load_encoder("hf-hub:someone/mine").fingerprint == encoder.fingerprint

    def fails(*arguments, **options):
        raise OSError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with input_error("download-failed", "hf-hub:someone/mine", "no connection"):
        load_encoder("hf-hub:someone/mine")
    monkeypatch.setattr(Api, "upload_folder", fails)
    with input_error("upload-failed", "no connection"):
        export_hub(encoder, tmp_path / "mine", overwrite=True, push="someone/mine")
    assert load_encoder(tmp_path / "mine").fingerprint == encoder.fingerprint


def test_the_request(tmp_path):
    choice = EncoderChoice(checkpoint="c.pth.tar")
    with input_error("option-does-not-apply", "--float16"):
        ExportRequest(tmp_path / "mine", choice, hub=True, float16=True)
    with input_error("option-does-not-apply", "--hub"):
        ExportRequest(tmp_path / "mine.onnx", choice, push="someone/mine")
    with input_error("invalid-name", "OWNER/NAME"):
        ExportRequest(tmp_path / "mine", choice, hub=True, push="mine")
    with input_error("no-such-checkpoint"):
        export_encoder(ExportRequest(tmp_path / "mine", choice, hub=True))


def test_the_command(tmp_path, monkeypatch, capsys):
    """The folder serves every command as a checkpoint, before the other words or after --encoder."""
    monkeypatch.chdir(tmp_path)
    encoder = encoder_of()
    save_atomically(checkpoint_of(encoder.network, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    for number in range(3):
        draw(tmp_path / f"crops/{number}.png", number)
    main(["export", "c.pth.tar", "--hub", "mine"])
    assert "smallest cosine" in capsys.readouterr().out
    for words in (["embed", "mine", "crops"], ["embed", "crops", "--encoder", "mine"]):
        main([*words, "-o", "f.npy", "--overwrite"])
        assert np.array_equal(np.load("f.npy"), encoder.embed("crops"))
    with pytest.raises(SystemExit, match="2"):
        main(["export", "c.pth.tar", "e.onnx", "--hub", "other"])
    assert "option-contradiction" in capsys.readouterr().err
