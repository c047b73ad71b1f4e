"""Architectures and training settings of the classifier test, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hepflows.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ClassifierPreset:
    """Architecture and training of the classifier.

    Attributes:
        name: name stated beside every result.
        hidden: units of the hidden layers, LeakyReLU between them, no dropout.
        negative_slope: slope of LeakyReLU for negative arguments.
        learning_rate: of Adam.
        batch_size: events per step, both classes together.
        epochs: passes over the training part; the epoch with the best validation accuracy is kept.
        trainings: independent trainings (initialisation and split), for mean and spread.
        decay: let the learning rate fall to zero, by half a cosine over the epochs: densities want the last percent.
        standardise: scale every input to mean 0 and deviation 1 of the training part.
    """

    name: str
    hidden: tuple[int, ...]
    negative_slope: float = 0.01
    learning_rate: float
    batch_size: int
    epochs: int
    trainings: int
    decay: bool = False
    standardise: bool = False


_ROWS: Final = (
    ("quick", (128, 128), 1e-3, 250, 20, 3, True),
    ("full", (512, 512, 512), 1e-3, 500, 50, 5, True),
    ("caloflow", (512, 512, 512), 1e-3, 1000, 150, 10, False),
    ("calochallenge", (2048, 2048, 2048), 2e-4, 1000, 50, 10, False),
)
"""Name, hidden units, learning rate, batch size, epochs, trainings, whether inputs are standardised."""

PRESETS: Final = {
    name: ClassifierPreset(
        name=name,
        hidden=hidden,
        learning_rate=rate,
        batch_size=batch,
        epochs=epochs,
        trainings=trainings,
        standardise=scaled,
    )
    for name, hidden, rate, batch, epochs, trainings, scaled in _ROWS
}
"""`caloflow`: arXiv 2106.05285; `calochallenge`: arXiv 2410.21611; `quick`: small, for demonstrations;
`full`: between the two, inputs standardised."""


def preset_named(name: str) -> ClassifierPreset:
    """The preset of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError("unknown classifier preset", expected=", ".join(PRESETS), found=name)
    return PRESETS[name]
