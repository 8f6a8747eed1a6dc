"""``spcl embed`` and ``spcl search``: from a checkpoint and images to what is similar."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from spcl import (
    EmbeddingRequest,
    EncodeOptions,
    EncoderChoice,
    Gallery,
    SearchRequest,
    embed_images,
    load_encoder,
    search_images,
)
from spcl.cli.main import main
from spcl.errors import InputError
from spcl.gallery.features_file import FeaturesFile
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.cli.test_commands import refused
from tests.fakes import draw, write_fake


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Crops of 4 objects by 5 cameras, one broken; tables; two checkpoints; a gallery and a features file of some."""
    root = tmp_path_factory.mktemp("made")
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
        save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), root / f"{seed}.pth.tar")
    for number in range(20):
        draw(root / "crops" / f"{number // 5:04d}_c{number % 5 + 2}_{number}.jpg", number // 5, number)
    (root / "crops" / "broken_c3.jpg").write_bytes(b"x")
    files = sorted(path.name for path in (root / "crops").glob("0*.jpg"))
    table = pd.DataFrame({"path": [f"crops/{name}" for name in files]})
    table.to_csv(root / "all.csv", index=False)
    table = table[:10].assign(identity=["ann"] * 5 + ["0042"] * 5, camera=["north gate", "3"] * 5, lane=range(10))
    table.assign(time=[f"2026-01-01 {hour:02d}:00" for hour in range(10)]).to_csv(root / "some.csv", index=False)
    for name, column, value in (("text.csv", "lane", "left"), ("late.csv", "time", "noon")):
        pd.DataFrame({"path": ["crops/0001_c2_5.jpg"], column: [value]}).to_csv(root / name, index=False)
    (root / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(["embed", "0.pth.tar", "some.csv", "--gallery", "g", "-o", "g.parquet"])
    return root


@pytest.fixture
def folder(made, tmp_path, monkeypatch, capsys):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # A gallery holds absolute paths: that of the copied images.
    shutil.rmtree("g")
    file = FeaturesFile(tmp_path / "g.parquet")
    gallery = Gallery.create("g", fingerprint=file.facts["fingerprint"], dim=file.dim)
    for table, features in file.parts():
        paths = [str(tmp_path / "crops" / path.rpartition("/")[2]) for path in table.column("path").to_pylist()]
        gallery.add_table(table.set_column(0, "path", pa.array(paths)), features)
    capsys.readouterr()
    return tmp_path


def searched(*words, capsys):
    main(["search", "0.pth.tar", *words, "--json", "--device", "cpu"])
    return json.loads(capsys.readouterr().out)


def test_a_features_file(folder, capsys):
    main(["embed", "0.pth.tar", "crops", "-o", "f.parquet"])
    printed = capsys.readouterr().out
    assert "warning: crops/broken_c3.jpg is left out: it is not an image" in printed
    encoder = load_encoder("0.pth.tar")
    assert f"20 images, features of length {encoder.feature_dim}, encoder {encoder.fingerprint}" in printed
    frame = pd.read_parquet("f.parquet")
    paths = sorted((folder / "crops").glob("0*.jpg"))
    assert frame["path"].tolist() == [str(path) for path in paths]
    assert frame["camera"].tolist() == ["2", "3", "4", "5", "6"] * 4
    assert np.allclose(np.stack(frame["vector"]), encoder.embed(paths), atol=1e-5)
    assert "f.parquet exists already" in refused(["embed", "0.pth.tar", "crops", "-o", "f.parquet"], capsys)
    main(["embed", "0.pth.tar", "some.csv", "-o", "f.parquet", "--overwrite", "--flip", "--json"])
    done = json.loads(capsys.readouterr().out)
    assert (done["num_images"], done["broken"], done["output"]) == (10, [], "f.parquet")
    frame = pd.read_parquet("f.parquet")
    assert frame["identity"].tolist() == ["ann"] * 5 + ["0042"] * 5
    assert frame["lane"].tolist() == list(range(10))
    mirrored = encoder.embed([Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT) for path in paths[:10]])
    both = encoder.embed(paths[:10]) + mirrored
    assert np.allclose(np.stack(frame["vector"]), both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-4)


def test_a_matrix(folder, capsys):
    main(["embed", "0.pth.tar", "crops", "-o", "out/f.npy"])
    assert "features: out/f.npy, paths: out/f.paths.txt" in capsys.readouterr().out
    assert np.load("out/f.npy").shape[0] == len((folder / "out/f.paths.txt").read_text().splitlines()) == 20


def test_a_gallery_is_made_filled_and_searched(folder, capsys):
    main(["embed", "0.pth.tar", "some.csv", "--gallery", "new/g"])
    assert "gallery: new/g, 10 added, 0 replaced, 10 in all, exact search" in capsys.readouterr().out
    main(["embed", "0.pth.tar", "crops", "--gallery", "g", "--json"])
    done = json.loads(capsys.readouterr().out)
    assert done["gallery"] == {
        "path": "g", "added": 10, "replaced": 10, "kept": {"identity": 10, "time": 10, "lane": 10}, "num_images": 20,
        "recall": None,
    }  # fmt: skip
    assert [image["path"] for image in done["broken"]] == [str(folder / "crops/broken_c3.jpg")]
    main(["embed", "0.pth.tar", "some.csv", "--gallery", "g"])
    capsys.readouterr()
    gallery = Gallery.open("g", load_encoder("0.pth.tar"))
    query = "crops/0001_c2_5.jpg"
    expected = [hit.path for hit in gallery.search(query, k=5)[0]]
    assert expected[0] == str(folder / query)
    found = searched("g", query, "--top", "4", capsys=capsys)
    assert [hit["path"] for hit in found["queries"][0]["hits"]] == expected[1:]
    # As the table calls it, not as training numbers it; the table's rows came last.
    hits = searched("g", query, "--top", "20", "--camera-not", "3", "north gate", capsys=capsys)["queries"][0]["hits"]
    assert [hit["camera"] for hit in hits].count("3") == 0
    assert len(hits) == 10 - 2
    hits = searched("g", query, "--top", "20", "--where", "time >= '2026-01-01 07:00' and lane < 9", capsys=capsys)[
        "queries"
    ][0]["hits"]
    assert sorted(hit["time"] for hit in hits) == ["2026-01-01 07:00:00", "2026-01-01 08:00:00"]
    assert {hit["identity"] for hit in hits} == {"0042"}


@pytest.mark.parametrize("source", ["new", "f.parquet", "crops", "all.csv"])
def test_every_kind_of_gallery_gives_the_same(folder, capsys, source):
    if source in ("new", "f.parquet"):
        main(["embed", "0.pth.tar", "crops", "--gallery" if source == "new" else "-o", source])
        capsys.readouterr()
    names = sorted(path.name for path in (folder / "crops").glob("0*.jpg"))
    queries = ["crops/0001_c2_5.jpg", "crops/0002_c2_10.jpg"]
    found = searched(source, *queries, "--top", "3", "--where", "path like '%_c6_%'", capsys=capsys)
    assert found["num_images"] == 20
    assert [entry["query"] for entry in found["queries"]] == [str(folder / query) for query in queries]
    encoder = load_encoder("0.pth.tar")
    gallery = [name for name in names if "_c6_" in name]
    similarity = encoder.embed(queries) @ encoder.embed([folder / "crops" / name for name in gallery]).T
    for row, entry in zip(similarity, found["queries"], strict=True):
        order = np.argsort(-row)[:3]
        assert [hit["path"] for hit in entry["hits"]] == [str(folder / "crops" / gallery[place]) for place in order]
        assert [hit["similarity"] for hit in entry["hits"]] == pytest.approx(row[order].tolist(), abs=1e-4)


def test_the_table_and_the_picture(folder, capsys):
    words = ["search", "0.pth.tar", "crops", "crops/0001_c2_5.jpg", "--top", "3"]
    main([*words, "--rerank", "--save-picture", "out/ranked.png"])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("query crops/0001_c2_5.jpg")
    assert lines[start + 1].split() == ["similarity", "distance", "camera", "identity", "path"]
    assert [line.split()[0] for line in lines[start + 2 : start + 5]] == ["1", "2", "3"]
    assert lines[-2:] == ["searched in 20 images, every image compared", "picture: out/ranked.png"]
    with Image.open("out/ranked.png") as picture:
        assert picture.width > picture.height
    main([*words, "--where", "camera = 99"])
    assert "no image passes the filter" in capsys.readouterr().out
    (folder / "one").mkdir()
    shutil.copy("crops/0001_c2_5.jpg", "one")
    main(["search", "0.pth.tar", "one", "one/0001_c2_5.jpg"])
    printed = capsys.readouterr().out
    assert "no other image is in the gallery" in printed
    assert "filter" not in printed


def test_identities_of_folders(folder, capsys):
    for number in range(6):
        draw(folder / "herd" / ("ann", "ben")[number % 2] / f"{number}.jpg", number % 2, number)
    main(["embed", "0.pth.tar", "herd", "--gallery", "h", "--identity-from", "folder"])
    capsys.readouterr()
    hits = searched("h", "herd/ann/0.jpg", "--top", "9", capsys=capsys)["queries"][0]["hits"]
    assert all(hit["identity"] == hit["path"].split("/")[-2] for hit in hits)
    assert len(hits) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed", "0.pth.tar", "crops"], "[missing-argument]"),
        (["embed", "0.pth.tar", "crops", "-o", "f.npy", "--key", "content"], "[option-does-not-apply]"),
        (["embed", "0.pth.tar", "crops", "--gallery", "g", "--overwrite"], "[option-does-not-apply]"),
        (["embed", "0.pth.tar", "crops", "-o", "f.txt"], "ends in .parquet or .npy"),
        (["embed", "0.pth.tar", "nowhere", "-o", "f.npy"], "there are no images at nowhere"),
        (["embed", "2.pth.tar", "crops", "-o", "f.npy"], "[no-such-checkpoint]"),
        (["embed", "0.pth.tar", "crops/broken_c3.jpg", "-o", "f.npy"], "[no-readable-images]"),
        (["embed", "0.pth.tar", "crops/broken_c3.jpg", "--gallery", "new/g"], "[no-readable-images]"),
        (["embed", "0.pth.tar", "crops", "--gallery", "g", "--key", "content"], "[key-mismatch]"),
        (["search", "0.pth.tar", "g", "crops", "-o", "x.txt"], "[wrong-file-kind]"),
        (["identify", "0.pth.tar", "g", "crops", "-o", "some.csv"], "[already-exists]"),
        (["identify", "0.pth.tar", "g", "crops", "-o", "x.parquet", "--excel"], "[wrong-file-kind]"),
        (["search", "0.pth.tar", "g", "crops", "--overwrite"], "[option-does-not-apply]"),
        (["embed", "0.pth.tar", "crops", "--gallery", "crops"], "[folder-not-empty]"),
        (["embed", "1.pth.tar", "crops", "--gallery", "g"], "[encoder-mismatch]"),
        (["embed", "0.pth.tar", "text.csv", "--gallery", "g"], "[column-type-mismatch]"),
        (["embed", "0.pth.tar", "late.csv", "--gallery", "g"], "'time' holds 'noon' in line 2"),
        (["search", "1.pth.tar", "g", "crops"], "[encoder-mismatch]"),
        (["search", "1.pth.tar", "g.parquet", "crops"], "[encoder-mismatch]"),
        (["search", "0.pth.tar", "g"], "[no-images]"),
        (["search", "0.pth.tar", "nowhere", "crops"], "there are no images at nowhere"),
        (["search", "0.pth.tar", "empty", "crops"], "neither a gallery nor an image in empty"),
        (["search", "0.pth.tar", "matrix.npy", "crops"], "-o matrix.parquet writes"),
        (["search", "0.pth.tar", "g", "nope.jpg"], "there are no images at nope.jpg"),
        (["search", "0.pth.tar", "g", "crops", "--top", "0"], "--top is 0"),
        (["search", "0.pth.tar", "g", "crops", "--where", "camra = 3"], "the columns are path (text), identity"),
        (["search", "0.pth.tar", "crops", "crops", "--where", "camra = 3"], "the columns are path (text), identity"),
        (["search", "0.pth.tar", "g", "crops", "--save-picture", "x.jpg"], "[wrong-file-kind]"),
    ],
)
def test_refusals(folder, capsys, words, message):
    np.save("matrix.npy", np.zeros((1, 2)))
    before = sorted(path.name for path in folder.iterdir())
    assert message in refused(words, capsys)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_mirror_images_are_averaged_everywhere_or_nowhere(folder, capsys):
    main(["embed", "0.pth.tar", "some.csv", "--gallery", "both", "-o", "both.parquet", "--flip"])
    capsys.readouterr()
    query = "crops/0001_c2_5.jpg"
    for source in ("both", "both.parquet"):
        assert "Add --flip" in refused(["search", "0.pth.tar", source, query], capsys)
        (found,) = searched(source, query, "--flip", "--top", "3", capsys=capsys)["queries"]
        assert len(found["hits"]) == 3
    for source in ("g", "g.parquet"):
        assert "Leave out --flip" in refused(["search", "0.pth.tar", source, query, "--flip"], capsys)
    assert "Leave out --flip" in refused(["identify", "0.pth.tar", "g", query, "--flip"], capsys)
    assert "Add --flip" in refused(["embed", "0.pth.tar", "some.csv", "--gallery", "both"], capsys)
    encoder = load_encoder("0.pth.tar")
    gallery = Gallery.open("both", encoder)
    # The image itself, at a similarity of 1: the query is mirrored, too.
    assert gallery.search(query, k=1)[0][0].similarity == pytest.approx(1, abs=1e-5)
    assert gallery.add([query]).num_replaced == 1
    assert gallery.search(query, k=1)[0][0].similarity == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match=r"Add --flip \(flip=True\)"):
        gallery.add([query], flip=False)
    mirrored = np.stack([np.asarray(Image.open(query)), np.asarray(Image.open(query))[:, ::-1]])
    assert np.allclose(*encoder.embed(list(mirrored), flip=True), atol=1e-6)


