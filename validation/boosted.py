"""A classifier test in seconds: gradient-boosted trees on observables with one value an event.

Trees see what a physicist plots and nothing else, need no scaling, take undefined values as they are, and reach
their best with some thousand events, where a network on raw voxels still learns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepflows.classifier_training import balanced_weights
from hepflows.errors import DataError
from hepflows.splitting import PARTS, split_groups
from hepflows.weights import are_weighted
from validation.classifier_result import auc_error, over_trainings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingClassifier

    Floats = NDArray[np.float64]

REPEATS, TREES, LEAVES, LEARNING_RATE = 3, 150, 15, 0.1
"""Splits; trees at most, leaves of each, and their learning rate."""


@dataclass(frozen=True, kw_only=True)
class BoostedResult:
    """Outcome of several splits.

    Attributes:
        auc: area under the ROC curve on the test part, one number a split.
        test_error: statistical uncertainty of one of them.
        trees: number of trees kept, one number a split.
        n_train_per_class: events per class in the training part.
        features: number of features.
    """

    auc: tuple[float, ...]
    test_error: float
    trees: tuple[int, ...]
    n_train_per_class: int
    features: int

    def summary(self) -> tuple[float, float, float]:
        """Mean AUC, its uncertainty (spread of splits and test statistics) and the spread."""
        return over_trainings(self.auc, self.test_error)


def boosted_test(
    reference: Floats,
    generated: Floats,
    *,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    weights: tuple[Floats | None, Floats | None] = (None, None),
    repeats: int = REPEATS,
    seed: int = 0,
) -> BoostedResult:
    """Tell two samples apart with scikit-learn's `HistGradientBoostingClassifier`; AUC on unseen events.

    60 % of the events train, 20 % choose the number of trees (least cross entropy), 20 % test; the library's own
    early stopping would split pairs. 150 trees of at most 15 leaves, learning rate 0.1.

    Args:
        reference: features (N, F), label 1; NaN where one is not defined.
        generated: features (M, F), label 0.
        groups: group number of each event; a group is never divided between parts (see `hepflows.splitting`).
        weights: event weights of the two samples.
        repeats: independent splits.
        seed: of splits; split t uses seed + t.

    Raises:
        DataError: different numbers of features, or a part holds one class only.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    if reference.ndim != 2 or generated.ndim != 2 or reference.shape[1] != generated.shape[1]:
        raise DataError(
            "features of two samples must be matrices of equal width",
            where="boosted classifier",
            expected=reference.shape,
            found=generated.shape,
        )
    x = np.concatenate([reference, generated])
    label = np.concatenate([np.ones(len(reference)), np.zeros(len(generated))])
    weight = np.concatenate([
        np.ones(len(s)) if w is None else np.asarray(w, np.float64)
        for s, w in zip((reference, generated), weights, strict=True)
    ])  # fmt: skip
    if groups is None:
        groups = (np.arange(len(reference)), len(reference) + np.arange(len(generated)))
    weighted = any(are_weighted(w) for w in weights) or len(reference) != len(generated)
    aucs, trees, tested = [], [], (label, weight)
    for repeat in range(repeats):
        part = np.concatenate(split_groups(groups, seed=seed + repeat))
        train, choose, test = (np.flatnonzero(part == p) for p in range(len(PARTS)))
        if any(len(np.unique(label[rows])) < 2 for rows in (train, choose, test)):
            raise DataError("a part of the classifier split holds one class only", remedy="use more events")
        balanced = balanced_weights(label, weight, part)
        model = HistGradientBoostingClassifier(
            max_iter=TREES,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=LEAVES,
            early_stopping=False,
            random_state=(seed + repeat) % 2**32,
        )
        # the library takes 20 times as long to bin weighted events, and without weights the classes are balanced anyway
        model.fit(x[train], label[train], sample_weight=balanced[train] if weighted else None)
        sign, w = 1 - 2 * label[choose], balanced[choose]
        losses = [float(w @ np.logaddexp(0, sign * logit)) for logit in _stages(model, x[choose])]
        kept = int(np.argmin(losses))
        score = next(logit for i, logit in enumerate(_stages(model, x[test])) if i == kept)
        tested = label[test], balanced[test]
        aucs.append(float(roc_auc_score(tested[0], score, sample_weight=tested[1])))
        trees.append(kept + 1)
    return BoostedResult(
        auc=tuple(aucs),
        test_error=auc_error(float(np.mean(aucs)), *tested),
        trees=tuple(trees),
        n_train_per_class=round(PARTS[0] * min(len(reference), len(generated))),
        features=x.shape[1],
    )


def _stages(model: HistGradientBoostingClassifier, x: Floats) -> Iterator[Floats]:
    """Logits (N,) of the first tree, of the first two, and so on."""
    return (np.ravel(logits) for logits in model.staged_decision_function(x))
