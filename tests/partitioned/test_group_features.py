"""``spcl cluster FEATURES --work-dir FOLDER``: the table of groups, and mistakes."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from spcl.cli.main import main
from spcl.gallery.columns import described
from spcl.gallery.features_file import features_writer
from spcl.grouping.groups import cluster
from tests.partitioned.test_label_parts import clusters_and_noise


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = clusters_and_noise(300, dim=8)
    np.save("rows.npy", rows)
    with features_writer(tmp_path / "f.parquet", 8, {"fingerprint": "x", "flip": False}) as writer:
        writer.write(described([f"{at}.jpg" for at in range(300)]), rows)
    return rows


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(["cluster", *words])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_groups_are_those_of_the_features_in_memory(here, capsys):
    main(["cluster", "f.parquet", "-o", "out", "--work-dir", "work", "--k1", "12", "--eps", "0.55"])
    assert "settings: eps 0.55, k1 12, k2 4" in capsys.readouterr().out
    table = pq.read_table("out/groups.parquet")
    wanted = cluster(here, eps=0.55, k1=12)
    assert table.column("group").to_pylist() == wanted.group.tolist()
    assert [path.rsplit("/")[-1] for path in table.column("path").to_pylist()[:2]] == ["0.jpg", "1.jpg"]
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["rows"], summary["groups"]) == (300, len(wanted.sizes))
    # The work is finished: another kind of features of the same run is refused, the same gives its result again.
    assert "exists already" in refused(capsys, "f.parquet", "-o", "out", "--work-dir", "work", "--k1", "12")
    again = ["--work-dir", "work", "--k1", "12", "--eps", "0.55", "--overwrite", "--json"]
    main(["cluster", "f.parquet", "-o", "out", *again])
    assert json.loads(capsys.readouterr().out)["groups"] == len(wanted.sizes)


def test_a_matrix_has_row_numbers(here):
    main(["cluster", "rows.npy", "-o", "out", "--work-dir", "work"])
    assert pq.read_table("out/groups.parquet").column("row").to_pylist() == list(range(300))


def test_mistakes(here, capsys):
    features = ("f.parquet", "-o", "out", "--work-dir", "work")
    assert "--folders is not used with --work-dir" in refused(capsys, *features, "--folders", "link")
    assert "--checkpoint is not used" in refused(capsys, *features, "--checkpoint", "x.pth")
    assert "none.npy holds no features" in refused(capsys, "none.npy", *features[1:])
    assert "--eps is 1" in refused(capsys, *features, "--eps", "1")
