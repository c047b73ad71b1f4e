"""Correlations of occupancy between neighbours: made-up showers whose correlations are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calofast as cf
from benchmarks import neighbour_correlations
from benchmarks.neighbour_correlations import correlations


def showers(lit, energies):
    geometry = cf.calogan()
    return cf.Showers(
        geometry=geometry,
        incident_energy_gev=energies.astype(np.float32),
        voxels_mev=np.where(lit, 1.0, 0.0).astype(np.float32),
    )


def test_cells_that_share_light_are_correlated_and_others_are_not():
    rng = np.random.default_rng(1)
    n = 8000
    lit = rng.random((n, 504)) < 0.3
    strips = lit[:, :288].reshape(n, 3, 96)
    copied = rng.random((n, 3, 95)) < 0.5
    strips[:, :, 1:] = np.where(copied, strips[:, :, :-1], strips[:, :, 1:])  # of the original neighbour
    found = correlations(showers(lit, rng.uniform(1, 100, n)))
    assert found["0 0 1"] == pytest.approx(0.25, abs=0.01)  # one keeps its own light and the next one copies it
    assert abs(found["0 0 2"]) < 0.01
    assert abs(found["1 1 0"]) < 0.01


def test_the_energy_alone_makes_no_correlation():
    rng = np.random.default_rng(2)
    energies = rng.choice([5.0, 80.0], 6000)
    lit = rng.random((6000, 504)) < np.where(energies > 50, 0.8, 0.1)[:, None]
    found = correlations(showers(lit, energies))
    assert max(abs(value) for value in found.values()) < 0.01


def test_the_command(tmp_path, capsys):
    file = tmp_path / "found.json"
    path = str(cf.embedded_showers_path())
    assert neighbour_correlations.main([path, "--read", "first=1000", "--json", str(file)]) == 0
    value = json.loads(file.read_text())["reference"]["0 0 1"]
    assert f"| 0, (0, 1) | {value:.3f} |" in capsys.readouterr().out
    assert 0.15 < value < 0.3
    assert neighbour_correlations.main([path, "--generators", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
