"""Three rendered months by the commands of docs/road-of-a-year.md, corrected by the truth: what is named and grouped.

The floors are about two thirds of the lowest of two seeds (docs/results.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import year

from spcl.corrections.group_table import read_group_table

pytestmark = pytest.mark.slow

STUDIO = year.YearOptions(kind="vehicle", domain="studio", first=12, new=4, cameras=1, shots=8, height=32, width=32)
STEPS = "--batch-size 32 --iters 20 --k1 8 --workers 0"
RANDOM = "--arch timm/test_resnet --pretrained none --device cpu --workers 0"


def require_names_and_groups(found: list[year.Month], *, right: float, groups_f: float, named: float) -> None:
    assert [one.month for one in found] == list(year.MONTHS)
    assert [(one.known, one.strangers) for one in found] == [(0, 96), (48, 32), (64, 32)]
    for one in found:
        assert one.groups_f >= groups_f, one
        # The asked rate is 1 %; the images of a month are few, and of few objects.
        assert one.named <= named, one
    for one in found[1:]:
        assert one.right >= right, one
        assert one.wrong <= 0.05, one


def require_corrected(work: Path, truth: set[str]) -> None:
    """After the corrections each image has the name of its object."""
    for month in year.MONTHS:
        table = read_group_table(work / f"{month}_groups" / "groups.csv")
        assert set(table.names.values()) <= truth
        assert all(number in table.names for number in table.group.tolist())


def test_without_a_checkpoint(tmp_path):
    found = year.walk(replace(STUDIO, work=tmp_path, encoder=RANDOM))
    require_names_and_groups(found, right=0.5, groups_f=60, named=0.1)
    require_corrected(tmp_path, {f"object {number}" for number in range(20)})


def test_with_a_checkpoint_that_is_adapted_to_the_first_month(tmp_path):
    other = replace(STUDIO, work=tmp_path / "other", seed=9)
    year.render_month(other, 0, range(20))
    network = "--arch timm/test_resnet --pretrained none --height 32 --width 32"
    year.run(f"train {other.work}/january --logs-dir {tmp_path}/run {network} --epochs 3 {STEPS} --device cpu")
    checkpoint = str(tmp_path / "run/checkpoint.pth.tar")
    options = replace(STUDIO, work=tmp_path, checkpoint=checkpoint, adapt=True, training=f"--epochs 2 {STEPS}")
    found = year.walk(options)
    assert (tmp_path / "adapted/adapted.pth.tar").is_file()
    require_names_and_groups(found, right=0.35, groups_f=45, named=0.25)
    require_corrected(tmp_path, {f"object {number}" for number in range(20)})
