"""A report as a value, and the HTML page that is made of it: one file, nothing loaded, within a number of bytes."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spcl._version import __version__
from spcl.pages.adapted import AdaptationSection
from spcl.pages.compared import ComparisonSection
from spcl.pages.data_facts import DataSection
from spcl.pages.groups_section import SURE_FROM, GroupsSection
from spcl.pages.image_map import SIDE, MapSection
from spcl.pages.pictures import PictureBook
from spcl.pages.rankings import RankedSection
from spcl.pages.run_curves import CurvesSection
from spcl.pages.run_settings import SettingsSection
from spcl.pages.similarities import SimilaritySection

MOST_BYTES = 8_000_000
"""Largest page, so that it can be sent by mail."""

_ROUNDS = 4
_LEAST_PICTURES = 200_000


@dataclass(frozen=True)
class Report:
    """Everything that a page shows. A section that is None is left out.

    Attributes:
        title: Title of the page.
        about: What the page shows first: ``groups``, ``runs`` or ``results``.
        subtitle: What the page is about: paths and counts.
        summary: The result in three sentences, for a reader who does not know the method.
        made: Day on which the page is made.
        settings: The settings that matter, and all of them.
        data: Facts about the images.
        curves: Curves of training runs.
        adaptation: Figures before and after an adaptation.
        groups: All groups.
        ranked: Ranked results.
        similarities: Histograms of similarities.
        map: The map of the images.
        comparison: What became better and worse from one encoder to another.
        warnings: What is missing and why, in sentences.
        no_labels: Why results are shown without right and wrong, in a sentence.
        no_calibration: Why there are no probabilities, in a sentence.
        book: Pictures of the page.
    """

    title: str
    about: str
    subtitle: str
    summary: tuple[str, ...]
    made: str
    book: PictureBook
    settings: SettingsSection | None = None
    data: DataSection | None = None
    curves: CurvesSection | None = None
    adaptation: AdaptationSection | None = None
    groups: GroupsSection | None = None
    ranked: RankedSection | None = None
    similarities: SimilaritySection | None = None
    map: MapSection | None = None
    comparison: ComparisonSection | None = None
    warnings: tuple[str, ...] = ()
    no_labels: str = ""
    no_calibration: str = ""
    paths: tuple[Path, ...] = field(default=(), repr=False)

    def sections(self) -> list[tuple[str, str]]:
        """Give the name of each section's template and its title, in the order of the page."""
        groups, ranked = self.groups, self.ranked
        all_groups: list[tuple[str, str, object]] = [
            ("groups", "Groups", groups),
            ("merges", "Groups that may be one", groups is not None and groups.pairs),
            ("ungrouped", "Images in no group", groups is not None and groups.ungrouped),
        ]
        results: list[tuple[str, str, object]] = [
            ("ranked", "Ranked results", ranked),
            ("cameras", "Pairs of cameras", ranked is not None and ranked.pairs),
        ]
        candidates = [
            ("adaptation", "Before and after", self.adaptation),
            ("comparison", "What became better and worse", self.comparison),
            ("curves", "Training", self.curves),
            *(all_groups + results if self.about == "groups" else results + all_groups),
            ("similarities", "Similarities", self.similarities),
            ("map", "Map", self.map),
            ("data", "Data", self.data),
            ("settings", "Settings", self.settings),
        ]
        return [(name, title) for name, title, content in candidates if content]


def render(report: Report, *, most_bytes: int = MOST_BYTES) -> str:
    """Make the page.

    Args:
        report: What it shows.
        most_bytes: Largest size of the page in bytes, as UTF-8. Pictures become smaller until the page fits; a page
            whose text alone is larger is given with the smallest pictures.

    Returns:
        HTML text that loads nothing. Every text of the user is escaped.
    """
    template = _environment(report).get_template("report.html")
    style, script = (_file(name) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown: dict[str, Any] = {
        "report": report,
        "sections": report.sections(),
        "style": Markup(style),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "version": __version__,
        "book": report.book,
        "root": common_folder(report.paths),
        "side": SIDE,
        "sure_from": SURE_FROM,
    }
    # The text's size is known after the first round only: most of it are places of pictures.
    text_bytes, page = 600_000, ""
    for _ in range(_ROUNDS):
        report.book.draw(max(_LEAST_PICTURES, most_bytes - text_bytes))
        page = template.render(shown)
        size = len(page.encode("utf-8", "backslashreplace"))
        if size <= most_bytes:
            break
        text_bytes += size - most_bytes + most_bytes // 100
    return page


def common_folder(paths: tuple[Path, ...]) -> str:
    """Give the folder that holds all paths, with a separator at its end; empty: there is none but the root."""
    if not paths:
        return ""
    try:
        folder = os.path.commonpath([str(path.parent) for path in paths])
    except ValueError:  # several drives
        return ""
    return "" if folder in ("", os.sep) else folder + os.sep


def _environment(report: Report) -> Environment:
    environment = Environment(
        loader=PackageLoader("spcl.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    root = common_folder(report.paths)
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["capitalised"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["short"] = lambda path: str(path).removeprefix(root)
    return environment


def _file(name: str) -> str:
    return resources.files("spcl.pages").joinpath("templates", name).read_text(encoding="utf-8")
