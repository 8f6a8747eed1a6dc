"""The true identities in place of pseudo labels: what the demonstration would reach if clustering made no mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.training.parts import TargetView


@dataclass(frozen=True)
class TrueLabels:
    """A labeller that reads the identities of a data set; for comparison only."""

    data: str = ""
    """The data set whose training images are labelled: a registered name or a path."""

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Give the identities of the training images; the features are not used."""
        from spcl.data.catalogue import load_dataset
        from spcl.records import identities_of
        from spcl.selfpaced.pseudo_labels import PseudoLabels

        return PseudoLabels.from_labels(identities_of(load_dataset(self.data, labelled=True).train))
