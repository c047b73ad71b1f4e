"""Metrics between whole samples: Frechet and kernel distances, coverage, batches of W1, and their way into reports."""

from __future__ import annotations

import json

import numpy as np
import ot
import pytest
from scipy import linalg, stats
from sklearn.metrics.pairwise import polynomial_kernel

import validation
from hepflows.errors import ConfigError, DataError
from hepflows.observable import Discs, Measure
from validation.distances import wasserstein_batches
from validation.domain import Drawn, Measured
from validation.frechet import frechet_distance, frechet_physics_distance, frechet_samples, scaled_features
from validation.gates import Gate
from validation.kernel_distance import kernel_physics_distance, squared_mmd
from validation.matching import coverage_and_matching, energy_movers_distance, lower_bounds, near_distances
from validation.measure import Estimate
from validation.metric import Metric
from validation.resampling import chances, draw, weighted_moments
from validation.sample_metrics import Pair, compare_measures, judgements, wasserstein_metric
from validation.settings import Settings


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(7)
    points = rng.normal(0, 0.15, (90, 12, 3))
    points[..., 2] = rng.exponential(0.1, (90, 12))
    points[np.arange(12) >= rng.integers(1, 13, (90, 1))] = 0
    return points[:45], points[45:]


# --- draws and moments


def test_weighted_moments_are_numpy_s():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 4))
    counts = np.bincount(rng.integers(0, 50, 200), minlength=50).astype(float)
    drawn = np.repeat(values, counts.astype(int), axis=0)
    mean, covariance = weighted_moments(values, counts)
    np.testing.assert_allclose(mean, drawn.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(drawn.T), rtol=1e-11)


def test_draws_follow_the_weights():
    chance = chances(np.array([1.0, 0.0, 3.0]))
    index = draw(np.random.default_rng(0), 3, 40_000, chance)
    assert np.bincount(index) / 40_000 == pytest.approx([0.25, 0, 0.75], abs=0.01)
    assert chances(None) is None
    for weights in ([1.0, -0.1], [0.0, 0.0], [1.0, np.nan]):
        with pytest.raises(DataError, match="weights"):
            chances(np.array(weights))


# --- batches of W1


def test_batches_of_w1_scatter_around_a_shift():
    x = np.random.default_rng(1).normal(size=(4000, 2))
    found = wasserstein_batches(x, x + np.array([0.5, 2.0]), eval_samples=4000, batches=8)
    assert found.shape == (8, 2)
    np.testing.assert_allclose(found.mean(0), [0.5, 2.0], atol=0.03)
    assert found.std() > 0


def test_batches_of_w1_are_scipy_s_and_leave_empty_slots_out():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 5, 3)), rng.normal(0.1, 1, size=(70, 5, 3))
    x[3, 2:], y[:, 4] = np.nan, np.nan
    found = wasserstein_batches(x, y, eval_samples=60, batches=2, seed=9)
    again = np.random.default_rng(9)
    for batch in range(2):
        one, two = x[again.choice(80, 60)], y[again.choice(70, 60)]
        for k in range(3):
            a, b = (part[..., k][np.isfinite(part[..., k])] for part in (one, two))
            assert found[batch, k] == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-12)


def test_weights_move_w1():
    x = np.linspace(0, 1, 2001)
    heavy = np.where(x > 0.5, 1.0, 0.0)
    plain, weighted = (wasserstein_batches(x, x, eval_samples=2000, weights=(None, w)).mean() for w in (None, heavy))
    assert plain < 0.03
    assert weighted == pytest.approx(0.25, abs=0.03)


def test_error_of_w1_is_the_scatter_of_independent_samples():
    rng = np.random.default_rng(4)
    found = []
    for seed in range(60):
        x = rng.normal(size=(2, 300, 4, 3)) + rng.normal(size=(2, 300, 1, 1))  # the slots of an event go together
        x[1] += 0.5
        pair = Pair(reference=x[0], generated=x[1], weights=(None, None), replicas=50, seed=seed)
        found += wasserstein_metric(pair)
    scatter = np.std([estimate.value for estimate in found], ddof=1)
    assert np.mean([estimate.error for estimate in found]) == pytest.approx(scatter, rel=0.25)
    assert {"batch_deviation"} == set(found[0].details)


