"""Mistakes made on purpose in packaged showers: each does what it says, and the default gates notice it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import calofast as cf
from benchmarks import shower_distortions as mistakes
from benchmarks.distortions import caught_by, distorted, table
from benchmarks.gate_honesty import outcomes_of, packaged, summary
from calofast.shower_shapes import shower_shapes

if TYPE_CHECKING:
    from calofast import Showers


@pytest.fixture(scope="module")
def showers() -> Showers:
    return cf.read_showers(cf.embedded_showers_path())


@pytest.fixture(scope="module")
def some(showers: Showers) -> Showers:
    return showers.select(slice(0, 500)).with_threshold(0.01)


def test_energy_and_layers_change_as_told(some: Showers) -> None:
    np.testing.assert_allclose(mistakes.energy_scale(some).e_tot_mev, 1.01 * some.e_tot_mev, rtol=1e-5)
    found = mistakes.layer_fraction(some)
    np.testing.assert_allclose(found.e_tot_mev, some.e_tot_mev, rtol=1e-5)
    shares = [shower_shapes(s).layer_fractions for s in (found, some)]
    middle = shares[1][:, 1] < 0.9
    np.testing.assert_allclose(shares[0][middle, 1], 1.02 * shares[1][middle, 1], rtol=1e-4)


def test_widths_grow_and_layer_energies_stay(some: Showers) -> None:
    found = mistakes.width(some)
    np.testing.assert_allclose(found.layer_energies_mev, some.layer_energies_mev, rtol=1e-5)
    np.testing.assert_array_equal(found.voxels_mev > 0, some.voxels_mev > 0)
    for axis in ("x", "y"):
        widths = [shower_shapes(s).axes[1][axis][1] for s in (found, some)]
        assert np.median(widths[0] / widths[1]) == pytest.approx(1.03, abs=0.005)


def test_phi_is_shuffled_within_each_layer_and_shower(some: Showers) -> None:
    found = mistakes.shuffled_phi(some, 1)
    for part in some.geometry.layer_slices:
        np.testing.assert_array_equal(
            np.sort(found.voxels_mev[:, part], axis=1), np.sort(some.voxels_mev[:, part], axis=1)
        )
    x_rows = [shower_shapes(s).axes[1]["x"][0] for s in (found, some)]
    np.testing.assert_allclose(x_rows[0], x_rows[1], atol=1e-3)
    assert not np.array_equal(found.voxels_mev, some.voxels_mev)


def test_cells_and_showers_go_missing(some: Showers) -> None:
    dark = (mistakes.dead_cell(some).voxels_mev > 0).sum(0)
    lit = (some.voxels_mev > 0).sum(0)
    assert ((dark == 0) & (lit > 0)).sum() == 1
    fewer = mistakes.sparsity(some, 1)
    lost = (some.voxels_mev > 0) & (fewer.voxels_mev == 0)
    assert lost.sum() == pytest.approx(0.2 * ((some.voxels_mev > 0) & (some.voxels_mev < 1)).sum(), rel=0.05)
    assert some.voxels_mev[lost].max() < 1
    assert len(mistakes.mode_drop(some)) == pytest.approx(0.95 * len(some), abs=1)


def check(showers: Showers, only: tuple[str, ...] = ()) -> None:
    found = distorted(showers, replicas=30 if only else 0, only=only, spectra=not only)
    assert {name for name, metrics in caught_by(found).items() if not metrics} == set()
    assert [gate for gate in found.gates if gate.sample == "nothing" and not gate.passed] == []
    assert "**" in table(found)


def test_mistakes_fail_gates_meant_for_them_and_none_fails_without(showers: Showers) -> None:
    check(showers.select(slice(0, 1000)), ("energy scale", "dead cell"))


@pytest.mark.slow
def test_every_mistake_fails_a_gate_meant_for_it(showers: Showers) -> None:
    check(showers)


def test_split_of_the_simulation_passes_all_quick_gates() -> None:
    domain, rows = packaged("showers", part=(0.0, 0.25))
    outcomes = outcomes_of(domain, rows, seed=5, replicas=30)
    assert {"separation_mean", "memorisation_ratio", "near_duplicates"} <= {gate.metric for gate in outcomes}
    assert summary([outcomes])["passed"] == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["showers", "jets"])
def test_the_simulation_passes_in_95_of_100_splits(kind: str) -> None:
    domain, rows = packaged(kind)
    found = summary([outcomes_of(domain, rows, seed=seed) for seed in range(100)])
    assert found["passed"] >= 95, found["failures"]
