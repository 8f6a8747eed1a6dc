"""The road of a year (docs/road-of-a-year.md) on rendered months, by its commands: what each month names and groups.

    python benchmarks/year.py --work runs/year
    python benchmarks/year.py --work runs/year --checkpoint runs/mine/checkpoint.pth.tar --adapt

Half of the known objects come back each month, with new ones. Groups are corrected by the truth after they were
measured, as an edited table. With ``--adapt`` the checkpoint is adapted to the first month before the gallery is made.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from study import label_quality

from spcl.cli.main import main
from spcl.corrections.group_table import read_group_table
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.randomness import generator

MONTHS = "january", "february", "march"


@dataclass(frozen=True)
class YearOptions:
    """What is rendered, and the encoder."""

    work: Path = Path("runs/year")
    """Folder of what is rendered and written; earlier months in it are replaced."""
    kind: str = "pedestrian"
    """Kind of the rendered objects: pedestrian or vehicle."""
    domain: str = "street"
    """Look of the images: street or studio."""
    first: int = 20
    """Objects of the first month."""
    new: int = 8
    """New objects of each later month; half of those known before are there, too."""
    cameras: int = 4
    """Cameras; each sees every object of the month."""
    shots: int = 2
    """Images of an object by a camera in a month."""
    height: int = 128
    """Image height in pixels."""
    width: int = 64
    """Image width in pixels."""
    checkpoint: str = ""
    """The encoder; empty: ImageNet weights."""
    adapt: bool = False
    """Adapt the checkpoint to the first month."""
    encoder: str = ""
    """Further flags of the encoder, for every command."""
    training: str = ""
    """Further flags of the adaptation."""
    seed: int = 0
    """Seed of the rendering and of the objects that come back."""
    json: bool = False
    """Print the figures as JSON."""


@dataclass(frozen=True)
class Month:
    """What a month's images got before they were corrected.

    Attributes:
        month: Its name.
        known: Images of objects that are in the gallery.
        right: Share of them with the right name.
        wrong: Share of them with the name of another object.
        strangers: Images of objects that are new.
        named: Share of them that got a name.
        groups_f: BCubed F of the groups of the new objects' images, in percent; an image in no group is alone.
        num_groups: Number of new groups.
        num_new: Number of new objects.
    """

    month: str
    known: int
    right: float
    wrong: float
    strangers: int
    named: float
    groups_f: float
    num_groups: int
    num_new: int

    @property
    def shares(self) -> tuple[float, float, float]:
        return self.right, self.wrong, self.named


def walk(options: YearOptions) -> list[Month]:
    """Go the road, and give the figures of each month."""
    work = options.work
    for name in MONTHS:
        for folder in (work / name, work / f"{name}_groups"):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (work / "herd", work / "adapted"):
        shutil.rmtree(folder, ignore_errors=True)
    (work / "herd.json").unlink(missing_ok=True)
    truth: dict[str, str] = {}
    seen = _objects(options)
    for at in range(len(MONTHS)):
        truth |= render_month(options, at, seen[at])
    encoder = f"{options.checkpoint} {options.encoder}".strip()
    flagged = f"--checkpoint {encoder}" if options.checkpoint else encoder
    run(f"cluster {work}/january -o {work}/january_groups {flagged}")
    found = [measured("january", work / "january_groups", truth, known=set())]
    correct(work / "january_groups", truth)
    if options.adapt:
        run(f"adapt {encoder} {work}/january --logs-dir {work}/adapted {options.training}")
        encoder = str(work / "adapted/adapted.pth.tar")
    run(f"embed {encoder} {work}/january --gallery {work}/herd --groups {work}/january_groups")
    calibration = "" if encoder.split(" ")[0].endswith(".tar") else f"{work}/herd.json"
    out = f"-o {calibration}" if calibration else ""
    run(f"calibrate {encoder} {work}/january --pairs {work}/january_groups {out}")
    known = set(seen[0])
    given = f"--calibration {calibration}" if calibration else ""
    for at, name in enumerate(MONTHS[1:], start=1):
        run(f"identify {work}/herd {work}/{name} {given} --groups {work}/{name}_groups")
        found.append(measured(name, work / f"{name}_groups", truth, known={_name(number) for number in known}))
        correct(work / f"{name}_groups", truth)
        run(f"embed {encoder} {work}/{name} --gallery {work}/herd --groups {work}/{name}_groups")
        known |= set(seen[at])
    return found


def run(line: str) -> str:
    """Run a command line of spcl, and give what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        main(line.split())
    return printed.getvalue()


