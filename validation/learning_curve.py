"""How does the AUC grow with the number of events that the classifier learns from?

A weak classifier flatters, and a classifier with few events is weak. If the curve has not levelled off at its right
end, the AUC says more about the classifier than about the generator.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hepflows.classifier_presets import preset_named
from validation.classifier_test import two_sample_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hepflows.classifier_presets import ClassifierPreset
    from validation.classifier_result import ClassifierResult

DIVISORS: Final = (8, 4, 2)
"""The training part is divided by these; the whole of it is the ordinary test."""


@dataclass(frozen=True, kw_only=True)
class LearningPoint:
    """The test with 1/`divisor` of the training part."""

    divisor: int
    result: ClassifierResult


def learning_curve(
    reference: NDArray[np.float32],
    generated: NDArray[np.float32],
    preset: ClassifierPreset | str = "quick",
    *,
    divisors: tuple[int, ...] = DIVISORS,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    weights: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None),
    mirrors: tuple[NDArray[np.int64], ...] = (),
    standardise: bool | None = None,
    folds: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[LearningPoint, ...]:
    """Two-sample tests with fewer training events: the same splits, tested and calibrated on the same events.

    The number of optimisation steps stays the same (as many times more epochs as events are fewer), so that the
    events make the difference and not the length of the training.

    Args:
        reference: features (N, F), label 1.
        generated: features (M, F), label 0.
        preset: a `ClassifierPreset` or the name of one.
        divisors: by how much the training part is divided.
        groups: as in `two_sample_test`, and so are all further arguments.
        weights: event weights of the two samples.
        mirrors: column permutations.
        standardise: overrides the preset's choice.
        folds: k of a k-fold test.
        seed: seed of splits, initialisations and batches.
        device: torch device.

    Returns:
        One point a divisor, in their order.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    return tuple(
        LearningPoint(
            divisor=divisor,
            result=two_sample_test(
                reference,
                generated,
                dataclasses.replace(preset, epochs=preset.epochs * divisor),
                groups=groups,
                weights=weights,
                mirrors=mirrors,
                standardise=standardise,
                folds=folds,
                train_share=1 / divisor,
                seed=seed,
                device=device,
            ),
        )
        for divisor in divisors
    )
