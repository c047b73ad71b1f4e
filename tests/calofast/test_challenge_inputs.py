"""The published high-level inputs, column by column."""

from __future__ import annotations

import numpy as np

from calofast.geometry import calochallenge
from calofast.observables import OBSERVABLES
from calofast.showers import Showers


def test_high_inputs_of_the_calochallenge_are_the_published_ones():
    geometry = calochallenge("photons")
    rng = np.random.default_rng(0)
    voxels = rng.exponential(5.0, (30, geometry.n_voxels)) * (rng.random((30, geometry.n_voxels)) < 0.5)
    voxels[0] = 0.0
    energies = rng.uniform(1, 100, 30)
    showers = Showers(geometry=geometry, incident_energy_gev=energies, voxels_mev=voxels.astype(np.float32))
    features = OBSERVABLES.classifier_inputs(showers, preset="calochallenge", inputs="high", threshold_mev=0.0)
    columns = [np.log10(1e3 * energies), voxels.sum(1) / (1e3 * energies)]
    for layer, part in zip(geometry.layers, geometry.layer_slices, strict=True):
        cells = voxels[:, part]
        energy = cells.sum(1)
        columns += [np.log10(energy + 1e-8), (cells > 0).mean(1)]
        if layer.n_alpha > 1:
            for position in (geometry.x_mm[part], geometry.y_mm[part], geometry.r_mm[part]):
                safe = np.where(energy > 0, energy, 1.0)
                mean = cells @ position / safe
                square = cells @ position**2 / safe
                columns += [mean / 100, np.sqrt(np.maximum(0, square - mean**2)) / 100]
    expected = np.stack(columns, axis=1)
    # five layers, two of them in bins of the angle: 1 + 1 + 5 * 2 + 2 * 6
    assert features.shape == expected.shape == (30, 24)
    np.testing.assert_allclose(features, expected, rtol=2e-4, atol=2e-5)
    assert features.dtype == np.float32
    every = OBSERVABLES.classifier_inputs(showers, preset="quick", inputs="high", threshold_mev=0.0)
    assert every.shape[1] > features.shape[1]
