"""Presets of the whole validation: which classifier, how many replicas, which gates.

See docs/validation.md for what each is good for.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - shown by typing.get_type_hints of the dataclass
from dataclasses import dataclass, field

from hepflows.classifier_presets import PRESETS, ClassifierPreset
from hepflows.errors import ConfigError
from validation.default_gates import JET_GATES, PUBLISHED_GATES, QUICK_GATES
from validation.gates import Gate  # noqa: TC001 - shown by typing.get_type_hints of the dataclass


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A preset of the validation.

    Attributes:
        name: its name.
        classifier: name of its classifier preset, None if it trains none unless the number of trainings is given.
        replicas: bootstrap replicas.
        neighbours: most events of a sample whose nearest neighbours are looked for.
        learning_curve: whether the classifier test is repeated with fewer training events.
        gates: default gates, by pattern.
    """

    name: str
    classifier: str | None
    replicas: int = 100
    neighbours: int = 5000
    learning_curve: bool = False
    gates: Mapping[str, Gate] = field(default_factory=dict)

    def network(self) -> ClassifierPreset:
        """The classifier preset, ``quick`` if there is none of its own."""
        return PRESETS[self.classifier or "quick"]


SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(name="quick", classifier="quick", gates=QUICK_GATES),
        Suite(name="caloflow", classifier="caloflow", replicas=200, gates=PUBLISHED_GATES),
        Suite(name="calochallenge", classifier="calochallenge", replicas=200, gates=PUBLISHED_GATES),
        Suite(
            name="full",
            classifier="full",
            replicas=400,
            neighbours=20_000,
            learning_curve=True,
            gates=PUBLISHED_GATES,
        ),
        Suite(name="jetnet", classifier=None, replicas=200, gates=JET_GATES),
    )
}
"""The presets by name."""


def suite_named(name: str) -> Suite:
    """The preset of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SUITES:
        raise ConfigError("unknown validation preset", expected=", ".join(SUITES), found=name)
    return SUITES[name]