def _objects(options: YearOptions) -> list[list[int]]:
    """The numbers of the objects of each month."""
    rng = generator(options.seed, "objects of months")
    seen = [list(range(options.first))]
    for at in range(1, len(MONTHS)):
        before = options.first + (at - 1) * options.new
        back = rng.choice(before, size=before // 2, replace=False)
        seen.append(sorted([*back.tolist(), *range(before, before + options.new)]))
    return seen


def render_month(options: YearOptions, at: int, objects: Sequence[int]) -> dict[str, str]:
    """Render the images of a month in random order; give the name of the object on each, by the file's name."""
    spec = SyntheticSpec(options.kind, options.domain, height=options.height, width=options.width, seed=options.seed)
    spec = replace(spec, cameras=options.cameras, train_identities=options.first + 2 * options.new)
    every = [
        (number, camera, shot)
        for number in objects
        for camera in range(options.cameras)
        for shot in range(options.shots)
    ]
    order = generator(options.seed, MONTHS[at]).permutation(len(every))
    folder = options.work / MONTHS[at]
    folder.mkdir(parents=True)
    truth = {}
    for place, row in enumerate(order.tolist()):
        number, camera, shot = every[row]
        file = f"{MONTHS[at]}_{place:04d}.png"
        render_image(spec, number, camera, at * options.shots + shot).save(folder / file)
        truth[file] = _name(number)
    return truth


def _name(number: int) -> str:
    return f"object {number}"


def measured(month: str, groups: Path, truth: Mapping[str, str], *, known: set[str]) -> Month:
    """Compare the groups of a month with the truth."""
    table = read_group_table(groups / "groups.csv")
    right = np.array([truth[path.name] for path in table.paths])
    given = np.array([table.names.get(number, "") for number in table.group.tolist()])
    given[[name.startswith("new-") for name in given]] = ""
    is_known = np.isin(right, sorted(known))
    alone = np.where(table.group < 0, table.group.max() + 1 + np.arange(len(right)), table.group)
    new = np.unique(right[~is_known], return_inverse=True)[1]
    grouped = table.group[~is_known & (given == "") & (table.group >= 0)]
    return Month(
        month=month,
        known=int(is_known.sum()),
        right=float((given == right)[is_known].mean()) if is_known.any() else float("nan"),
        wrong=float(((given != right) & (given != ""))[is_known].mean()) if is_known.any() else float("nan"),
        strangers=int((~is_known).sum()),
        named=float((given[~is_known] != "").mean()),
        groups_f=100 * label_quality(alone[~is_known], new)["F"],
        num_groups=len(np.unique(grouped)),
        num_new=len(np.unique(new)),
    )


def correct(groups: Path, truth: Mapping[str, str]) -> None:
    """Correct groups by the truth, as a table that was edited in a spreadsheet."""
    table = read_group_table(groups / "groups.csv")
    edited = groups.with_name(f"{groups.name}_edited.csv")
    with edited.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "group"))
        rows.writerows((str(path), truth[path.name]) for path in table.paths)
    run(f"correct {groups} table {edited}")


def printed(found: Sequence[Month]) -> str:
    """The table of the figures."""
    titles = "month", "known images", "right name", "wrong name", "new images", "named", "F", "groups (objects)"
    lines = [" | ".join(("", *titles, "")).strip(), "|" + "---|" * len(titles)]
    for one in found:
        right, wrong, named = (f"{100 * value:.1f} %" if value == value else "-" for value in one.shares)
        groups = f"{one.groups_f:.1f} | {one.num_groups} ({one.num_new})"
        lines.append(f"| {one.month} | {one.known} | {right} | {wrong} | {one.strangers} | {named} | {groups} |")
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = tyro.cli(YearOptions)
    result = walk(chosen)
    print(json.dumps([asdict(one) for one in result]) if chosen.json else printed(result))
