"""How to compare: the settings of `validation.compare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - shown by typing.get_type_hints of the dataclass
from dataclasses import dataclass, field

from hepflows.classifier_presets import ClassifierPreset  # noqa: TC001 - shown by typing.get_type_hints of the dataclass
from hepflows.errors import ConfigError
from validation.gates import Gate  # noqa: TC001 - shown by typing.get_type_hints of the dataclass
from validation.suites import Suite, suite_named

CALOCHALLENGE = "calochallenge"
COMPATIBLE = (CALOCHALLENGE,)
"""Public evaluation codes whose conventions can be taken over."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to compare.

    Attributes:
        preset: how thoroughly everything is measured, a name of `validation.SUITES`; or an own `ClassifierPreset`,
            with the rest as in ``quick``.
        trainings: trainings of each classifier, None for the preset's number, 0 for no classifier test.
        epochs: epochs of each training, None for the preset's number.
        folds: k of a k-fold classifier test (at least 3), None for the independent splits of `trainings`.
        learning_curve: whether the classifier test is repeated with 1/8, 1/4 and 1/2 of the training events; None for
            the preset's choice.
        inputs: input sets of the classifier test, None for all the domain offers.
        bins: number of histogram bins, None for Rice's rule; published edges stay.
        condition_bins: number of bins of the condition for profiles.
        replicas: bootstrap replicas for the errors of distances, 0 for the preset's number.
        gates: limits by metric name or pattern.
        default_gates: whether the preset's gates count as well, for metrics that `gates` does not name.
        baseline_sigma: standard errors by which a metric may be worse than in an older report.
        options: settings of the domain, such as ``{"threshold_mev": 1.0}``.
        compat: follow the conventions of a public evaluation code where they differ from ours: ``calochallenge`` leaves
            entries beyond the histograms' edges out of separation powers; None counts them.
        reference_label: what the reference is called in pictures and tables; None for the domain's word.
        seed: seed of every random choice.
        device: torch device of the classifier.
    """

    preset: str | ClassifierPreset = "quick"
    trainings: int | None = None
    epochs: int | None = None
    folds: int | None = None
    learning_curve: bool | None = None
    inputs: tuple[str, ...] | None = None
    bins: int | None = None
    condition_bins: int = 5
    replicas: int = 0
    gates: Mapping[str, Gate] = field(default_factory=dict)
    default_gates: bool = False
    baseline_sigma: float = 4.0
    options: Mapping[str, float] = field(default_factory=dict)
    compat: str | None = None
    reference_label: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        suite = self.suite()
        if self.replicas == 0:
            object.__setattr__(self, "replicas", suite.replicas)
        if self.learning_curve is None:
            object.__setattr__(self, "learning_curve", suite.learning_curve)
        of_classifiers = (self.trainings, self.folds, self.epochs, self.inputs)
        if all(value is None for value in of_classifiers) and suite.classifier is None and isinstance(self.preset, str):
            object.__setattr__(self, "trainings", 0)
        for name, low in (
            ("trainings", 0),
            ("epochs", 1),
            ("folds", 3),
            ("bins", 2),
            ("condition_bins", 1),
            ("replicas", 2),
        ):
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError("setting too small", where=name, expected=f"{low} or more", found=value)
        self._refuse_pointless()
        if not 0 <= self.seed < 2**63:
            raise ConfigError("not a seed", where="seed", expected="0 <= seed < 2**63", found=self.seed)
        if self.compat is not None and self.compat not in COMPATIBLE:
            raise ConfigError(
                "unknown evaluation code",
                where="compat",
                expected=", ".join(COMPATIBLE),
                found=self.compat,
                remedy="leave it out for our own conventions",
            )
        self.classifier()

    def _refuse_pointless(self) -> None:
        """Refuse settings of which one leaves the other without effect.

        Raises:
            ConfigError: naming both.
        """
        if self.trainings and self.folds is not None:
            raise ConfigError("a k-fold test has as many trainings as folds", where="trainings", remedy="leave it out")
        if self.trainings == 0:
            asked = {"folds": self.folds, "inputs": self.inputs}
            if pointless := [name for name, value in asked.items() if value is not None]:
                raise ConfigError(
                    "without trainings there is no classifier test",
                    where=pointless[0],
                    remedy="leave it out, or ask for trainings",
                )

    def suite(self) -> Suite:
        """What the preset measures besides the classifier."""
        return suite_named(self.preset if isinstance(self.preset, str) else "quick")

    def classifier(self) -> ClassifierPreset:
        """The classifier preset with the overrides of these settings."""
        preset = self.suite().network() if isinstance(self.preset, str) else self.preset
        return dataclasses.replace(
            preset,
            trainings=self.folds or (preset.trainings if self.trainings is None else max(1, self.trainings)),
            epochs=preset.epochs if self.epochs is None else self.epochs,
        )
