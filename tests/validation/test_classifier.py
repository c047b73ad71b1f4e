from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score

from hepflows.classifier_presets import PRESETS, ClassifierPreset, preset_named
from hepflows.classifier_training import Data, balanced_weights, fit, perceptron
from hepflows.errors import ConfigError, DataError
from hepflows.splitting import PARTS, split_groups
from validation.classifier_result import auc_error
from validation.classifier_test import two_sample_test
from validation.plots import roc_points

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
    expected = trapezoid(0.5 * (p * np.log2(p / m) + q * np.log2(q / m)), x)
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
    false, true = roc_points(result.scores, result.labels, result.weights)
    assert trapezoid(true, false) == pytest.approx(roc_auc_score(result.labels, result.scores), abs=1e-9)


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


def test_preset_caloflow_is_the_published_one():
    # arXiv 2106.05285
    assert PRESETS["caloflow"] == ClassifierPreset(
        name="caloflow",
        hidden=(512, 512, 512),  # three layers
        negative_slope=0.01,  # LeakyReLU with the slope of PyTorch
        learning_rate=1e-3,
        batch_size=1000,
        epochs=150,
        trainings=10,
        standardise=False,  # inputs have scales of their own, see calofast.classifier_inputs
    )


def test_preset_calochallenge_is_the_published_one():
    # arXiv 2410.21611, section on classifiers; learning rate, batch and epochs also in the public evaluation code
    assert PRESETS["calochallenge"] == ClassifierPreset(
        name="calochallenge",
        hidden=(2048, 2048, 2048),
        negative_slope=0.01,
        learning_rate=2e-4,
        batch_size=1000,
        epochs=50,
        trainings=10,
        standardise=False,
    )
    assert PARTS == (0.6, 0.2, 0.2)


def test_network_has_the_layers_of_the_preset_and_no_dropout():
    network = perceptron(507, PRESETS["caloflow"], outputs=1, seed=0)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "LeakyReLU"] * 3 + ["Linear"]
    shapes = [(layer.in_features, layer.out_features) for layer in network[::2]]
    assert shapes == [(507, 512), (512, 512), (512, 512), (512, 1)]
    assert {layer.negative_slope for layer in network[1::2]} == {0.01}


def test_second_part_chooses_the_epoch_and_calibrates_and_the_third_tests():
    reference, generated = gaussians(400, 0.4, seed=2)
    preset = dataclasses.replace(FAST, trainings=1, epochs=6, standardise=False)
    result = two_sample_test(reference, generated, preset, seed=3)
    part = np.concatenate(split_groups((np.arange(400), 400 + np.arange(400)), seed=3))
    label = np.repeat([1.0, 0.0], 400)
    weight = balanced_weights(label, np.ones(800), part)
    data = Data(x=torch.from_numpy(np.concatenate([reference, generated])), label=label, weight=weight, part=part)
    held, test = part == 1, part == 2
    accuracies, logits = [], []
    for epochs in range(1, 7):
        logits.append(fit(data, dataclasses.replace(preset, epochs=epochs), seed=3)[0])
        accuracies.append(np.average((logits[-1] > 0)[held] == (label > 0.5)[held], weights=weight[held]))
    assert np.all(np.diff(accuracies) >= 0)  # the best epoch so far is kept
    assert result.best_epoch[0] == 1 + int(np.argmax(np.isclose(accuracies, accuracies[-1])))
    edge = 1 / (held.sum() + 2)
    isotonic = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    isotonic.fit(logits[-1][held], label[held], sample_weight=weight[held])
    np.testing.assert_array_equal(result.tests[0].events, np.flatnonzero(test))
    np.testing.assert_allclose(result.scores, isotonic.predict(logits[-1][test]), rtol=1e-9)
    auc = roc_auc_score(label[test], result.scores, sample_weight=weight[test])
    assert result.auc[0] == pytest.approx(auc, abs=1e-12)
    entropy = log_loss(label[test], result.scores, sample_weight=weight[test])
    assert result.jsd[0] == pytest.approx((np.log(2) - entropy) / np.log(2), abs=1e-12)


def test_folds_test_every_event_once():
    samples = gaussians(900, 1.0)
    result = two_sample_test(*samples, dataclasses.replace(FAST, epochs=8), folds=4)
    tested = np.concatenate([t.events for t in result.tests])
    np.testing.assert_array_equal(np.sort(tested), np.arange(1800))
    assert len(result.auc) == result.folds == 4
    assert result.n_train_per_class == 450
    value, error, _ = result.summary("auc")
    assert value == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=4 * error)
    one = two_sample_test(*samples, dataclasses.replace(FAST, epochs=8, trainings=1))
    assert result.auc_test_error < 0.6 * one.auc_test_error  # 900 instead of 180 events a class are tested


def test_folds_keep_pairs_together():
    energies = np.random.default_rng(0).uniform(size=(300, 1)).astype(np.float32)
    numbers = np.arange(300)
    result = two_sample_test(energies, energies.copy(), FAST, groups=(numbers, numbers), folds=3)
    assert result.auc == (0.5, 0.5, 0.5)


def test_fewer_training_events_leave_the_other_parts_alone():
    samples = gaussians(400, 1.0)
    preset = dataclasses.replace(FAST, epochs=2)
    whole, part = (two_sample_test(*samples, preset, train_share=s) for s in (1.0, 0.25))
    for one, two in zip(whole.tests, part.tests, strict=True):
        np.testing.assert_array_equal(one.events, two.events)
    assert (whole.n_train_per_class, part.n_train_per_class) == (240, 60)
    assert whole.auc != part.auc


@pytest.mark.parametrize("options", [{"folds": 2}, {"train_share": 0.0}, {"train_share": 1.5}])
def test_impossible_splits_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        two_sample_test(*gaussians(100, 0.0), FAST, **options)


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