def test_an_unknown_camera_is_told(folder, capsys):
    words = ["search", "0.pth.tar", "g", "crops/0001_c2_5.jpg", "--camera-not", "3", "northgate"]
    main(words)
    printed = capsys.readouterr().out
    assert "warning: --camera-not northgate: no image of the gallery is of such a camera" in printed
    assert "its cameras are 3, north gate" in printed
    main([*words, "--json"])
    assert "--camera-not northgate" in json.loads(capsys.readouterr().out)["warnings"][0]
    main(words[:-1])
    assert "warning" not in capsys.readouterr().out


def test_queries_come_from_the_data_folder_that_is_given(folder, capsys):
    write_fake("market1501", folder / "elsewhere")
    found = searched("g", "market1501", "--data-dir", "elsewhere", "--top", "1", capsys=capsys)
    assert all("/elsewhere/market1501/" in entry["query"] for entry in found["queries"])
    main(["identify", "0.pth.tar", "g", "market1501", "--data-dir", "elsewhere", "--json", "--device", "cpu"])
    assert len(json.loads(capsys.readouterr().out)["queries"]) == len(found["queries"])


def test_everything_is_checked_before_images_are_embedded(folder, capsys, monkeypatch):
    def embedded(*_, **__):
        raise AssertionError("images are embedded")

    for place in (
        "spcl.inference.embedding.embed_records",
        "spcl.inference.embedding.embed_parts",
    ):
        monkeypatch.setattr(place, embedded)
    query = "crops/0001_c2_5.jpg"
    for words, message in [
        (["search", "1.pth.tar", "g", query], "[encoder-mismatch]"),
        (["search", "0.pth.tar", "g", query, "--where", "lorry = 2"], "the filter 'lorry = 2' cannot be used"),
        (["search", "0.pth.tar", "g.parquet", query, "--where", "lorry = 2"], "the filter 'lorry = 2' cannot be used"),
        (["search", "0.pth.tar", "g", query, "--save-picture", "g.png/x.png"], "g.png is a file, not a folder"),
        (["search", "0.pth.tar", "g", query, "--save-picture", "x.png"], "x.png is a folder"),
        (["search", "0.pth.tar", "g", query, "--workers", "-1"], "--workers is -1"),
        (["identify", "0.pth.tar", "crops", query], "no image of the gallery has an identity"),
        (["identify", "0.pth.tar", "g", query, "--false-match-rate", "2"], "the false-match rate is 2"),
        (["identify", "0.pth.tar", "g", query, "--workers", "-1"], "--workers is -1"),
        (["embed", "0.pth.tar", "crops", "--gallery", "never", "--workers", "-1"], "--workers is -1"),
        (["embed", "0.pth.tar", "crops", "-o", "x.parquet", "--gallery", "never", "--overwrite"], "is a folder"),
        (["embed", "0.pth.tar", "crops", "-o", "g.png/f.npy", "--gallery", "never"], "g.png is a file"),
    ]:
        (folder / "g.png").write_text("")
        for name in ("x.png", "x.parquet"):
            (folder / name).mkdir(exist_ok=True)
        assert message in refused(words, capsys)
    assert not (folder / "never").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux alone")
