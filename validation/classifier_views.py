"""What the pictures and tables of the classifier test show, besides its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepflows.observable import Discs, Image
    from validation.measure import Estimate


_SMALL = 1e-6  # an error of 0 must not divide


@dataclass(frozen=True, kw_only=True)
class LearningView:
    """AUC against the events that the classifier learned from.

    Attributes:
        inputs: input set.
        sample: sample.
        sizes: events per class in the training part, rising.
        auc: AUC at each size.
        floor: what the reference reaches against itself.
    """

    inputs: str
    sample: str
    sizes: tuple[int, ...]
    auc: tuple[Estimate, ...]
    floor: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class DriverRow:
    """One observable in the table of what the classifier sees.

    Attributes:
        name: observable.
        label: its label in pictures.
        ks: distance between generated events with the lowest weights and the others.
        floor: the same with the second half of the reference as generated sample.
        difference: difference of the means in standard deviations.
        reference_ks: distance between reference events with the highest weights and the others.
    """

    name: str
    label: str
    ks: Estimate
    floor: Estimate
    difference: Estimate
    reference_ks: Estimate

    def pull(self) -> float:
        """Distance beyond its floor in units of their error; a floor that is not defined counts as 0."""
        if not math.isfinite(self.floor.value):
            return self.ks.value / max(self.ks.error, _SMALL)
        return (self.ks.value - self.floor.value) / max(math.hypot(self.ks.error, self.floor.error), _SMALL)


@dataclass(frozen=True, kw_only=True)
class DriverView:
    """Observables of one sample, in falling order of `DriverRow.pull`."""

    sample: str
    inputs: str
    rows: tuple[DriverRow, ...]


@dataclass(frozen=True, kw_only=True)
class ExtremeView:
    """The events with the most extreme weights: pictures of each row, as `images` or as `discs`."""

    sample: str
    inputs: str
    titles: Mapping[str, str]
    images: Mapping[str, tuple[Image, ...]]
    discs: Mapping[str, tuple[Discs, ...]]


@dataclass(frozen=True, kw_only=True)
class ClassifierViews:
    """Everything that the classifier test shows besides ROC curves and scores."""

    learning: tuple[LearningView, ...] = ()
    drivers: tuple[DriverView, ...] = ()
    extremes: tuple[ExtremeView, ...] = ()
