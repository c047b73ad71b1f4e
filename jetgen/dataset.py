"""Jets as tensors: training and validation part, conditions, valid range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.errors import DataError
from hepflows.train.split import split_events
from jetgen.preprocessing import Constituents

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.config import JetFlowConfig
    from jetgen.jets import Jets

_MIN_TRAINING = 100


@dataclass(frozen=True)
class JetTensors:
    """Training data on the training device.

    Attributes:
        constituents: ordered by pT, shapes (N, P).
        conditions: shape (N, C), physical.
        mass: shape (N,), float64.
        train: indices of the training jets.
        validation: indices of the held-out jets.
        valid: shape (2, C), range in which the conditions may be used later.
    """

    constituents: Constituents
    conditions: Tensor
    mass: Tensor
    train: Tensor
    validation: Tensor
    valid: Tensor

    def batch(self, rows: Tensor) -> tuple[Constituents, Tensor]:
        """Constituents and conditions of these jets."""
        rows = rows.to(self.train.device)
        c = self.constituents
        return Constituents(c.eta[rows], c.phi[rows], c.pt[rows], c.mask[rows]), self.conditions[rows]

    def multiplicity(self, index: Tensor) -> Tensor:
        """Numbers of constituents of the training jets with these numbers."""
        return self.constituents.mask[self.train[index.to(self.train.device)]].sum(1)

    def training_batch(self, index: Tensor) -> tuple[Constituents, Tensor]:
        """The training jets with these numbers."""
        return self.batch(self.train[index.to(self.train.device)])


def make_tensors(jets: Jets, config: JetFlowConfig, device: str) -> JetTensors:
    """Order, split and convert jets.

    Raises:
        DataError: too few jets, or jets without a mass where the mass is a condition.
    """
    jets = jets.ordered()
    split = split_events(
        len(jets),
        config.data.validation_fraction,
        seed=config.seed,
        at_least=_MIN_TRAINING,
        what="jets",
        where=jets.provenance.get("file"),
    )
    mass = jets.mass_rel
    columns = np.stack([mass, jets.multiplicity], axis=1)[:, : len(config.conditions)].astype(np.float32)
    arrays = (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask)
    return JetTensors(
        constituents=Constituents(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)),
        conditions=torch.from_numpy(columns).to(device),
        mass=torch.from_numpy(mass).to(device),
        train=torch.from_numpy(split.train).to(device),
        validation=torch.from_numpy(split.validation).to(device),
        valid=torch.from_numpy(_valid_range(columns, jets.n_slots)).to(device),
    )


def _valid_range(columns: NDArray[np.float32], n_slots: int) -> NDArray[np.float32]:
    """Range of masses and multiplicities, a tenth wider: tails go on where the sample ends.

    Mass 0 is inside if there are jets of single constituents.
    """
    if not columns.shape[1]:
        return np.zeros((2, 0), dtype=np.float32)
    has_mass = columns[:, 0] > 0
    if not has_mass.any():
        raise DataError("no jet has a mass", expected="jets with two or more constituents")
    valid = np.stack([columns.min(axis=0), columns.max(axis=0)])
    least = 0.9 * columns[has_mass, 0].min() if has_mass.all() else 0.0
    valid[:, 0] = least, 1.1 * columns[has_mass, 0].max()
    if columns.shape[1] > 1:
        valid[:, 1] = max(1.0, valid[0, 1] - round(0.1 * n_slots)), min(float(n_slots), valid[1, 1])
    return valid.astype(np.float32)
