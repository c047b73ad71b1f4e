"""What is learnt of a trained generator's own showers before it is used: ranges of voxels and their spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.dataset import ShowerTensors
    from calofast.generator import CaloGenerator

_PASSES = 8  # over the training showers, each mirrored at random
_CHUNK = 2000
_NUMBERS = 2e7  # voxels that are generated at most
_ROUNDS = 3  # restoring the layers' sums moves the spectrum a little


@torch.no_grad()
def calibrate(generator: CaloGenerator, data: ShowerTensors) -> None:
    """Set ranges and spectrum of a generator, which is changed, as its configuration ``[sampling]`` wants it.

    Args:
        generator: freshly trained.
        data: its training data.
    """
    settings, seed = generator.config.sampling, generator.config.seed
    if settings.limit_voxels:
        with seeded(seed):
            _limit(generator, data)
    if settings.map_spectrum and generator.config.preprocessing.voxels == "log":
        _map_spectrum(generator, data)


def _limit(generator: CaloGenerator, data: ShowerTensors) -> None:
    model, device = generator.model, generator.model.voxels.lowest.device
    rows = torch.arange(len(data.train))
    lowest, highest = [], []
    for _ in range(_PASSES if len(data.mirrors) > 1 else 1):
        for part in rows.split(_CHUNK):
            y, _ = model.prepare_voxels(*(tensor.to(device) for tensor in data.training_batch(part)))
            lowest.append(y.amin(0))
            highest.append(y.amax(0))
    model.voxels.limit(torch.stack([*lowest, *highest]))


def _map_spectrum(generator: CaloGenerator, data: ShowerTensors) -> None:
    voxels, spectrum = generator.model.voxels, generator.model.voxels.spectrum
    count = max(1, min(len(data.train), int(_NUMBERS / generator.model.n_voxels)))
    rows = data.train[:count]
    conditions = data.conditions[rows].cpu().numpy()
    given = dict(zip(generator.condition_names, conditions.T, strict=True))
    threshold, layer = voxels.config.threshold_mev, generator.geometry.layer_index
    real = _lit(data.voxels_mev[rows].cpu().numpy(), layer, threshold)
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
