"""Exact log densities of showers under a trained generator, teacher or student."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from hepflows.density import density_with_residual
from hepflows.errors import ConfigError
from hepflows.philox import normal_noise, uniform_noise
from hepflows.sampler import evaluate_in_tiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from calofast.caloflow import CaloFlowModel

Precision = Literal["float32", "float64"]

DEQUANTISATION_STREAM = 0x44
"""Philox stream of the values that dark voxels are given."""

HITS_STREAM = 0x46
"""Philox stream of the fractions that numbers of hits are given."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """Natural logarithms of the densities of N showers.

    Attributes:
        layers: of Flow I, the layer energies and, if it learns them, the dequantised numbers of hits given the
            conditions, in MeV^-L; shape (N,).
        voxels: of Flow II, the voxels given these and the conditions, in MeV^-V; shape (N,).
        residual: largest deviation of a shower's standardised features after the way to latent space and back through
            both flows, shape (N,); see docs/sampling.md for what to expect.
    """

    layers: NDArray[np.float64]
    voxels: NDArray[np.float64]
    residual: NDArray[np.float64]


def evaluate_density(
    model: CaloFlowModel,
    voxels_mev: NDArray[np.float32],
    conditions: NDArray[np.float32],
    *,
    seed: int,
    first_event: int = 0,
    dtype: Precision = "float32",
    tile_done: Callable[[int], None] | None = None,
) -> Density:
    """Log densities of showers, evaluated in tiles of 256.

    Memory: 24 bytes a shower, and beside that about 20 kB a voxel and thread, however many showers there are. A
    shower's density follows from the shower, the seed and its index alone.

    Args:
        model: trained model in evaluation mode; it is not changed, float64 takes a copy.
        voxels_mev: shape (N, V).
        conditions: shape (N, C), physical.
        seed: of the dequantisation.
        first_event: index of the first shower.
        dtype: precision of the arithmetic.
        tile_done: called with the number of new showers as they are done.

    Raises:
        ConfigError: the precision is unknown.
    """
    if dtype not in get_args(Precision):
        raise ConfigError("unknown precision", where="dtype", expected=" or ".join(get_args(Precision)), found=dtype)
    if dtype == "float64":
        model = copy.deepcopy(model).double()
    device = model.conditions.low.device

    def evaluate(start: int, rows: NDArray[np.intp], _: slice) -> NDArray[np.float64]:
        inputs = (voxels_mev[rows], conditions[rows], *_noise(model, seed, start, len(rows)))
        with torch.no_grad():
            found = _densities(model, *(torch.from_numpy(array).to(model.conditions.low) for array in inputs))
        columns: NDArray[np.float64] = found.double().cpu().numpy()
        return columns

    if len(voxels_mev) == 0:
        none = np.empty(0)
        return Density(layers=none, voxels=none, residual=none)
    table = evaluate_in_tiles(evaluate, first_event, len(voxels_mev), device=device, tile_done=tile_done)
    layers, voxels, residual = np.ascontiguousarray(table.T)
    return Density(layers=layers, voxels=voxels, residual=residual)


def _noise(model: CaloFlowModel, seed: int, start: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Dequantisation noise of the events from `start` on: of voxels (count, V), of numbers of hits (count, L)."""
    draw = normal_noise if model.voxels.config.voxels == "log" else uniform_noise
    voxels: NDArray[Any] = draw(seed, start, count, model.n_voxels, stream=DEQUANTISATION_STREAM)
    return voxels, uniform_noise(seed, start, count, model.n_layers, stream=HITS_STREAM)


def _densities(
    model: CaloFlowModel, voxels_mev: torch.Tensor, conditions: torch.Tensor, noise: torch.Tensor, hits: torch.Tensor
) -> Any:
    """Columns of `Density`, shape (N, 3)."""
    dequantised = model.voxels.dequantise(voxels_mev, noise)
    totals = model.totals(voxels_mev, dequantised, hits)
    standard = model.conditions(conditions)
    u, log_layers = model.layer_energies.to_model_space(totals, conditions[:, 0], standard)
    first = density_with_residual(model.layer_energies.flow, u, standard)
    context = model.context(conditions, totals)
    learnt, log_spectrum = model.voxels.before_spectrum(dequantised)
    y, log_voxels = model.voxels(learnt, totals[:, : model.n_layers], context)
    second = density_with_residual(model.shower_flow, y, context)
    residual = torch.maximum(first.residual, second.residual)
    return torch.stack([first.log_prob + log_layers, second.log_prob + log_voxels + log_spectrum, residual], dim=1)
