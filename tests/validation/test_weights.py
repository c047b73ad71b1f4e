"""Event weights: effective sample size, weights of one, and integer weights as repetitions, through all metrics."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import validation
from hepflows.errors import DataError
from hepflows.weights import are_weighted, effective_sample_size
from validation.classifier_result import auc_error
from validation.command import summary_lines
from validation.frechet import frechet_physics_distance, frechet_samples
from validation.gates import Gate
from validation.kernel_distance import kernel_physics_distance, squared_mmd
from validation.measure import Sample, distances, edges_for, moments
from validation.plots import roc_points
from validation.resampling import carried, weighted_moments
from validation.settings import Settings

NO_CLASSIFIER = Settings(trainings=0, replicas=20)


def test_effective_size_of_equal_rare_and_exponential_weights():
    assert effective_sample_size(np.full(70, 0.3)) == pytest.approx((70, 0), abs=1e-6)
    assert effective_sample_size(np.array([1.0, 0, 0, 0]))[0] == pytest.approx(1)
    rng = np.random.default_rng(0)
    sizes = np.array([effective_sample_size(rng.exponential(size=500)) for _ in range(200)])
    assert sizes[:, 0].mean() == pytest.approx(250, rel=0.03)  # <w>^2 / <w^2> = 1/2
    assert sizes[:, 1].mean() == pytest.approx(sizes[:, 0].std(), rel=0.3)
    with pytest.raises(DataError, match="all zero"):
        effective_sample_size(np.zeros(3))
    assert not are_weighted(None)
    assert not are_weighted(np.full(4, 2.0))
    assert are_weighted(np.array([1.0, 2.0]))


def test_weights_of_one_change_nothing(points, domain):
    reference, generated = points(400, seed=1), points(200, seed=2, shift=0.2)
    with_ones = [dataclasses.replace(events, weights=np.ones(len(events))) for events in (reference, generated)]
    settings = Settings(trainings=1, epochs=2, replicas=20)
    plain = validation.compare(reference, generated, domain, settings=settings).samples["generated"]
    ones = validation.compare(*with_ones, domain, settings=settings).samples["generated"]
    assert ones.keys() - plain.keys() == {"effective_sample_size"}
    assert ones["effective_sample_size"].value == pytest.approx(200)
    for name, metric in plain.items():
        assert ones[name].value == pytest.approx(metric.value, rel=1e-9, abs=1e-12), name
        assert ones[name].error == pytest.approx(metric.error, rel=1e-9, abs=1e-12), name
        assert ones[name].floor == pytest.approx(metric.floor, rel=1e-9, abs=1e-12), name


def sample(domain, events, weights=None):
    observables = {o.name: o for o in domain.observables(events)}
    return Sample(observables=observables, binning=events.condition, weights=weights).take(np.arange(len(events)))


def test_integer_weights_are_repetitions_in_all_distances(points, domain):
    reference, generated = points(300, seed=1), points(250, seed=2, shift=0.3)
    repeats = np.random.default_rng(3).integers(0, 4, 250)
    repeated = generated.select(np.repeat(np.arange(250), repeats))
    edges = edges_for(sample(domain, reference).sample, n=300, bins=None)
    found, expected = (
        distances(g, sample(domain, reference), edges, replicas=4, seed=0)
        for g in (sample(domain, generated, repeats.astype(float)), sample(domain, repeated))
    )
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].value == pytest.approx(expected[name].value, rel=1e-10), name


def test_integer_weights_are_repetitions_in_moments_and_kernels():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2000, 3)), rng.normal(0.5, 1, size=(2000, 3))
    repeats = rng.integers(0, 3, 2000)
    repeated = np.repeat(y, repeats, axis=0)
    mean, covariance = weighted_moments(y, np.ones(2000), repeats.astype(float))
    np.testing.assert_allclose(mean, repeated.mean(0), rtol=1e-10)
    np.testing.assert_allclose(covariance, np.cov(repeated.T), rtol=2e-3)  # independent events are 2000, not more
    weighted, _ = frechet_samples(x, y, replicas=0, seed=0, weights=(None, repeats.astype(float)))
    plain, _ = frechet_samples(x, repeated, replicas=0, seed=0)
    assert weighted == pytest.approx(plain, rel=2e-3)
    # copies of an event are no pairs of different events: only they tell the two estimates apart
    z, times = y[:300] * 0.3, repeats[:300]
    kernel = (z @ z.T / 3 + 1) ** 4
    np.fill_diagonal(kernel, 0)
    pairs = times @ kernel @ times / (times.sum() ** 2 - (times**2).sum())
    others = x[:200] * 0.3
    rest = (others @ others.T / 3 + 1) ** 4
    within = (rest.sum() - np.trace(rest)) / (200 * 199)
    between = ((others @ z.T / 3 + 1) ** 4 @ times).sum() / (200 * times.sum())
    found = squared_mmd(others, z, weights=(None, times.astype(float)))
    assert found == pytest.approx(within + pairs - 2 * between, rel=1e-9)


def test_weighted_covariance_is_unbiased():
    rng = np.random.default_rng(5)
    weights = rng.exponential(size=8)
    found = [weighted_moments(rng.normal(size=(8, 1)), np.ones(8), weights)[1][0, 0] for _ in range(4000)]
    assert np.mean(found) == pytest.approx(1.0, abs=4 * np.std(found) / np.sqrt(4000))


def test_reweighting_brings_fpd_and_kpd_back_to_the_reference():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(4000, 2)), rng.normal(0.4, 1, size=(4000, 2))
    weights = np.exp((0.4**2 - 2 * 0.4 * y).sum(1) / 2)
    options = {"batches": 6, "points": 5}
    plain = frechet_physics_distance(x, y, **options)
    weighted = frechet_physics_distance(x, y, **options, weights=(None, weights))
    assert plain.value > 5 * plain.error
    assert weighted.value < 3 * weighted.error
    value, error = kernel_physics_distance(x, y, batches=6, batch_size=1000)
    corrected, corrected_error = kernel_physics_distance(x, y, batches=6, batch_size=1000, weights=(None, weights))
    assert value > 3 * error
    assert abs(corrected) < 5 * corrected_error


def test_error_of_weighted_fpd_knows_the_weights():
    # few effective events: the scatter of experiments is that of the effective, not of the counted events
    rng = np.random.default_rng(7)
    found = []
    for seed in range(25):
        x, y = rng.normal(size=(2, 400, 2))
        heavy = rng.choice([0.05, 1.0], p=[0.9, 0.1], size=400)
        found.append(frechet_physics_distance(x, y, batches=10, points=5, seed=seed, weights=(None, heavy)))
    scatter = np.std([f.value for f in found])
    assert 0.5 < np.mean([f.error for f in found]) / scatter < 2.5


def test_weights_are_checked():
    assert carried(None, 3) is None
    assert carried(np.full(3, 0.2), 3) is None
    np.testing.assert_allclose(carried(np.array([1.0, -0.5, 2.5]), 3), [1, -0.5, 2.5])
    for weights in ([1.0, -1.0], [1.0, np.nan], [1.0, 2.0, 3.0]):
        with pytest.raises(DataError, match="weights"):
            carried(np.array(weights), 2)


def test_effective_size_is_reported_with_floor(points, domain):
    weights = np.random.default_rng(1).exponential(size=300)
    result = validation.compare(
        points(600, seed=1),
        {"weighted": points(300, seed=2, weights=weights), "plain": points(300, seed=3)},
        domain,
        settings=NO_CLASSIFIER,
    )
    assert "effective_sample_size" not in result.samples["plain"]
    metric = result.samples["weighted"]["effective_sample_size"]
    assert metric.value == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert (metric.floor, metric.target) == (300, 300)
    entry = json.loads(json.dumps(result.to_json()))["samples"]["weighted"]["effective_sample_size"]
    assert entry["reference_effective_sample_size"] == 300
    assert {"ks_a", "correlation_rms", "w1_a"} <= set(result.samples["weighted"])


def test_the_error_of_an_auc_knows_of_weights():
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], 400)
    aucs, stated = [], []
    for _ in range(200):
        scores = rng.normal(size=800) + labels
        weights = np.where(labels == 1, 1.0, rng.exponential(size=800) ** 2)
        aucs.append(roc_auc_score(labels, scores, sample_weight=weights))
        stated.append(auc_error(aucs[-1], labels, weights))
    assert np.mean(stated) == pytest.approx(np.std(aucs), rel=0.2)
    assert auc_error(0.7, labels, np.full(800, 3.0)) == pytest.approx(auc_error(0.7, labels))


def test_a_roc_curve_has_the_area_that_stands_beside_it():
    rng = np.random.default_rng(1)
    labels = np.repeat([0.0, 1.0], 300)
    scores, weights = rng.normal(size=600) + labels, rng.exponential(size=600)
    false, true = roc_points(scores, labels, weights)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_negative_weights_leave_the_classifiers_out_and_fail_their_gates(points, domain):
    weights = np.where(np.arange(200) % 5 == 0, -1.0, 1.0)
    generated = dataclasses.replace(points(200, seed=2), weights=weights)
    settings = Settings(replicas=20, gates={"auc_all": Gate(max=0.3)})
    found = validation.compare(points(400, seed=1), generated, domain, settings=settings)
    assert found.skipped["generated/auc_all"] == found.skipped["generated/auc_gbt"] == "generated has negative weights"
    assert not any(name.startswith("auc") for name in found.samples["generated"])
    assert [(gate.metric, gate.passed) for gate in found.gates] == [("auc_all", False)]
    assert found.to_json()["unmeasured"] == ["generated/auc_all"]
    assert "could not be measured: generated has negative weights" in "\n".join(summary_lines(found))


def test_moments_with_negative_weights_and_weights_that_leave_nothing(points, domain):
    assert moments(np.array([0.0, 0, 0, 10]), np.array([1, 1, 1, -0.5]))[1] == 0.0
    nothing = dataclasses.replace(points(200, seed=2), weights=np.zeros(200))
    with pytest.raises(DataError, match="do not add up to a positive number"):
        validation.compare(points(400, seed=1), nothing, domain, settings=NO_CLASSIFIER)


def test_a_gate_on_the_effective_size_of_the_weighted_sample(points, domain):
    generated = dataclasses.replace(points(200, seed=2), weights=np.random.default_rng(1).exponential(size=200))
    settings = dataclasses.replace(NO_CLASSIFIER, gates={"effective_sample_size": Gate(max=50.0)})
    (gate,) = validation.compare(points(400, seed=1), generated, domain, settings=settings).gates
    assert not gate.passed
    assert gate.excess > 50
