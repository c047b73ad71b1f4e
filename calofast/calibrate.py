"""What is learnt of a trained generator's own showers before it is used: ranges of voxels and their spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from calofast.dataset import mirrored
from hepflows.train.seeding import seeded
from hepflows.train.split import chosen_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from calofast.caloflow import CaloFlowModel
    from calofast.dataset import ShowerTensors
    from calofast.generator import CaloGenerator
    from calofast.streamed import StreamedTensors

_PASSES = 8  # over the training showers, each mirrored at random
_CHUNK = 2000
_NUMBERS = 2e7  # voxels that are generated at most
_ROUNDS = 3  # restoring the layers' sums moves the spectrum a little


@torch.no_grad()
def calibrate(generator: CaloGenerator, data: ShowerTensors | StreamedTensors) -> None:
    """Set ranges and spectrum of a generator, which is changed, as its configuration ``[sampling]`` wants it.

    Args:
        generator: freshly trained.
        data: its training data.
    """
    settings, preprocessing = generator.config.sampling, generator.config.preprocessing
    if not (settings.limit_voxels or settings.map_spectrum):
        return
    voxels_mev, conditions = data.fitting_sample(preprocessing.threshold_mev)
    if settings.limit_voxels:
        with seeded(generator.config.seed):
            _limit(generator.model, voxels_mev, conditions, data.mirrors)
    if settings.map_spectrum and preprocessing.voxels == "log":
        _map_spectrum(generator, voxels_mev, conditions)


def _limit(model: CaloFlowModel, voxels_mev: Tensor, conditions: Tensor, mirrors: Tensor) -> None:
    device = model.voxels.lowest.device
    ends = []
    for _ in range(_PASSES if len(mirrors) > 1 else 1):
        for part, given in zip(voxels_mev.split(_CHUNK), conditions.split(_CHUNK), strict=True):
            y, _ = model.prepare_voxels(mirrored(part, mirrors).to(device), given.to(device))
            ends += [y.amin(0), y.amax(0)]
    model.voxels.limit(torch.stack(ends))


def _map_spectrum(generator: CaloGenerator, voxels_mev: Tensor, conditions: Tensor) -> None:
    voxels, spectrum = generator.model.voxels, generator.model.voxels.spectrum
    most = max(1, int(_NUMBERS / generator.model.n_voxels))
    rows = torch.from_numpy(chosen_rows(len(voxels_mev), most, seed=generator.config.seed)).to(voxels_mev.device)
    given = dict(zip(generator.condition_names, conditions[rows].cpu().numpy().T, strict=True))
    threshold, layer = voxels.config.threshold_mev, generator.geometry.layer_index
    real = _lit(voxels_mev[rows].cpu().numpy(), layer, threshold)
    spectrum.note_sparse([len(values) / (len(rows) * (layer == number).sum()) for number, values in enumerate(real)])
    spectrum.reset()
    for number in range(_ROUNDS):
        showers = generator.sample(given, seed=generator.config.seed + number, out_of_range="clamp")
        spectrum.compose(_lit(showers.voxels_mev, layer, threshold), real)


def _lit(voxels_mev: NDArray[np.float32], layer: NDArray[np.int64], threshold: float) -> list[NDArray[np.float32]]:
    """For each layer log(v / threshold) of the voxels that reach the threshold."""
    found = []
    for number in range(int(layer.max()) + 1):
        values = voxels_mev[:, layer == number]
        found.append(np.log(values[values >= threshold] / np.float32(threshold)))
    return found
