"""Jets as tensors: training and validation part, conditions, valid range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.errors import DataError
from hepflows.train.split import Split, split_events
from jetgen.preprocessing import Constituents

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.config import JetFlowConfig
    from jetgen.jets import Jets

_MIN_TRAINING = 100


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """What trainings know of all jets, on the training device.

    Attributes:
        n_slots: P.
        conditions: shape (N, C), physical.
        mass: shape (N,), float64.
        multiplicities: numbers of constituents, shape (N,).
        train: indices of the training jets.
        validation: indices of the held-out jets.
        valid: shape (2, C), range in which the conditions may be used later.
    """

    n_slots: int
    conditions: Tensor
    mass: Tensor
    multiplicities: Tensor
    train: Tensor
    validation: Tensor
    valid: Tensor

    def multiplicity(self, index: Tensor) -> Tensor:
        """Numbers of constituents of the training jets with these numbers."""
        return self.multiplicities[self.train[index.to(self.train.device)]]


@dataclass(frozen=True, kw_only=True)
class JetTensors(TrainingPart):
    """Training data of which all are in memory.

    Attributes:
        constituents: ordered by pT, shapes (N, P), on the training device.
    """

    constituents: Constituents

    @property
    def order(self) -> None:
        """Any order will do."""
        return None

    def batch(self, rows: Tensor) -> tuple[Constituents, Tensor]:
        """Constituents and conditions of these jets."""
        rows = rows.to(self.train.device)
        return self.constituents.rows(rows), self.conditions[rows]

    def training_batch(self, index: Tensor) -> tuple[Constituents, Tensor]:
        """The training jets with these numbers."""
        return self.batch(self.train[index.to(self.train.device)])

    def validation_batch(self, index: Tensor) -> tuple[Constituents, Tensor]:
        """The held-out jets with these numbers."""
        return self.batch(self.validation[index.to(self.train.device)])

    def fitting_sample(self) -> tuple[Constituents, Tensor]:
        """Constituents and masses of the jets that preprocessing is fitted to: all training jets."""
        return self.constituents.rows(self.train), self.mass[self.train]


def make_tensors(jets: Jets, config: JetFlowConfig, device: str) -> JetTensors:
    """Order, split and convert jets.

    Raises:
        DataError: too few jets, constituents without pT, or jets without a mass where the mass is a condition.
    """
    file = jets.provenance.get("file")
    require_pt(jets, where=file)
    jets = jets.ordered()
    _, part = training_part(jets.mass_rel, jets.multiplicity, jets.n_slots, config, device, file=file)
    arrays = (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask)
    constituents = Constituents(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))
    return JetTensors(**vars(part), constituents=constituents)


def require_pt(jets: Jets, *, where: str | None, first: int = 0) -> None:
    """Refuse constituents without transverse momentum, of which a flow sees the logarithm.

    Args:
        jets: that train.
        where: their file.
        first: number of the first one, for the message.

    Raises:
        DataError: naming the first one.
    """
    wrong = jets.mask & ~(jets.pt_rel > 0)
    if wrong.any():
        jet, slot = (int(number) for number in np.argwhere(wrong)[0])
        raise DataError(
            "a constituent has no pT",
            where=f"{where or 'jets'}: jet {first + jet}, constituent {slot}",
            expected="pT above 0 wherever the mask is set",
            found=f"pT {jets.pt_rel[jet, slot]:g} ({int(wrong.sum())} of {int(jets.mask.sum())} constituents)",
            remedy="take such constituents out of the mask",
        )


def training_part(
    mass: NDArray[np.float64],
    multiplicity: NDArray[np.int64],
    n_slots: int,
    config: JetFlowConfig,
    device: str,
    *,
    file: str | None,
    most_held_out: int | None = None,
) -> tuple[Split, TrainingPart]:
    """Split jets, and convert what is known of all of them.

    Args:
        mass: relative masses, shape (N,).
        multiplicity: shape (N,).
        n_slots: P.
        config: complete configuration.
        device: torch device.
        file: where the jets come from.
        most_held_out: largest number of validation jets; None: no limit.

    Raises:
        DataError: as `make_tensors`.
    """
    fraction = config.data.validation_fraction
    split = split_events(
        len(mass),
        fraction if most_held_out is None else min(fraction, most_held_out / len(mass)),
        seed=config.seed,
        at_least=_MIN_TRAINING,
        what="jets",
        where=file,
    )
    columns = np.stack([mass, multiplicity], axis=1)[:, : len(config.conditions)].astype(np.float32)
    return split, TrainingPart(
        n_slots=n_slots,
        conditions=torch.from_numpy(columns).to(device),
        mass=torch.from_numpy(mass).to(device),
        multiplicities=torch.from_numpy(multiplicity).to(device),
        train=torch.from_numpy(split.train).to(device),
        validation=torch.from_numpy(split.validation).to(device),
        valid=torch.from_numpy(_valid_range(columns, n_slots)).to(device),
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