def test_a_file_name_that_is_no_text_does_not_end_the_job(folder, capsys):
    bad = os.fsdecode(b"crops/caf\xe9_c3.jpg")
    shutil.copy("crops/0001_c2_5.jpg", bad)
    shutil.copytree("crops", os.fsdecode(b"all/caf\xe9"))
    for words in (
        ["embed", "0.pth.tar", "crops", "-o", "n.parquet", "--gallery", "n", "--device", "cpu"],
        ["embed", "0.pth.tar", "crops", "-o", "n.npy", "--identity-from", "folder", "--device", "cpu"],
        ["search", "0.pth.tar", "n", "crops", "--device", "cpu", "--top", "1"],
        ["cluster", "crops", "-o", "out", "--checkpoint", "0.pth.tar", "--device", "cpu"],
        ["suggest", "crops", "--checkpoint", "0.pth.tar", "--device", "cpu"],
    ):
        main(words)
    printed = capsys.readouterr().out
    assert "warning: crops/caf\\udce9_c3.jpg is left out: its path is not UTF-8" in printed
    assert len(pd.read_parquet("n.parquet")) == 20
    assert "crops/caf\\udce9_c3.jpg,its path is not UTF-8" in (folder / "out/broken.csv").read_text(encoding="utf-8")
    error = refused(["embed", "0.pth.tar", "all", "-o", "a.parquet", "--identity-from", "folder"], capsys)
    assert "none of the 22 images can be read" in error
    assert "its path is not UTF-8" in error


