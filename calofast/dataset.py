"""Showers as tensors: training and validation part, conditions, mirrored copies, valid range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.draws import integers
from hepflows.errors import ConditionError, ConfigError, GeometryError
from hepflows.train.split import Split, split_events

if TYPE_CHECKING:
    from torch import Tensor

    from calofast.config import CaloFlowConfig
    from calofast.geometry import Geometry
    from calofast.showers import Showers
    from calofast.streamed import StreamedShowers

_MIN_TRAINING = 20


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """What trainings know of all showers, on the training device.

    Attributes:
        conditions: shape (N, C), physical, the incident energy in GeV first.
        train: indices of the training showers.
        validation: indices of the held-out showers.
        mirrors: voxel permutations (M, V) under which the detector is symmetric; row 0 is the identity.
        valid: shape (2, C), range in which the conditions may be used later.
    """

    conditions: Tensor
    train: Tensor
    validation: Tensor
    mirrors: Tensor
    valid: Tensor


@dataclass(frozen=True, kw_only=True)
class ShowerTensors(TrainingPart):
    """Training data of which all are in memory.

    Attributes:
        voxels_mev: shape (N, V), on the training device.
    """

    voxels_mev: Tensor

    @property
    def order(self) -> None:
        """Any order will do."""
        return None

    @property
    def in_memory(self) -> int:
        """Training showers that memory holds at once."""
        return len(self.train)

    def training_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of training showers, each mirrored at random (torch's generator)."""
        rows = self.train[index.to(self.train.device)]
        return mirrored(self.voxels_mev[rows], self.mirrors), self.conditions[rows]

    def validation_batch(self) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of all held-out showers."""
        return self.voxels_mev[self.validation], self.conditions[self.validation]

    def fitting_sample(self, threshold_mev: float) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of the training showers, to which preprocessing is fitted.

        Raises:
            ConfigError: no voxel reaches the threshold.
        """
        require_lit(float(self.voxels_mev.max()), threshold_mev)
        return self.voxels_mev[self.train], self.conditions[self.train]


def mirrored(voxels: Tensor, mirrors: Tensor) -> Tensor:
    """Voxels (N, V), each shower mirrored at random by one of the permutations (M, V)."""
    if len(mirrors) < 2:
        return voxels
    choice = integers(len(mirrors), len(voxels), device=voxels.device)
    return voxels.gather(1, mirrors[choice])


def make_tensors(showers: Showers, config: CaloFlowConfig, device: str) -> ShowerTensors:
    """Split and convert showers.

    Raises:
        ConditionError: a configured condition is not in the data.
        DataError: too few showers.
        GeometryError: a configured mirror is no symmetry of the geometry.
    """
    _, common = training_part(showers, config, device)
    return ShowerTensors(
        **vars(common), voxels_mev=torch.from_numpy(np.ascontiguousarray(showers.voxels_mev)).to(device)
    )


def training_part(
    showers: Showers | StreamedShowers, config: CaloFlowConfig, device: str, *, most_held_out: int | None = None
) -> tuple[Split, TrainingPart]:
    """Split showers, and convert what is known of all of them.

    Args:
        showers: training and validation showers.
        config: complete configuration.
        device: torch device.
        most_held_out: largest number of validation showers; None: no limit.

    Raises:
        ConditionError, DataError, GeometryError: as `make_tensors`.
    """
    names = config.data.conditions
    if missing := [name for name in names[1:] if name not in showers.conditions]:
        raise ConditionError(
            "a configured condition is not in the data",
            where=f"data.conditions: {missing[0]}",
            found=", ".join(["incident_energy_gev", *showers.conditions]),
        )
    fraction = config.data.validation_fraction
    split = split_events(
        len(showers),
        fraction if most_held_out is None else min(fraction, most_held_out / len(showers)),
        seed=config.seed,
        at_least=_MIN_TRAINING,
        what="showers",
        where=showers.provenance.get("file"),
    )
    columns = [showers.incident_energy_gev, *(showers.conditions[name] for name in names[1:])]
    conditions = np.stack(columns, axis=1).astype(np.float32)
    return split, TrainingPart(
        conditions=torch.from_numpy(conditions).to(device),
        train=torch.from_numpy(split.train).to(device),
        validation=torch.from_numpy(split.validation).to(device),
        mirrors=torch.from_numpy(_mirrors(showers.geometry, config)).to(device),
        valid=torch.from_numpy(_valid_range(conditions, config)).to(device),
    )


def require_lit(largest_mev: float, threshold_mev: float) -> None:
    """Refuse a hit threshold above all voxels of the data.

    Raises:
        ConfigError: it is.
    """
    if largest_mev < threshold_mev:
        raise ConfigError(
            "no voxel of the data reaches the hit threshold",
            where="preprocessing.threshold_mev",
            expected=f"below {largest_mev:g} MeV, the largest voxel",
            found=threshold_mev,
            remedy="lower the threshold, or check the units of the data",
        )


def _mirrors(geometry: Geometry, config: CaloFlowConfig) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """All products of the configured mirrors, the identity first."""
    known = geometry.mirrors()
    table = [np.arange(geometry.n_voxels, dtype=np.int64)]
    for name in config.preprocessing.mirrors:
        if name not in known:
            raise GeometryError(
                f"the geometry has no symmetry {name}",
                where="preprocessing.mirrors",
                expected=", ".join(known) or "none",
                found=geometry.name,
            )
        table += [row[known[name]] for row in table]
    return np.stack(table)


def _valid_range(
    conditions: np.ndarray[tuple[int, int], np.dtype[np.float32]], config: CaloFlowConfig
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Range of the data, widened by what so many showers cannot resolve: ten mean distances at each end.

    A configured energy range is taken as it is.
    """
    low, high = conditions.min(axis=0), conditions.max(axis=0)
    margin = 10 * (high - low) / len(conditions)
    valid = np.stack([low - margin, high + margin])
    valid[0, 0] = max(valid[0, 0], 0.5 * low[0])
    if config.data.energy_range_gev is not None:
        valid[:, 0] = config.data.energy_range_gev
    return valid.astype(np.float32)
