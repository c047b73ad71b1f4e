from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hepflows.errors import ConfigError, DataError
from validation.classifier_result import auc_error
from validation.classifier_test import two_sample_test
from validation.plots import roc_points
from validation.presets import PRESETS, preset_named

FAST = dataclasses.replace(PRESETS["quick"], hidden=(32,), epochs=12, trainings=2, batch_size=200)


def gaussians(n, shift, *, seed=0, features=3):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, features)).astype(np.float32)
    second = rng.normal(size=(n, features)).astype(np.float32)
    second[:, 0] += shift
    return first, second


def test_auc_of_two_gaussians_is_the_closed_form():
    delta = 1.0
    result = two_sample_test(*gaussians(4000, delta), FAST)
    mean, error, _ = result.summary("auc")
    assert mean == pytest.approx(norm.cdf(delta / np.sqrt(2)), abs=4 * error + 0.005)
    assert error < 0.02


def test_jsd_of_two_gaussians_is_the_closed_form():
    delta = 1.5
    x = np.linspace(-8, 10, 4001)
    p, q = norm.pdf(x), norm.pdf(x - delta)
    m = 0.5 * (p + q)
    expected = np.trapezoid(0.5 * (p * np.log2(p / m) + q * np.log2(q / m)), x)
    mean, error, _ = two_sample_test(*gaussians(4000, delta), FAST).summary("jsd")
    assert mean == pytest.approx(expected, abs=3 * error + 0.01)


def test_limits_identical_and_disjoint():
    same = two_sample_test(*gaussians(4000, 0.0), FAST)
    assert same.summary("auc")[0] == pytest.approx(0.5, abs=0.04)
    assert same.summary("jsd")[0] == pytest.approx(0.0, abs=0.03)
    apart = two_sample_test(*gaussians(1000, 30.0), FAST)
    assert apart.summary("auc")[0] == pytest.approx(1.0, abs=1e-6)
    assert apart.summary("jsd")[0] == pytest.approx(1.0, abs=0.01)


def test_pairs_that_share_a_condition_do_not_leak():
    # The condition itself is the only feature. A network that memorises it would answer "the other class"
    # for the partner of a training event; parts hold whole pairs of equal scores, so AUC is 0.5 exactly.
    energies = np.random.default_rng(0).uniform(size=(600, 1)).astype(np.float32)
    numbers = np.arange(600)
    result = two_sample_test(energies, energies.copy(), FAST, groups=(numbers, numbers))
    assert result.auc == (0.5, 0.5)


def test_calibrated_scores_are_probabilities():
    # miscalibrate on purpose: few epochs at a high rate; isotonic regression must mend it
    preset = dataclasses.replace(FAST, learning_rate=0.1, epochs=2, trainings=1)
    result = two_sample_test(*gaussians(6000, 1.0, seed=4), preset)
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.01)):
        mask = (result.scores >= low) & (result.scores < high)
        if mask.sum() > 100:
            assert result.labels[mask].mean() == pytest.approx(result.scores[mask].mean(), abs=0.08)


def test_reported_auc_and_roc_agree_with_sklearn():
    result = two_sample_test(*gaussians(500, 1.0), dataclasses.replace(FAST, trainings=1))
    assert result.auc[0] == pytest.approx(roc_auc_score(result.labels, result.scores), abs=0.01)
    false, true = roc_points(result.scores, result.labels)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(result.labels, result.scores), abs=1e-9)


def test_weights_make_different_samples_equal():
    # generated: uniform, reference: density 2x; weights 2x make the generated sample follow it
    rng = np.random.default_rng(0)
    reference = np.sqrt(rng.uniform(size=(4000, 1))).astype(np.float32)
    generated = rng.uniform(size=(4000, 1)).astype(np.float32)
    plain = two_sample_test(reference, generated, FAST).summary("auc")[0]
    weighted = two_sample_test(
        reference, generated, FAST, weights=(None, 2.0 * generated[:, 0].astype(np.float64))
    ).summary("auc")[0]
    assert plain > 0.6
    assert weighted == pytest.approx(0.5, abs=0.04)


def test_mirrored_batches_keep_what_is_symmetric():
    # both columns shifted: swapping them leaves each class as it is, so the closed form must still come out
    first, second = gaussians(3000, 0.0, features=2)
    second += 0.7
    result = two_sample_test(first, second, FAST, mirrors=(np.array([1, 0]),))
    mean, error, _ = result.summary("auc")
    assert result.mirrored
    assert mean == pytest.approx(norm.cdf(0.7), abs=4 * error + 0.005)


def test_same_seed_same_numbers_and_global_random_state_untouched():
    state = torch.random.get_rng_state()
    samples = gaussians(200, 0.5)
    first, second = (two_sample_test(*samples, FAST, seed=5) for _ in range(2))
    assert first.auc == second.auc
    assert two_sample_test(*samples, FAST, seed=6).auc != first.auc
    assert torch.equal(state, torch.random.get_rng_state())


def test_hanley_mcneil_matches_simulation():
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], 200)
    aucs = [roc_auc_score(labels, rng.normal(size=400) + labels) for _ in range(200)]
    assert auc_error(float(np.mean(aucs)), labels) == pytest.approx(np.std(aucs), rel=0.2)


def test_presets_are_the_published_ones():
    caloflow, challenge = PRESETS["caloflow"], PRESETS["calochallenge"]
    assert caloflow.hidden == (512, 512, 512)
    assert (caloflow.learning_rate, caloflow.batch_size, caloflow.epochs) == (1e-3, 1000, 150)
    assert challenge.hidden == (2048, 2048, 2048)
    assert (challenge.learning_rate, challenge.batch_size, challenge.epochs) == (2e-4, 1000, 50)
    assert not caloflow.standardise
    assert not challenge.standardise


def test_progress_counts_all_epochs():
    calls = []
    two_sample_test(*gaussians(100, 0.1), FAST, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (24, 24)


@pytest.mark.parametrize(
    ("reference", "generated", "message"),
    [
        (np.zeros((20, 2)), np.zeros((100, 2)), "too few"),
        (np.full((100, 2), np.nan), np.zeros((100, 2)), "not finite"),
        (np.zeros((100, 2)), np.zeros((100, 3)), "different numbers of features"),
        (np.zeros(100), np.zeros((100, 3)), "matrix"),
    ],
)
def test_bad_samples_are_refused(reference, generated, message):
    with pytest.raises(DataError, match=message):
        two_sample_test(reference.astype(np.float32), generated.astype(np.float32), FAST)


def test_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="caloflow"):
        preset_named("nonsense")