@pytest.mark.slow
def test_a_full_disk_is_told(folder):
    """A limit on the size of files is as near to a full disk as a test comes."""
    limited = (
        "import resource, signal, sys; from spcl.cli.main import main; import lancedb; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "main(sys.argv[1:])"
    )
    for to, message in [
        (["-o", "f.parquet"], "cannot write f.parquet"),
        (["-o", "f.npy"], "cannot write f.npy"),
        (["--gallery", "full"], "cannot write to the gallery: File too large"),
    ]:
        words = ["embed", "0.pth.tar", "crops", *to, "--device", "cpu"]
        done = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not [path for path in folder.iterdir() if path.name.startswith((".", "f.")) or path.name == "full"]


def test_what_a_new_source_does_not_say_stays(folder, capsys):
    words = ["embed", "0.pth.tar", "--gallery", "g", "--device", "cpu"]
    main([*words, "crops"])
    printed = " ".join(capsys.readouterr().out.split())
    # Cameras are in the names of the files: they replace the table's.
    assert "does not have are kept: identity of 10, time of 10, lane of 10" in printed
    gallery = Gallery.open("g", load_encoder("0.pth.tar"))
    assert (len(gallery), gallery.count("identity is not null"), gallery.count("lane is not null")) == (20, 10, 10)
    assert gallery.count("camera = 'north gate'") == 0
    main([*words, "some.csv"])
    assert "stays as it was" not in capsys.readouterr().out
    assert gallery.count("camera = 'north gate'") == 5


