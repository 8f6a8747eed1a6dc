"""A picture of a suggestion: what each eps gives, for each k1 that was tried, and where the choice lies."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spcl.errors import InputError
from spcl.grouping.eps_choice import Suggestion
from spcl.grouping.eps_curve import PAPER_EPS, EpsCurve

matplotlib.use("Agg")

_CHOSEN = "#1f5fa8"
_OTHERS = ("#d9c9a3", "#c8a765", "#a8b7a0", "#8f9ba8", "#6c7480")
_PANELS = (
    ("num_clusters", "clusters", 1.0),
    ("share_clustered", "images in no cluster, %", 100.0),
    ("largest_share", "images in the largest cluster, %", 100.0),
    ("stability", "stability: clusters kept from one eps to the next, %", 100.0),
    ("coherence", "coherence (its highest point is taken, for the k1 that fits)", 1.0),
)


def suggestion_picture(path: Path, suggestion: Suggestion) -> Path:
    """Draw the curves of a suggestion over eps.

    Args:
        path: Path of the PNG file to write.
        suggestion: With curves.

    Returns:
        The path.

    Raises:
        InputError: If nothing was tried, so that there is nothing to draw.
    """
    chosen = suggestion.curve
    if chosen is None:
        raise InputError(f"there is nothing to draw: {suggestion.reasons[0]}", code="too-few-images")
    figure = Figure(figsize=(7.5, 9.5), dpi=110, facecolor="white")
    panels = figure.subplots(len(_PANELS), 1, sharex=True)
    for axes, (name, title, scale) in zip(panels, _PANELS, strict=True):
        for number, curve in enumerate(suggestion.curves):
            if curve is not chosen:
                _line(axes, curve, name, scale, _OTHERS[number % len(_OTHERS)], 1.2)
        _line(axes, chosen, name, scale, _CHOSEN, 2.2)
        axes.axvline(suggestion.eps, color=_CHOSEN, linestyle="--", linewidth=1.2)
        axes.axvline(PAPER_EPS, color="#888888", linestyle=":", linewidth=1.0)
        axes.set_title(title, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.margins(x=0.01)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if name == "num_clusters":
            axes.set_ylim(bottom=0)
        elif scale > 1:
            axes.set_ylim(-2, 102)
    panels[0].legend(fontsize=8, frameon=False)
    panels[-1].set_xlabel("eps", fontsize=9)
    figure.suptitle(
        f"suggested: eps {suggestion.eps:g} (dashed; dotted: the paper's {PAPER_EPS:g}), "
        f"k1 {suggestion.k1}, k2 {suggestion.k2}",
        fontsize=11,
    )
    figure.tight_layout()
    figure.savefig(path, format="png")
    return path


def _line(axes: Axes, curve: EpsCurve, name: str, scale: float, colour: str, width: float) -> None:
    values = getattr(curve, name)
    values = 1 - values if name == "share_clustered" else values
    axes.plot(curve.eps, scale * values, color=colour, linewidth=width, label=f"k1 = {curve.k1}")
    axes.plot(curve.eps[curve.best], scale * values[curve.best], "o", color=colour, markersize=6 if width > 2 else 3)
