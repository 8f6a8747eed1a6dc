"""``spcl doctor``: what works is found, what does not work is named with its next step, and nothing is left behind."""

from __future__ import annotations

import json
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from spcl.cli.doctor import print_diagnosis
from spcl.cli.main import main
from spcl.doctor import disk as disk_module
from spcl.doctor import doctor, machine, packages, small_training
from spcl.doctor.disk import disk
from spcl.doctor.findings import Diagnosis, Finding
from spcl.doctor.packages import ImportedPackages, Need, extra_packages, needs_of_spcl, own_packages
from spcl.reporting.quiet_reporters import SilentReporter
from spcl.runtime import Runtime

SILENT = SilentReporter()


@pytest.fixture
def quick(monkeypatch):
    """No extras, and no computation: these have tests of their own."""
    monkeypatch.setattr(doctor, "optional_modules", lambda needs: [])
    monkeypatch.setattr(doctor, "_computing", lambda request, report: [Finding("training", "ok", "it falls")])


def test_a_machine_that_works(quick, tmp_path, capsys):
    main(["doctor", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["works"]
    by_part = {finding["part"]: finding for finding in found["findings"]}
    assert by_part["packages"]["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert by_part["disk"]["status"] == "ok" and by_part["disk"]["locks"] and by_part["disk"]["free_bytes"] > 0
    assert not any(tmp_path.iterdir())


def test_the_exit_code_and_the_next_step_of_what_fails(quick, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", str(tmp_path / "gone")])
    shown = capsys.readouterr().out
    assert ended.value.code == 2
    assert "FAILED  disk: there is no folder" in shown and "-> make it, or give another folder" in shown
    assert shown.endswith("not everything works: disk\n")
    print_diagnosis(Diagnosis((Finding("extra x", "note", "not installed", "pip install x"),)))
    assert capsys.readouterr().out.endswith("everything that is needed works\n")


@pytest.mark.slow
def test_everything_on_this_machine(tmp_path, capsys):
    main(["doctor", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    parts = [finding["part"] for finding in found["findings"]]
    assert parts[:7] == ["packages", "disk", "machine", "device", "precision", "training", "label stage"]
    assert {"weights", "extra gallery", "extra serve"} <= set(parts)
    assert not any(tmp_path.iterdir())


def test_the_loss_falls_and_a_loss_that_does_not_fall_is_a_failure(monkeypatch):
    runtime = Runtime("cpu")
    found = small_training.small_training(runtime, SILENT)
    assert found.status == "ok" and found.values["last_loss"] < 0.5 * found.values["first_loss"]
    for losses in ([2.0] * 24, [2.0, float("nan")] * 12, [1.0] * 12 + [1.5] * 12):
        monkeypatch.setattr(small_training, "losses_of", lambda *_, losses=losses: losses)
        found = small_training.small_training(runtime, SILENT)
        assert found.status == "failed" and "does not fall" in found.text and found.next_step

    def fails(*_):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(small_training, "losses_of", fails)
    assert "no kernel image" in small_training.small_training(runtime, SILENT).text


def test_the_label_stage_finds_known_groups_or_fails(monkeypatch):
    assert small_training.label_stage(SILENT).status == "ok"
    right = small_training.pseudo_labels
    monkeypatch.setattr(
        small_training, "pseudo_labels", lambda features, **given: right(features[::-1] * 1, k1=2, k2=1)
    )
    assert small_training.label_stage(SILENT).status == "failed"


def test_device_and_precision():
    found, runtime = machine.device("cpu")
    assert found.status == "ok" and runtime is not None
    advised = machine.precisions(runtime)
    assert advised.values["advised"] in ("fp32", "bf16") and "--precision" in advised.text
    assert machine.processor().values["threads"] >= 1
    found, runtime = machine.device("cuda:99")
    assert found.status == "failed" and runtime is None and "--device cpu" in found.next_step


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_without_rights_and_a_full_disk(tmp_path, monkeypatch):
    found = disk(Path("/proc/self"))
    assert found.status == "failed" and found.next_step
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk_module.shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 10**6))
    assert "the disk is full" in disk(tmp_path).text
    monkeypatch.setattr(disk_module.shutil, "disk_usage", lambda folder: usage(10**12, 0, 10**9))
    found = disk(tmp_path)
    assert found.status == "note" and "free some space" in found.next_step
    assert not any(tmp_path.iterdir())


def test_a_disk_without_locks_or_with_slow_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_module, "_can_lock", lambda place: False)
    found = disk(tmp_path)
    assert found.status == "note" and "one program at a time" in found.next_step
    monkeypatch.undo()
    slow = {"write_bytes_per_second": 1e6, "read_bytes_per_second": 1e9}
    (tmp_path / "x").mkdir()

    def speeds(place):
        (place / "written").write_bytes(b"x")
        return slow

    monkeypatch.setattr(disk_module, "_speeds", speeds)
    assert "another disk" in disk(tmp_path / "x").next_step


def test_packages_that_are_missing_old_or_crash(tmp_path, monkeypatch):
    for name, text in {
        "spcl_good": "",
        "spcl_raises": "raise ImportError('libx.so: cannot open')",
        "spcl_crashes": "import os; os.abort()",
        "spcl_prints": "print('spcl ends x')",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ["spcl_good", "spcl_raises", "spcl_crashes", "spcl_none", "json"]
    problems = ImportedPackages(names).problems()
    assert problems["spcl_good"] == problems["json"] == ""
    assert "libx.so" in problems["spcl_raises"] and "code -6" in problems["spcl_crashes"]
    assert problems["spcl_none"].startswith("ModuleNotFoundError")
    needs = [Need(name, "", "gallery") for name in names[1:4]] + [Need("numpy", "999", "serve")]
    found = {finding.part: finding for finding in extra_packages(needs, problems)}
    assert found["extra gallery"].status == found["extra serve"].status == "note"
    assert "libx.so" in found["extra gallery"].text and "older than 999" in found["extra serve"].text
    missing = extra_packages([Need("spcl_none", "", "video")], problems)[-1]
    assert (missing.next_step, missing.values["missing"]) == ('pip install "spcl[video]"', ["spcl_none"])


def test_own_packages_that_are_old_or_missing():
    found = own_packages([Need("numpy", "999.0", ""), Need("spcl-none", "1.0", ""), Need("pillow", "1.0", "")])
    assert found.status == "failed" and found.next_step == 'pip install "numpy>=999.0" "spcl-none>=1.0"'
    assert own_packages([Need("numpy", "1.0", "")]).status == "ok"


def test_the_needs_of_the_installed_package():
    needs = needs_of_spcl()
    if not needs:
        pytest.skip("spcl is not installed as a package")
    assert {"torch", "numba"} <= {need.name for need in needs if not need.extra}
    assert "lancedb" in {need.name for need in needs if need.extra == "gallery"}
    assert all(need.extra in packages._USES or need.extra in ("", "dev", "docs") for need in needs)