def test_answers_as_tables(folder, capsys):
    query = str(folder / "crops/0001_c2_5.jpg")
    found = searched("g", "crops/0001_c2_5.jpg", "--top", "3", "-o", "out/s.csv", capsys=capsys)
    frame = pd.read_csv("out/s.csv")
    assert (frame["path"].tolist(), frame["rank"].tolist()) == ([query] * 3, [1, 2, 3])
    hits = found["queries"][0]["hits"]
    assert frame["found_path"].tolist() == [hit["path"] for hit in hits]
    assert frame["found_lane"].tolist() == [hit["lane"] for hit in hits]
    words = ["identify", "0.pth.tar", "g", "crops/0001_c2_5.jpg", "--false-match-rate", "0.5", "--device", "cpu"]
    main([*words, "-o", "out/s.csv", "--overwrite", "--excel"])
    assert "table: out/s.csv" in capsys.readouterr().out
    assert (folder / "out/s.csv").read_bytes().startswith(b"\xef\xbb\xbfpath,identity,is_unknown,probability")
    frame = pd.read_csv("out/s.csv", dtype=str)
    assert frame["path"].tolist() == [query]
    # The most similar image of the identity that was nearest, and not the query itself.
    assert frame["nearest_path"][0] != query
    assert frame["nearest_identity"][0] in ("ann", "0042")
    main([*words, "-o", "names.parquet"])
    assert pd.read_parquet("names.parquet")["nearest_camera"][0] in ("3", "north gate")
    # A table of names is a table of images.
    main(["embed", "0.pth.tar", "names.parquet", "--gallery", "named", "--device", "cpu"])
    assert Gallery.open("named").remove(paths=[query]) == 1


