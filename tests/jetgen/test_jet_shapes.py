from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from jetgen.jet_shapes import jet_shapes, rank_spectra, subjettiness
from jetgen.jets import Jets


def jets_of(eta, phi, pt):
    pt = np.asarray(pt, np.float32)
    return Jets(eta_rel=np.asarray(eta, np.float32), phi_rel=np.asarray(phi, np.float32), pt_rel=pt, mask=pt > 0)


def slow_subjettiness(eta, phi, pt, n):
    """N-subjettiness by plain recombination of a list, all distances made again at each step."""
    parts = [(float(p), float(e), float(f)) for e, f, p in zip(eta, phi, pt, strict=True) if p > 0]
    axes = list(parts)
    while len(axes) > n:
        i, j = min(
            itertools.combinations(range(len(axes)), 2),
            key=lambda ij: min(axes[ij[0]][0], axes[ij[1]][0]) ** 2 * math.dist(axes[ij[0]][1:], axes[ij[1]][1:]) ** 2,
        )
        winner = max(axes[i], axes[j])
        merged = (axes[i][0] + axes[j][0], *winner[1:])
        axes = [axis for k, axis in enumerate(axes) if k not in (i, j)] + [merged]
    return sum(p * min(math.dist((e, f), axis[1:]) for axis in axes) for p, e, f in parts) / sum(p for p, *_ in parts)


def test_subjettiness_agrees_with_plain_recombination(make_jets):
    jets = make_jets(150, n_slots=12, seed=1)
    found = jet_shapes(jets).tau
    for jet in range(150):
        arrays = jets.eta_rel[jet], jets.phi_rel[jet], jets.pt_rel[jet]
        assert found[jet] == pytest.approx([slow_subjettiness(*arrays, n) for n in (1, 2, 3)], rel=1e-9, abs=1e-12)


def test_subjettiness_counts_prongs():
    rng = np.random.default_rng(0)
    centres = np.array([(0.2, 0.0), (-0.1, 0.17), (-0.1, -0.17)])
    for prongs in (1, 2, 3):
        place = centres[np.arange(12) % prongs] + rng.normal(0, 1e-4, (12, 2))
        tau = subjettiness(place[None, :, 0], place[None, :, 1], np.full((1, 12), 0.08))[0]
        assert (tau[prongs - 1 :] < 1e-3).all()
        assert (tau[: prongs - 1] > 0.05).all()


def test_subjettiness_falls_with_the_number_of_axes_and_cannot_beat_the_best_axes(make_jets):
    jets = make_jets(40, n_slots=10, seed=2, min_constituents=4)
    tau = jet_shapes(jets).tau
    assert (tau >= 0).all()
    best = []
    for jet in range(40):
        eta, phi, pt = (a[jet].astype(float) for a in (jets.eta_rel, jets.phi_rel, jets.pt_rel))

        def mean_distance(axis, eta=eta, phi=phi, pt=pt):
            return (pt * np.hypot(eta - axis[0], phi - axis[1])).sum() / pt.sum()

        fitted = minimize(mean_distance, (0, 0), method="Nelder-Mead").fun
        best.append(min(fitted, *(mean_distance(axis) for axis in zip(eta, phi, strict=True))))
    assert (tau[:, 0] >= np.array(best) - 1e-6).all()
    assert np.median(tau[:, 0] / best) < 1.5
    assert tau[:, 0].mean() > tau[:, 1].mean() > tau[:, 2].mean()


def test_few_constituents_have_exactly_no_subjettiness(make_jets):
    jets = make_jets(200, n_slots=4, seed=3)
    shapes = jet_shapes(jets)
    for n in (1, 2, 3):
        few = jets.multiplicity <= n
        assert (shapes.tau[few, n - 1] == 0).all()
        assert (shapes.tau[~few, n - 1] > 0).all()
    assert np.isnan(shapes.tau_ratio(2)[jets.multiplicity == 1]).all()
    assert (shapes.tau_ratio(2)[jets.multiplicity == 2] == 0).all()
    assert np.isnan(shapes.tau_ratio(3)[jets.multiplicity <= 2]).all()


def test_width_and_dispersion_by_hand():
    jets = jets_of([[0.3, 0.0, 0], [0.1, 0, 0]], [[0.4, 0.2, 0], [0.0, 0, 0]], [[0.6, 0.2, 0], [0.5, 0, 0]])
    shapes = jet_shapes(jets)
    assert shapes.pt_sum == pytest.approx([0.8, 0.5])
    assert shapes.width == pytest.approx([(0.6 * 0.5 + 0.2 * 0.2) / 0.8, 0.1])
    assert shapes.dispersion == pytest.approx([math.sqrt(0.4) / 0.8, 1.0])


def test_bounds_of_the_dispersion(make_jets):
    jets = make_jets(500, n_slots=9, seed=4)
    dispersion = jet_shapes(jets).dispersion
    assert (dispersion <= 1 + 1e-12).all()
    assert (dispersion >= 1 / np.sqrt(jets.multiplicity) - 1e-12).all()


def test_shapes_ignore_order_scale_of_pt_and_rotation(make_jets):
    jets = make_jets(100, n_slots=9, seed=5)
    order = np.random.default_rng(1).permutation(9)
    cos, sin = math.cos(0.7), math.sin(0.7)
    moved = jets_of(
        (cos * jets.eta_rel - sin * jets.phi_rel)[:, order],
        (sin * jets.eta_rel + cos * jets.phi_rel)[:, order],
        0.5 * jets.pt_rel[:, order],
    )
    first, second = jet_shapes(jets), jet_shapes(moved)
    np.testing.assert_allclose(second.width, first.width, rtol=1e-6)
    np.testing.assert_allclose(second.dispersion, first.dispersion, rtol=1e-6)
    np.testing.assert_allclose(second.tau, first.tau, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(second.pt_sum, 0.5 * first.pt_sum, rtol=1e-6)


def test_spectra_by_rank():
    jets = jets_of(np.zeros((2, 3)), np.zeros((2, 3)), [[0.1, 0.5, 0.2], [0.0, 0.3, 0.0]])
    spectra = rank_spectra(jets, (1, 2, 3, 7))
    assert set(spectra) == {1, 2, 3}
    np.testing.assert_allclose(spectra[1], np.float32([0.5, 0.3]))
    np.testing.assert_allclose(spectra[2], np.float32([0.2, np.nan]))
    np.testing.assert_allclose(spectra[3], np.float32([0.1, np.nan]))