# --- Frechet distances


def test_frechet_distance_of_commuting_gaussians():
    first, second = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 0.25])
    expected = (2.0**2) + (1 - 3) ** 2 + (2 - 1) ** 2 + 0.5**2
    assert frechet_distance(np.zeros(3), first, np.array([2.0, 0, 0]), second) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_agrees_with_the_matrix_root():
    rng = np.random.default_rng(3)
    a, b = (np.cov(rng.normal(size=(8, 30)) * rng.uniform(0.1, 3, (8, 1))) for _ in range(2))
    m1, m2 = rng.normal(size=(2, 8))
    root = linalg.sqrtm(a @ b).real
    expected = ((m1 - m2) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(m1, a, m2, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(m1, a, m1, a) == pytest.approx(0, abs=1e-12)


def test_bootstrap_error_of_the_frechet_distance_has_the_right_size():
    rng = np.random.default_rng(4)
    shift = np.array([0.5, 0.0, 0.0])
    results = [
        frechet_samples(rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + shift, replicas=30, seed=seed)
        for seed in range(25)
    ]
    values, errors = np.array(results).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.35)
    assert values.mean() == pytest.approx(0.25, abs=4 * values.std() / 5 + 0.02)


def test_weights_turn_one_gaussian_into_another():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20_000, 2))
    y = rng.normal(0.4, 1, size=(20_000, 2))
    weights = np.exp((0.4**2 - 2 * 0.4 * y[:, 0]) / 2 + (0.4**2 - 2 * 0.4 * y[:, 1]) / 2)
    plain, _ = frechet_samples(x, y, replicas=0, seed=0)
    weighted, _ = frechet_samples(x, y, replicas=0, seed=0, weights=(None, weights))
    assert plain == pytest.approx(0.32, abs=0.045)
    assert weighted < 0.01


def test_fpd_removes_the_bias_of_finite_batches():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 20_000, 5))
    scaled = scaled_features(x, y)
    batch = [v for part in scaled for v in (part[:500].mean(0), np.cov(part[:500].T))]
    found = frechet_physics_distance(x, y, min_samples=500, max_samples=5000, batches=10)
    assert 0 <= found.value < 0.1 * frechet_distance(*batch)
    assert 0 < found.fit_error < found.error < 0.3 * frechet_distance(*batch)
    shifted = frechet_physics_distance(x, y + np.eye(5)[0], min_samples=500, max_samples=5000, batches=10)
    assert shifted.value == pytest.approx(1 / np.abs(x[:, 0]).max() ** 2, rel=0.1)


def test_error_of_fpd_has_the_right_size():
    rng = np.random.default_rng(10)
    found = [frechet_physics_distance(*rng.normal(size=(2, 400, 3)), seed=k) for k in range(40)]
    scatter = np.std([f.value for f in found])
    assert 0.6 < np.mean([f.error for f in found]) / scatter < 1.8


def test_features_are_checked():
    x = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(DataError, match="matrix"):
        frechet_physics_distance(x, x[:, :2])
    with pytest.raises(DataError, match="not finite"):
        kernel_physics_distance(x, np.where(x > 2, np.nan, x) * np.nan)
    with pytest.raises(DataError, match="too few"):
        frechet_physics_distance(x[:5], x[:5])
    with pytest.raises(DataError, match="too few"):
        kernel_physics_distance(x, x, batch_size=1)
    constant = scaled_features(x * 0, x * 0)
    assert (constant[0] == 0).all()


# --- kernel distance