def test_a_search_from_python_gives_what_the_command_prints(folder, capsys):
    query = "crops/0001_c2_5.jpg"
    encoding = EncodeOptions(encoder=EncoderChoice(checkpoint="0.pth.tar"), device="cpu")
    request = SearchRequest("g", (query, "crops/broken_c3.jpg"), top=3, camera_not=("no such",), encoding=encoding)
    result = search_images(request)
    assert capsys.readouterr() == ("", "")
    printed = searched("g", query, "crops/broken_c3.jpg", "--top", "3", "--camera-not", "no such", capsys=capsys)
    assert result.to_dict() == printed
    assert (result.queries, len(result.hits[0]), result.num_images) == ((folder / query,), 3, 10)
    assert [path.name for path, _ in result.broken] == ["broken_c3.jpg"]
    assert "no image of the gallery is of such a camera" in result.warnings[0]
    assert result.to_table().column("found_path").to_pylist() == [hit.path for hit in result.hits[0]]
    with pytest.raises(InputError, match="top is 0; expected at least 1"):
        SearchRequest("g", query, top=0)
    with pytest.raises(InputError, match="there are no images at q"):
        search_images(SearchRequest("g", "q.jpg"))


def test_embedding_from_python_gives_what_the_command_prints(folder, capsys):
    encoding = EncodeOptions(encoder=EncoderChoice(checkpoint="0.pth.tar"), device="cpu")
    result = embed_images(EmbeddingRequest("crops", output="p.parquet", gallery="p", encoding=encoding))
    assert capsys.readouterr() == ("", "")
    main(["embed", "0.pth.tar", "crops", "-o", "c.parquet", "--gallery", "c", "--device", "cpu", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert result.to_dict() | {"output": "c.parquet"} == printed | {"gallery": printed["gallery"] | {"path": "p"}}
    assert (result.num_images, len(result.broken), result.gallery.added) == (20, 1, 20)
    python, command = pd.read_parquet("p.parquet"), pd.read_parquet("c.parquet")
    assert python["path"].tolist() == command["path"].tolist()
    with pytest.raises(InputError, match="exists already"):
        embed_images(EmbeddingRequest("crops", output="p.parquet", encoding=encoding))
    with pytest.raises(InputError, match="no output"):
        EmbeddingRequest("crops")
