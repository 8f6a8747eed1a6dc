"""The figures of both encoders of an adaptation, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spcl.pages.run_curves import number_text, percent_text

_FIGURES = (
    ("found_again", "augmented copies that find their original or a near duplicate", True),
    ("half_agreement", "neighbours on which both halves of the feature agree", True),
    ("mutual_neighbours", "nearest neighbours that are mutual", True),
    ("across_cameras", "mutual neighbours from another camera, against chance", True),
    ("num_clusters", "clusters", False),
    ("share_clustered", "crops in a cluster", True),
    ("scale_stability", "clusters unchanged when made tighter or looser", True),
    ("silhouette", "silhouette of the clusters (-1 to 1)", False),
    ("effective_dimensions", "directions that the features use", False),
)


@dataclass(frozen=True)
class AdaptationSection:
    """Figures before and after an adaptation.

    Attributes:
        verdict: Which encoder was kept, and why, in a sentence.
        num_rated: Number of crops that both were measured on.
        rows: Name, value before and value after of each figure.
    """

    verdict: str
    num_rated: int
    rows: tuple[tuple[str, str, str], ...]


def adaptation_section(found: Mapping[str, Any]) -> AdaptationSection:
    """Make the section from the content of ``adaptation.json``; figures that are missing are shown as "-"."""
    before, after = dict(found.get("before") or {}), dict(found.get("after") or {})
    rows = []
    for name, title, is_share in _FIGURES:
        if name in before or name in after:
            first, second = (_text(side.get(name), name, is_share) for side in (before, after))
            rows.append((title, first, second))
    rated = dict(found.get("evaluation") or {})
    for name, title in (("mAP", "mAP on the labelled data"), ("top1", "top-1 on the labelled data")):
        if rated:
            first, second = (percent_text(dict(rated.get(side) or {}).get(name)) for side in ("before", "after"))
            rows.append((title, first, second))
    verdict = dict(found.get("verdict") or {})
    kept = "the new encoder was kept" if verdict.get("keeps_new") else "the old encoder was kept"
    words = str(verdict.get("words") or "")
    kept = f"{words}: {kept}." if words else f"{kept}."
    return AdaptationSection(kept, int(found.get("num_rated") or 0), tuple(rows))


def _text(value: Any, name: str, is_share: bool) -> str:
    return percent_text(value) if is_share else number_text(value, 2 if name == "silhouette" else 0)
