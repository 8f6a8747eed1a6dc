"""``spcl.cluster`` as an estimator of scikit-learn: for pipelines, grid searches and programs that take a clusterer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.grouping.groups import cluster

try:
    from sklearn.base import BaseEstimator, ClusterMixin
except ImportError as error:
    raise InputError(
        'SelfPacedClustering needs scikit-learn: pip install "spcl[sklearn]"', code="package-not-installed"
    ) from error

if TYPE_CHECKING:
    from spcl.grouping.eps_choice import Suggestion


class SelfPacedClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Group the rows of features by the clustering of the paper (section 3.3): DBSCAN on the Jaccard distance.

    Rows are compared by their direction, as features of an encoder are: they are scaled to length 1. A row of zeros has
    no direction and is in no group. The estimator has no ``predict``: groups are those of the rows that were fitted.

    Args:
        eps: DBSCAN's largest distance of two neighbours; auto: suggested from the features.
        k1: Neighbours in the k-reciprocal encoding, the row itself included; auto: suggested from the features.
        k2: Neighbours in the local query expansion; auto: follows k1.
        eps_gap: Difference of eps to the tighter and the looser scale, which the confidence compares.
        min_samples: Neighbours, the row itself included, that make a core sample.

    Attributes:
        labels_: ``[N]`` int64, the group of each row, the largest group is 0; -1: in no group.
        confidence_: ``[N]`` float64 from 0 to 1; 0 without a group (``Groups.confidence``).
        eps_: The largest distance that was used.
        k1_: The number of neighbours that was used.
        suggestion_: The suggested settings with their reasons; None if all settings were given.
        n_features_in_: D, the length of the rows.

    Examples:
        >>> rows = np.repeat(np.eye(3, 8), [4, 4, 1], axis=0)
        >>> SelfPacedClustering(eps=0.5, k1=4, k2=2).fit_predict(rows).tolist()
        [0, 0, 0, 0, 1, 1, 1, 1, -1]
    """

    labels_: NDArray[np.int64]
    confidence_: NDArray[np.float64]
    eps_: float
    k1_: int
    suggestion_: Suggestion | None
    n_features_in_: int

    def __init__(
        self,
        eps: float | Literal["auto"] = "auto",
        *,
        k1: int | Literal["auto"] = "auto",
        k2: int | Literal["auto"] = "auto",
        eps_gap: float = 0.02,
        min_samples: int = 4,
    ) -> None:
        self.eps = eps
        self.k1 = k1
        self.k2 = k2
        self.eps_gap = eps_gap
        self.min_samples = min_samples

    def fit(self, X: Any, y: Any = None) -> SelfPacedClustering:  # noqa: N803  (scikit-learn's name)
        """Group rows.

        Args:
            X: ``[N, D]`` features, finite.
            y: Not used; estimators take it.

        Returns:
            This estimator.

        Raises:
            ValueError: If a setting is out of range, or values are NaN or infinite.
        """
        rows = self._checked(X)
        lengths = np.linalg.norm(rows, axis=1)
        given = np.flatnonzero(lengths > 0)
        found = cluster(
            np.ascontiguousarray((rows[given] / lengths[given, None]).astype(np.float32)),
            eps=self.eps,
            k1=self.k1,
            k2=self.k2,
            eps_gap=self.eps_gap,
            min_samples=self.min_samples,
        )
        self.labels_ = np.full(len(rows), -1, dtype=np.int64)
        self.confidence_ = np.zeros(len(rows))
        self.labels_[given], self.confidence_[given] = found.group, found.confidence
        self.eps_, self.k1_, self.suggestion_ = found.eps, found.k1, found.suggestion
        return self

    def _checked(self, features: Any) -> NDArray[np.float64]:
        """Give the rows as float64; note their length and, of a table, the names of its columns."""
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:  # scikit-learn before 1.6
            checked: NDArray[np.float64] = self._validate_data(features, dtype=np.float64)
            return checked
        rows: NDArray[np.float64] = validate_data(self, features, dtype=np.float64)
        return rows
