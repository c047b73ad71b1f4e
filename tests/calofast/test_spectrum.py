"""The map of a voxel spectrum: monotone, invertible with its slope, local, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

import calofast as cf
from calofast.calibrate import calibrate
from calofast.config import CaloFlowConfig
from calofast.dataset import make_tensors
from calofast.spectrum import SpectrumMap
from hepflows.config import build

SIZES = (3, 2)
TINY = {
    "coupling": {"blocks": 2, "width": 16, "training": {"epochs": 2}},
    "layer_energies": {"blocks": 2, "hidden": [16], "training": {"epochs": 3}},
    "preprocessing": {"mirrors": ["mirror_x", "mirror_y"]},
}


def _smeared(rng: np.random.Generator, count: int) -> np.ndarray:
    """An edge at zero and a line at 3, as a flow would make them."""
    return np.abs(np.concatenate([rng.exponential(1.5, count), rng.normal(3, 0.2, count // 4)]))


def _sharp(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([0.3 + rng.exponential(1.4, count), rng.normal(3, 0.01, count // 4)])


@pytest.fixture
def mapped() -> SpectrumMap:
    """First layer: spectra of one shape; second layer: the sharp one made of the smeared one."""
    rng = np.random.default_rng(1)
    found = SpectrumMap(SIZES).double()
    same = rng.exponential(1.5, 40_000)
    found.compose([same, _smeared(rng, 40_000)], [same[::-1], _sharp(rng, 40_000)])
    return found


def test_the_identity_at_the_start_and_far_above_the_threshold(mapped: SpectrumMap) -> None:
    u = torch.linspace(0, 25, 1000).expand(5, -1).T
    start = SpectrumMap(SIZES)
    torch.testing.assert_close(start(u), u)
    raw, log_slope = start.inverse(u)
    torch.testing.assert_close(raw, u)
    torch.testing.assert_close(log_slope, torch.zeros_like(u), atol=1e-4, rtol=0)
    far = (torch.full((1, 5), 12.0) + torch.tensor([[0.0], [1.0], [30.0]])).double()
    torch.testing.assert_close(mapped(far), far)


def test_round_trip_slopes_and_order(mapped: SpectrumMap) -> None:
    torch.manual_seed(1)
    u = (13 * torch.rand(400, 5, dtype=torch.float64)).requires_grad_()
    v = mapped(u)
    (slope,) = torch.autograd.grad(v.sum(), u)
    raw, log_slope = mapped.inverse(v.detach())
    torch.testing.assert_close(raw, u.detach(), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(log_slope, -slope.log(), atol=1e-5, rtol=1e-5)
    assert (v - u).abs().max() <= 1.0
    for column in range(5):
        order = u[:, column].argsort()
        assert (v[order, column].diff() > 0).all()


def test_quantiles_become_those_of_the_data(mapped: SpectrumMap) -> None:
    rng = np.random.default_rng(2)
    made, real = _smeared(rng, 20_000), _sharp(rng, 20_000)
    u = torch.from_numpy(np.repeat(made[:, None], 5, 1))
    found = mapped(u).numpy()
    assert np.abs(found[:, 0] - made).max() < 1e-5
    assert ks_2samp(made, real).statistic > 0.1
    assert ks_2samp(found[:, 4], real).statistic < 0.02
    shares = [np.mean(np.abs(values - 3) < 0.03) for values in (made, real, found[:, 4])]
    assert shares[0] < 0.1 < shares[1] == pytest.approx(shares[2], abs=0.03)


def test_few_voxels_change_nothing() -> None:
    found = SpectrumMap(SIZES)
    found.compose([np.ones(10), np.ones(0)], [np.full(10, 1.2), np.full(500, 1.2)])
    assert torch.equal(found.table, SpectrumMap(SIZES).table)


@pytest.fixture(scope="module")
def trained() -> tuple[cf.Showers, CaloFlowConfig, object]:
    showers = cf.read_showers(cf.embedded_showers_path(), first=400)
    config = build(CaloFlowConfig, {"architecture": "coupling", **TINY}, where="test")
    return showers, config, cf.fit(cf.CaloFlow(showers.geometry, config), showers)


def test_a_generator_has_the_spectrum_of_its_data_and_keeps_to_their_range(trained) -> None:
    showers, config, generator = trained
    threshold, layer = config.preprocessing.threshold_mev, showers.geometry.layer_index

    def distances() -> np.ndarray:
        made = generator.sample(showers.incident_energy_gev, seed=9, out_of_range="clamp")
        found = []
        for number in range(3):
            lit = [s.voxels_mev[:, layer == number] for s in (showers, made)]
            found.append(ks_2samp(*(np.log(values[values > threshold]) for values in lit)).statistic)
        assert made.layer_energies_mev == pytest.approx(made.voxels_mev @ np.eye(3)[layer], rel=1e-4)
        return np.array(found)

    with_map = distances()
    voxels = generator.model.voxels
    table, lowest, highest = voxels.spectrum.table.clone(), voxels.lowest.clone(), voxels.highest.clone()
    voxels.spectrum.reset()
    assert (with_map < distances() - 0.005).all()
    data = make_tensors(showers, config, "cpu")
    y, _ = generator.model.prepare_voxels(*data.training_batch(torch.arange(len(data.train))))
    assert ((y >= lowest) & (y <= highest)).double().mean() > 0.9999  # dark voxels are drawn anew
    assert torch.equal(voxels.within_range(torch.full_like(y[:1], 1e6))[0], highest)
    calibrate(generator, data)
    torch.testing.assert_close(voxels.spectrum.table, table, atol=1e-4, rtol=1e-4)


def test_neither_if_it_is_not_wanted(trained) -> None:
    showers, config, generator = trained
    off = config.model_copy(update={"sampling": type(config.sampling)(limit_voxels=False, map_spectrum=False)})
    plain = cf.fit(cf.CaloFlow(showers.geometry, off), showers).model.voxels
    assert torch.isinf(plain.highest).all()
    assert torch.equal(plain.spectrum.table, SpectrumMap(showers.geometry.layer_sizes).table)
    assert not torch.equal(generator.model.voxels.spectrum.table, plain.spectrum.table)


def test_the_map_is_learnt_from_all_energies_of_a_sorted_file(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    showers, config, generator = trained
    by_energy = showers.select(np.argsort(showers.incident_energy_gev))
    monkeypatch.setattr("calofast.calibrate._NUMBERS", 100 * generator.model.n_voxels)
    seen: list[np.ndarray] = []
    sample = cf.CaloGenerator.sample

    def recorded(self, conditions, **how):
        seen.append(conditions["incident_energy_gev"])
        return sample(self, conditions, **how)

    monkeypatch.setattr(cf.CaloGenerator, "sample", recorded)
    calibrate(generator, make_tensors(by_energy, config, "cpu"))
    assert {len(energies) for energies in seen} == {100}
    assert ks_2samp(seen[0], showers.incident_energy_gev).pvalue > 0.01
