"""What a page is about, collected from a folder or a file: the common form that all kinds of input are brought to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.inference.embedding import Encoder
from spcl.pages.group_cards import GroupedImages
from spcl.pages.run_curves import ShownRun
from spcl.pages.run_settings import SettingsSection
from spcl.pages.shown_images import ShownImages
from spcl.records import ReIDDataset


@dataclass(frozen=True)
class Subject:
    """The subject of a page.

    Attributes:
        title: Title of the page.
        about: What the page shows first: ``groups``, ``runs`` or ``results``.
        place: The folder or file, as the user gave it.
        runs: Training runs; empty: the page is about no run.
        settings: Settings; None: none are known.
        images: The images; None: the page has none.
        dataset: Queries and gallery among the images, with labels; None: there are no labels.
        grouped: The group of each image; None: no groups.
        encoder: Encoder of the features; None: unknown.
        no_labels: Why there is no evaluation, in a sentence; empty if there is one, or nothing to evaluate.
        warnings: What is missing and why, in sentences.
        before: The same images with the features of the first of two encoders that are compared; None: nothing is
            compared.
        names: Names of the two encoders that are compared.
    """

    title: str
    about: Literal["groups", "runs", "results"]
    place: str
    runs: tuple[ShownRun, ...] = ()
    settings: SettingsSection | None = None
    images: ShownImages | None = None
    dataset: ReIDDataset | None = None
    grouped: GroupedImages | None = None
    encoder: Encoder | None = None
    no_labels: str = ""
    warnings: tuple[str, ...] = ()
    before: ShownImages | None = None
    names: tuple[str, str] = ("", "")