def test_squared_mmd_agrees_with_sklearn_s_kernel():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(700, 4)), rng.normal(0.2, 1, size=(300, 4))
    xx, yy, xy = (polynomial_kernel(a, b, degree=4, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    expected = (xx.sum() - np.trace(xx)) / (700 * 699) + (yy.sum() - np.trace(yy)) / (300 * 299) - 2 * xy.mean()
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-10)


def test_kpd_is_unbiased_and_sees_a_shift():
    rng = np.random.default_rng(9)
    found = [squared_mmd(*rng.normal(size=(2, 200, 2))) for _ in range(60)]
    assert np.mean(found) == pytest.approx(0, abs=3.5 * np.std(found) / np.sqrt(60))
    x = rng.normal(size=(1000, 2))
    value, error = kernel_physics_distance(x, x + 1.0, batch_size=400)
    assert value > 5 * error > 0


# --- coverage and matching


def test_energy_movers_distance_by_hand():
    one, two = np.array([[0.0, 0.0, 1.0]]), np.array([[0.3, 0.4, 1.0]])
    assert energy_movers_distance(one, two) == pytest.approx(0.5)
    assert energy_movers_distance(one, 2 * two[:, :] * [0.5, 0.5, 1]) == pytest.approx(0.5 + 1.0)  # twice the weight
    split = np.array([[0.3, 0.4, 0.25], [0.0, 0.0, 0.75]])
    assert energy_movers_distance(one, split) == pytest.approx(0.125)
    assert energy_movers_distance(split, split[::-1]) == pytest.approx(0, abs=1e-12)


def test_energy_movers_distance_is_pot_s_for_equal_weights(clouds):
    for x, y in zip(*(c[:10] for c in clouds), strict=True):
        a, b = x[:, 2] / x[:, 2].sum(), y[:, 2] / y[:, 2].sum()
        expected = ot.emd2(a, b, ot.dist(x[:, :2], y[:, :2], metric="euclidean"))
        found = energy_movers_distance(*(np.column_stack([v[:, :2], w]) for v, w in ((x, a), (y, b))))
        assert found == pytest.approx(expected, rel=1e-9)


def test_energy_movers_distance_is_a_metric(clouds):
    x, y = clouds[0][:12], clouds[1][:12]
    forth = np.array([[energy_movers_distance(a, b) for b in y] for a in x])
    back = np.array([[energy_movers_distance(b, a) for b in y] for a in x])
    np.testing.assert_allclose(forth, back, rtol=1e-9)
    among = np.array([[energy_movers_distance(a, b) for b in x] for a in x])
    assert (forth[:, None] <= among[:, :, None] + forth[None] + 1e-12).all()


def test_left_out_pairs_are_never_nearest(clouds):
    first, second = clouds
    every = np.array([[energy_movers_distance(a, b) for b in second] for a in first])
    assert (lower_bounds(first, second) <= every).all()
    found = near_distances(first, second)
    assert 0.02 < np.isinf(found).mean() < 0.98
    np.testing.assert_array_equal(found.min(0), every.min(0))
    np.testing.assert_array_equal(found.min(1), every.min(1))
    np.testing.assert_array_equal(found.argmin(1), every.argmin(1))


def test_coverage_and_matching_know_copies_and_collapse(clouds):
    first = clouds[0]
    coverage, matching = coverage_and_matching(first, first, eval_samples=30, batches=2)
    collapsed = coverage_and_matching(first, np.repeat(first[:1], 40, axis=0), eval_samples=30, batches=2)
    assert collapsed[0] == pytest.approx([1 / 30] * 2)
    assert collapsed[1].mean() > 2 * matching.mean()
    assert (coverage > 0.3).all()
    with pytest.raises(DataError, match="generated: points"):
        coverage_and_matching(first, -first, eval_samples=5, batches=1)


# --- into the comparison


class Clouds:
    """The toy domain with measures and discs; built around the one of conftest."""

    def __init__(self, domain):
        self.domain = domain
        self.inputs = ("all",)

    def __getattr__(self, name):
        return getattr(self.domain, name)

    def measures(self, events):
        x = events.x
        cloud = np.stack([x - 3, x[:, ::-1] - 3, 0 * x + 0.5], axis=2)
        asked = x[:, 0] * 1.001 if events.condition[0] < 0 else np.full(len(x), np.nan)
        return (
            Measure(kind="wasserstein", names=("w1x",), label="both features", values=x),
            Measure(kind="matching", names=("cov", "mmd"), label="points", values=cloud),
            Measure(kind="physics", names=("fpd", "kpd"), label="features", values=x),
            Measure(kind="frechet", names=("frechet",), label="features", values=x),
            Measure(kind="largest", names=("error_max",), label="asked", values=(x[:, 0] - asked) / asked),
        )

    def discs(self, events):
        labels = {"x_label": "a", "y_label": "b"}
        return tuple(
            Discs(title=f"{i}", x=x - 3, y=x[::-1] - 3, sizes=np.ones(2), reach=3.0, **labels)
            for i, x in enumerate(events.x)
        )


NAMES = ["w1x", "cov", "mmd", "fpd", "kpd", "frechet"]


@pytest.fixture(scope="module")
def comparison(points, domain):
    asked = points(300, seed=4)
    asked.condition[:] *= -1
    return validation.compare(
        points(700, seed=1),
        {"good": points(350, seed=2), "bad": points(350, seed=3, shift=2.0), "asked": asked},
        Clouds(domain),
        settings=Settings(trainings=1, epochs=3, replicas=10, gates={"cov": Gate(k=1, m=5)}),
    )


def test_measures_come_with_error_and_floor(comparison):
    good, bad = comparison.samples["good"], comparison.samples["bad"]
    for name in NAMES:
        assert good[name].pull() < 5, name
        assert good[name].floor is not None
        assert good[name].n == 350
        assert good[name].meaning
    for name in ("w1x", "mmd", "fpd", "frechet", "cov", "kpd"):
        assert bad[name].pull() > 5, name
    assert bad["w1x"].value == pytest.approx(1.0, abs=0.2)
    assert bad["frechet"].value == pytest.approx(4.0, rel=0.2)


def test_coverage_is_better_when_larger(comparison):
    good, bad = (comparison.samples[name]["cov"] for name in ("good", "bad"))
    assert good.value > bad.value
    assert good.excess() < bad.excess()
    assert [gate.passed for gate in comparison.gates] == [True, False, True]


def test_a_domain_with_one_input_set_needs_no_suffix(comparison):
    assert {"auc", "jsd"} <= set(comparison.samples["good"])
    assert comparison.samples["bad"]["auc"].value > 0.8


def test_what_was_asked_for_is_measured_where_it_is_known(comparison):
    asked = comparison.samples["asked"]["error_max"]
    assert asked.value == pytest.approx(1 - 1 / 1.001, rel=1e-6)
    assert asked.floor is None
    assert asked.pull() > 5
    assert "error_max" not in comparison.samples["good"]
    assert "good/error_max" in comparison.skipped


def test_report_explains_measures_and_draws_discs(comparison, tmp_path):
    out = comparison.write(tmp_path / "report")
    text = (out / "report.html").read_text()
    for metric in comparison.samples["good"].values():
        assert not metric.meaning or metric.meaning.replace("'", "&#39;") in text
    pictures = {path.name for path in (out / "pictures").iterdir()}
    assert {"examples.png", "average.png"} <= pictures
    assert "example_0.png" not in pictures
    document = json.loads((out / "report.json").read_text())
    assert set(NAMES) <= set(document["samples"]["good"])
    assert document["samples"]["good"]["cov"]["target"] == 1
    assert document["samples"]["asked"]["error_max"]["floor"] is None


def test_domains_without_measures_stay_as_they_are(domain):
    assert not isinstance(domain, Measured | Drawn)
    assert isinstance(Clouds(domain), Measured)


def test_unknown_kinds_are_refused():
    good = Measure(kind="frechet", names=("f",), label="", values=np.zeros((5, 2)))
    assert set(judgements([good])) == {"f"}
    for kind, names in (("frechet", ("f", "g")), ("nonsense", ("f",))):
        with pytest.raises(ConfigError, match="unknown kind"):
            judgements([Measure(kind=kind, names=names, label="", values=good.values)])


def test_same_seed_same_estimates(points):
    x, y = points(200, seed=1).x, points(200, seed=2).x
    index = np.arange(200)

    def once():
        first, second = ((Measure(kind="wasserstein", names=("w",), label="", values=v),) for v in (x, y))
        return compare_measures((first, index, None), (second, index, None), replicas=5, seed=3)

    assert once() == once()
    assert isinstance(once()["w"], Estimate)


def test_rising_metric():
    metric = Metric(value=0.5, error=0.03, floor=0.56, floor_error=0.04, n=10, target=1.0, rising=True)
    assert metric.excess() == 0.5
    assert metric.floor_excess() == pytest.approx(0.44)
    assert metric.pull() == pytest.approx(0.06 / 0.05)
