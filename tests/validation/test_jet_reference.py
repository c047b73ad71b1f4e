"""Agreement with the reference implementations jetnet and energyflow on the same jets and the same draws.

`tests/reference/make_jet_reference.py` made the stored values; ``make test-parity`` makes them again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jetgen.energy_flow import PHYSICS_GRAPHS, PRIME_GRAPHS, polynomials
from jetgen.graphs import canonical
from jetgen.mass_kernel import jet_masses
from validation.distances import wasserstein_batches
from validation.frechet import frechet_distance, frechet_physics_distance
from validation.kernel_distance import kernel_physics_distance
from validation.matching import coverage_and_matching, energy_movers_distance

FOLDER = Path(__file__).resolve().parents[1] / "reference"


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "jet_reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def numbers():
    return json.loads((FOLDER / "jet_reference.json").read_text())


@pytest.fixture(scope="module")
def w1(numbers):
    options = numbers["settings"]["w1"]
    seed = numbers["settings"]["seed"]
    return {"eval_samples": options["num_eval_samples"], "batches": options["num_batches"], "seed": seed}


def columns(jets):
    return jets[..., 0], jets[..., 1], jets[..., 2]


def masked(jets):
    return np.where(jets[..., 2:] > 0, jets, np.nan)


def test_all_36_energy_flow_polynomials(arrays, numbers):
    graphs = [tuple(map(tuple, graph)) for graph in numbers["graphs"]]
    assert sorted(map(canonical, graphs)) == sorted(map(canonical, PHYSICS_GRAPHS))
    for name in ("first", "second"):
        found = polynomials(*columns(arrays[name]), graphs)
        # the reference takes square roots of differences in single precision
        np.testing.assert_allclose(found, arrays[f"efps_{name}"], rtol=3e-5, atol=1e-12)
    primes = polynomials(*columns(arrays["first"]), tuple(PRIME_GRAPHS.values()))
    np.testing.assert_allclose(primes, arrays["prime_efps_first"], rtol=3e-5, atol=1e-12)


def test_masses(arrays):
    # the reference subtracts squares: 1e-7 of the energy is lost, and jets of one constituent get rounding for a mass
    np.testing.assert_allclose(jet_masses(*columns(arrays["first"])), arrays["mass_first"], rtol=1e-9, atol=3e-8)


def test_w1m(arrays, numbers, w1):
    found = wasserstein_batches(*(jet_masses(*columns(arrays[name])) for name in ("first", "second")), **w1)
    assert [found.mean(), found.std()] == pytest.approx(numbers["w1m"], rel=1e-5)


def test_w1p_skips_padding(arrays, numbers, w1):
    found = wasserstein_batches(masked(arrays["first"]), masked(arrays["second"]), **w1)
    np.testing.assert_allclose([found.mean(0), found.std(0)], numbers["w1p"], rtol=1e-6)


def test_w1efp(arrays, numbers, w1):
    primes = tuple(PRIME_GRAPHS.values())
    found = wasserstein_batches(*(polynomials(*columns(arrays[name]), primes) for name in ("first", "second")), **w1)
    np.testing.assert_allclose([found.mean(0), found.std(0)], numbers["w1efp"], rtol=1e-4)


def test_energy_movers_distances(arrays):
    first, second = (arrays[name][:60].astype(np.float64) for name in ("first", "second"))
    some = [(i, j) for i in range(0, 60, 7) for j in range(0, 60, 5)]
    found = [energy_movers_distance(first[i], second[j]) for i, j in some]
    assert found == pytest.approx([arrays["emds"][i, j] for i, j in some], rel=1e-9, abs=1e-12)


def test_coverage_and_matching(arrays, numbers):
    options = numbers["settings"]["matching"]
    coverage, matching = coverage_and_matching(
        arrays["first"],
        arrays["second"],
        eval_samples=options["num_eval_samples"],
        batches=options["num_batches"],
        seed=numbers["settings"]["seed"],
    )
    assert [coverage.mean(), matching.mean()] == pytest.approx(numbers["cov_mmd"], rel=1e-6)


def test_fpd_and_kpd(arrays, numbers):
    features = arrays["efps_first"], arrays["efps_second"]
    fpd = dict(numbers["settings"]["fpd"])
    found = frechet_physics_distance(
        *features,
        min_samples=fpd["min_samples"],
        max_samples=fpd["max_samples"],
        batches=fpd["num_batches"],
        points=fpd["num_points"],
        seed=fpd["seed"],
    )
    assert [found.value, found.fit_error] == pytest.approx(numbers["fpd"], rel=1e-6)
    kpd = numbers["settings"]["kpd"]
    found = kernel_physics_distance(
        *features, batch_size=kpd["batch_size"], batches=kpd["num_batches"], seed=kpd["seed"]
    )
    assert found == pytest.approx(numbers["kpd"], rel=1e-6)


def test_frechet_distance(arrays, numbers):
    moments = [m for name in ("efps_first", "efps_second") for m in (arrays[name].mean(0), np.cov(arrays[name].T))]
    assert frechet_distance(*moments) == pytest.approx(numbers["frechet"], rel=1e-4)
