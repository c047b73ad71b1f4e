"""Showers as tensors: training and validation part, conditions, mirrored copies, valid range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.draws import integers
from hepflows.errors import ConditionError, ConfigError, GeometryError
from hepflows.train.split import split_events

if TYPE_CHECKING:
    from torch import Tensor

    from calofast.config import CaloFlowConfig
    from calofast.showers import Showers

_MIN_TRAINING = 20


@dataclass(frozen=True)
class ShowerTensors:
    """Training data on the training device.

    Attributes:
        voxels_mev: shape (N, V).
        conditions: shape (N, C), physical, the incident energy in GeV first.
        train: indices of the training showers.
        validation: indices of the held-out showers.
        mirrors: voxel permutations (M, V) under which the detector is symmetric; row 0 is the identity.
        valid: shape (2, C), range in which the conditions may be used later.
    """

    voxels_mev: Tensor
    conditions: Tensor
    train: Tensor
    validation: Tensor
    mirrors: Tensor
    valid: Tensor

    def training_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of training showers, each mirrored at random (torch's generator)."""
        rows = self.train[index.to(self.train.device)]
        voxels = self.voxels_mev[rows]
        if len(self.mirrors) > 1:
            choice = integers(len(self.mirrors), len(rows), device=voxels.device)
            voxels = voxels.gather(1, self.mirrors[choice])
        return voxels, self.conditions[rows]

    def validation_batch(self) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of all held-out showers."""
        return self.voxels_mev[self.validation], self.conditions[self.validation]


def make_tensors(showers: Showers, config: CaloFlowConfig, device: str) -> ShowerTensors:
    """Split and convert showers.

    Raises:
        ConditionError: a configured condition is not in the data.
        ConfigError: the hit threshold lies above all data.
        DataError: too few showers.
        GeometryError: a configured mirror is no symmetry of the geometry.
    """
    names = config.data.conditions
    if missing := [name for name in names[1:] if name not in showers.conditions]:
        raise ConditionError(
            "a configured condition is not in the data",
            where=f"data.conditions: {missing[0]}",
            found=", ".join(["incident_energy_gev", *showers.conditions]),
        )
    split = split_events(
        len(showers),
        config.data.validation_fraction,
        seed=config.seed,
        at_least=_MIN_TRAINING,
        what="showers",
        where=showers.provenance.get("file"),
    )
    if float(showers.voxels_mev.max()) < config.preprocessing.threshold_mev:
        raise ConfigError(
            "no voxel of the data reaches the hit threshold",
            where="preprocessing.threshold_mev",
            expected=f"below {float(showers.voxels_mev.max()):g} MeV, the largest voxel",
            found=config.preprocessing.threshold_mev,
            remedy="lower the threshold, or check the units of the data",
        )
    columns = [showers.incident_energy_gev, *(showers.conditions[name] for name in names[1:])]
    conditions = np.stack(columns, axis=1).astype(np.float32)
    return ShowerTensors(
        voxels_mev=torch.from_numpy(np.ascontiguousarray(showers.voxels_mev)).to(device),
        conditions=torch.from_numpy(conditions).to(device),
        train=torch.from_numpy(split.train).to(device),
        validation=torch.from_numpy(split.validation).to(device),
        mirrors=torch.from_numpy(_mirrors(showers, config)).to(device),
        valid=torch.from_numpy(_valid_range(conditions, config)).to(device),
    )


def _mirrors(showers: Showers, config: CaloFlowConfig) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """All products of the configured mirrors, the identity first."""
    known = showers.geometry.mirrors()
    table = [np.arange(showers.geometry.n_voxels, dtype=np.int64)]
    for name in config.preprocessing.mirrors:
        if name not in known:
            raise GeometryError(
                f"the geometry has no symmetry {name}",
                where="preprocessing.mirrors",
                expected=", ".join(known) or "none",
                found=showers.geometry.name,
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
