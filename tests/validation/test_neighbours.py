"""Precision, recall, density and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

import validation
from hepflows.errors import ConfigError, DataError
from validation.joint import standardised
from validation.neighbours import NAMES, support_overlap
from validation.settings import Settings


def published(reference, generated, k):
    """The definitions of arXiv 1904.06991 and 2002.09797, written out with scikit-learn."""
    radius_r, radius_g = (NearestNeighbors(n_neighbors=k).fit(v).kneighbors()[0][:, -1] for v in (reference, generated))
    distances = pairwise_distances(reference, generated)
    inside = distances < radius_r[:, None]
    return [
        inside.any(axis=0).mean(),
        (distances < radius_g).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        (distances.min(axis=1) < radius_r).mean(),
    ]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_agrees_with_the_definitions(k):
    rng = np.random.default_rng(k)
    reference, generated = rng.normal(size=(700, 3)), rng.normal(0.4, 0.7, size=(560, 3))
    found = support_overlap(reference, generated, neighbours=k, replicas=0)
    assert found.values == pytest.approx(published(reference, generated, k), rel=1e-12)
    assert found.errors.tolist() == [0, 0, 0, 0]


def test_equal_distributions_have_the_expected_density_and_coverage():
    n, k = 400, 5
    rng = np.random.default_rng(0)
    values = np.array([
        support_overlap(*rng.normal(size=(2, n, 2)), neighbours=k, replicas=0).values for _ in range(30)
    ])  # fmt: skip
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
    i = np.arange(1, k + 1)
    coverage = 1 - np.prod((n - i) / (2 * n - i))  # arXiv 2002.09797, lemma 2
    assert mean[2] == pytest.approx(1.0, abs=4 * error[2])
    assert mean[3] == pytest.approx(coverage, abs=4 * error[3])


def test_lost_modes_lower_recall_and_coverage_and_junk_lowers_precision_and_density():
    rng = np.random.default_rng(1)
    reference = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(20, 1, (300, 2))])
    collapsed = dict(zip(NAMES, support_overlap(reference, rng.normal(0, 1, (600, 2)), replicas=0).values, strict=True))
    assert collapsed["precision"] > 0.9
    assert collapsed["recall"] == pytest.approx(0.5, abs=0.05)
    assert collapsed["coverage"] == pytest.approx(0.5, abs=0.05)
    junk = np.concatenate([reference + rng.normal(0, 0.1, reference.shape), rng.uniform(100, 200, (600, 2))])
    polluted = dict(zip(NAMES, support_overlap(reference, junk, replicas=0).values, strict=True))
    assert polluted["precision"] == pytest.approx(0.5, abs=0.02)
    assert polluted["density"] < 0.7
    assert polluted["coverage"] > 0.95


def test_exchange_of_the_samples_exchanges_precision_and_recall():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 4)), rng.normal(0.5, 1, size=(250, 4))
    forth, back = support_overlap(x, y, replicas=0).values, support_overlap(y, x, replicas=0).values
    assert forth[:2] == pytest.approx(back[1::-1])


def test_errors_have_the_size_of_the_scatter_among_experiments():
    rng = np.random.default_rng(3)
    found = [
        support_overlap(rng.normal(size=(400, 3)), rng.normal(0.3, 1.2, size=(400, 3)), replicas=25, seed=seed)
        for seed in range(30)
    ]
    scatter = np.std([f.values for f in found], axis=0, ddof=1)
    ratio = np.mean([f.errors for f in found], axis=0) / scatter
    assert ((ratio > 0.7) & (ratio < 1.8)).all()


def test_bad_input():
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(DataError, match="too few events"):
        support_overlap(x[:8], x)
    with pytest.raises(DataError, match="not finite"):
        support_overlap(x, np.where(x > 1, np.nan, x))
    with pytest.raises(DataError, match="matrix"):
        support_overlap(x, x[:, :1])
    with pytest.raises(ConfigError, match="neighbours"):
        support_overlap(x, x, neighbours=0)


def test_observables_are_standardised_by_the_reference():
    rng = np.random.default_rng(4)
    reference = rng.normal([5, 1e6, 2], [0.1, 1e3, 0], size=(400, 3))
    reference[::7, 0] = np.nan
    first, second = standardised(reference, reference + np.array([0.1, 0, 1]))
    assert np.isfinite(second).all()
    np.testing.assert_allclose(first.std(0)[1:], [1, 0], atol=1e-9)
    assert (first[::7, 0] == 0).all()
    assert np.median(second[:, 1] - first[:, 1]) == 0


def test_reports_have_all_four_with_floors_but_not_for_weighted_events(points, domain):
    settings = Settings(trainings=0, replicas=20)
    reference = points(500, seed=1)
    weights = np.random.default_rng(0).uniform(0.5, 2, 250)
    result = validation.compare(
        reference,
        {
            "good": points(250, seed=2),
            "far": points(250, seed=3, shift=9.0),
            "weighted": points(250, seed=4, weights=weights),
        },
        domain,
        settings=settings,
    )
    good, far = result.samples["good"], result.samples["far"]
    for name in NAMES:
        assert abs(good[name].value - good[name].floor) < 5 * np.hypot(good[name].error, good[name].floor_error)
        assert good[name].details["observables"] == 2
        assert far[name].value < 0.2
        assert name not in result.samples["weighted"]
        assert "weighted events" in result.skipped[f"weighted/{name}"]
    assert far["coverage"].pull() > 5
