"""Tables of finished runs: means and standard deviations, formats, what is left out."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

import spcl
from spcl.experiments.finished_runs import read_run
from tests.experiments.written_runs import write_run
from tests.shared import PROJECT_ROOT, input_error


@pytest.fixture
def folder(tmp_path):
    """Two settings; three seeds of one, one of the other, whose last epoch is not its best."""
    for seed, figure in ((1, 0.2), (2, 0.3), (3, 0.4)):
        rows = [{"mAP": 0.1, "top1": 0.3}, {"loss": 2.0}, {"mAP": figure, "top1": 0.5}]
        write_run(tmp_path / f"a{seed}", rows, labels={"eps": 0.6}, run={"seed": seed, "device": f"cuda:{seed}"})
    rows = [{"mAP": 0.8, "top1": 0.9}, {}, {"mAP": 0.5, "top1": 0.95}]
    write_run(tmp_path / "b", rows, labels={"eps": 0.5}, run={"seed": 1})
    return tmp_path


def test_mean_and_standard_deviation_over_seeds(folder):
    table = spcl.runs(*sorted(folder.iterdir()))
    low, high = table.rows
    assert (low.settings, high.settings) == ({"labels.eps": 0.5}, {"labels.eps": 0.6})
    assert high.seeds == (1, 2, 3)
    # By hand: mean of 0.2, 0.3, 0.4; squares of -0.1, 0, 0.1 over two.
    assert high.last["mAP"].mean == pytest.approx(0.3)
    assert high.last["mAP"].std == pytest.approx(0.1)
    assert high.best["mAP"] == high.last["mAP"]
    assert (low.last["mAP"].mean, low.last["mAP"].std) == (0.5, None)
    # Of the best epoch by mAP, whatever its top-1.
    assert (low.best["mAP"].mean, low.best["top1"].mean) == (0.8, 0.9)
    assert table.notes == ()
    # A folder that holds them gives the same.
    assert spcl.runs(folder).rows == table.rows
    assert spcl.runs(folder / "*").rows == table.rows


def test_each_format(folder, tmp_path):
    table = spcl.runs(folder)
    assert table.to_markdown() == (
        "| labels.eps | runs |    last mAP | last top-1 |    best mAP | best top-1 |\n"
        "| ---------: | ---: | ----------: | ---------: | ----------: | ---------: |\n"
        "|        0.5 |    1 |        50.0 |       95.0 |        80.0 |       90.0 |\n"
        "|        0.6 |    3 | 30.0 ± 10.0 | 50.0 ± 0.0 | 30.0 ± 10.0 | 50.0 ± 0.0 |\n"
    )
    latex = table.to_latex()
    assert latex.startswith("\\begin{tabular}{rrrrrr}\n\\toprule\nlabels.eps & runs & last mAP")
    assert "0.6 & 3 & $30.0 \\pm 10.0$ & $50.0 \\pm 0.0$" in latex
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert float(rows[1]["last_mAP_mean"]) == pytest.approx(0.3)
    assert rows[0]["last_mAP_std"] == ""
    assert rows[1]["seeds"] == "1 2 3"
    for ending in ("csv", "md", "tex"):
        assert table.write(tmp_path / f"out/t.{ending}").read_text().count("\n") >= 3
    with input_error("wrong-file-kind", "table.xlsx"):
        table.write("table.xlsx")


def test_words_are_escaped_and_figures_without_evaluation_are_shown(tmp_path):
    for name in ("a|b", "c_d%"):
        rows = [{"loss": 1.5, "num_clusters": 4, "num_unclustered": 2}]
        write_run(tmp_path / f"run-{ord(name[0])}", rows, data={"target": name})
    table = spcl.runs(tmp_path)
    assert not table.is_rated
    assert "a\\|b" in table.to_markdown()
    assert "c\\_d\\% & 1 & 1.50 & 4.00 & 2.00" in table.to_latex()
    assert "best" not in table.to_markdown()


def test_what_is_not_finished_or_no_run_is_left_out_with_the_reason(folder):
    write_run(folder / "half", [{"mAP": 0.9}], epochs=3)
    (folder / "begun").mkdir()
    (folder / "begun/config.toml").write_text((folder / "b/config.toml").read_text())
    (folder / "cut").mkdir()
    (folder / "cut/config.toml").write_text((folder / "b/config.toml").read_text())
    (folder / "cut/metrics.jsonl").write_text('{"epoch": 1, "mA')
    (folder / "crops").mkdir()
    (folder / "notes.txt").write_text("mine")
    table = spcl.runs(*sorted(folder.iterdir()))
    assert len(table.runs) == 4
    said = "\n".join(table.notes)
    assert "half: 1 of 3 epochs are finished" in said
    assert "begun: there is no metrics.jsonl" in said
    assert "cut: its files cannot be read" in said
    assert "crops holds no run" in said and "notes.txt holds no run" in said
    with input_error("no-finished-run", "half: 1 of 3"):
        spcl.runs(folder / "half")
    with input_error("no-such-file", "elsewhere"):
        spcl.runs(folder / "elsewhere")


def test_a_run_that_is_given_twice_counts_once_and_equal_ones_are_named(folder):
    assert len(spcl.runs(folder, folder / "b", folder / "a1").runs) == 4
    write_run(folder / "again", [{"mAP": 0.8}, {}, {"mAP": 0.5}], labels={"eps": 0.5}, run={"seed": 1})
    (note,) = spcl.runs(folder).notes
    assert note.startswith("runs with the same settings and the seed 1, each counted: ") and "again" in note


def test_a_run_of_an_earlier_version_is_a_run_with_the_defaults_of_what_is_newer(folder):
    text = (folder / "b/config.toml").read_text()
    (folder / "b/config.toml").write_text(text.replace('layout = "auto"\n', ""))
    assert read_run(folder / "b").settings["data.layout"] == "auto"
    assert list(spcl.runs(folder).rows[0].settings) == ["labels.eps"]
    earlier = next((PROJECT_ROOT / "tests/fixtures/run-0.1.0").rglob("config.toml")).read_text()
    (folder / "b/config.toml").write_text(earlier.replace("epochs = 2", "epochs = 3"))
    assert "optimiser.lr" in read_run(folder / "b").settings


def test_the_command_prints_it_without_torch(folder):
    program = (
        "import sys\nfrom spcl.cli.main import main\n"
        f"main(['runs', {str(folder)!r}, '-o', {str(folder / 'out.tex')!r}])\n"
        f"main(['runs', {str(folder / 'b')!r}, '--json'])\n"
        "assert not {'torch', 'pandas', 'numba', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "|        0.6 |    3 | 30.0 ± 10.0 |" in done.stdout
    assert (folder / "out.tex").read_text().startswith("\\begin{tabular}")
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert row["last_mAP_mean"] == 0.5


def test_runs_without_queries_are_compared_by_the_label_free_score(tmp_path):
    for seed, scores in ((1, (0.1, 0.6, 0.3)), (2, (0.2, 0.4, 0.5))):
        rows = [{"loss": 1.0, "num_clusters": 4, "num_unclustered": 0, "label_score": score} for score in scores]
        write_run(tmp_path / f"s{seed}", rows, run={"seed": seed})
    table = spcl.runs(tmp_path)
    assert table.best_by_labels.folder == tmp_path / "s1"
    assert table.best_by_labels.best_by_labels["epoch"] == 2
    assert table.rows[0].last["label_score"].mean == pytest.approx(0.4)
    assert "label score" in table.to_markdown()
    (tmp_path / "old").mkdir()
    write_run(tmp_path / "old/run", [{"loss": 1.0, "num_clusters": 4, "num_unclustered": 2}])
    assert spcl.runs(tmp_path / "old").best_by_labels is None


def test_a_run_that_stopped_early_is_finished(tmp_path):
    rows = [{"label_score": score} for score in (0.5, 0.4, 0.3)]
    schedule = {"select": "auto", "patience": 2}
    assert len(read_run(write_run(tmp_path / "a", rows, epochs=9, schedule=schedule)).epochs) == 3
    with input_error("run-not-finished"):
        read_run(write_run(tmp_path / "b", rows[:2], epochs=9, schedule=schedule))
    # Evaluated: the score of the labels does not count.
    evaluated = [{"label_score": score, "mAP": 0.1 + number} for number, score in enumerate((0.5, 0.4, 0.3))]
    with input_error("run-not-finished"):
        read_run(write_run(tmp_path / "c", evaluated, epochs=9, schedule=schedule))


@pytest.mark.parametrize(
    "line",
    [
        "3",
        "[]",
        '{"loss": "low"}',
        '{"mAP": {}}',
        '{"epoch": true}',
        '{"seconds": 3}',
        '{"losses": [1]}',
        "{",
        "\udcff",
    ],
)
def test_figures_that_are_none_are_an_error_of_the_run(folder, line):
    with (folder / "b/metrics.jsonl").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line)
    with input_error("damaged-file", str(folder / "b")):
        read_run(folder / "b")
    assert len(spcl.runs(folder).runs) == 3


def test_figures_that_are_not_finite_are_unknown_and_settings_are_checked(folder):
    with (folder / "b/metrics.jsonl").open("a") as file:
        file.write('{"mAP": NaN, "loss": Infinity, "seconds": {"label": NaN}}')
    run = read_run(folder / "b")
    assert run.last["mAP"] is None and run.last["loss"] is None and run.best["mAP"] == 0.8
    text = (folder / "b/config.toml").read_text()
    for wrong in ("epochs = true", "epochs = 1e9", 'epochs = "3"'):
        (folder / "b/config.toml").write_text(text.replace("epochs = 3", wrong))
        with input_error("damaged-file", "schedule.epochs"):
            read_run(folder / "b")
