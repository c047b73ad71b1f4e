"""Calibrated classifiers against the known ratio of two Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hepflows.calibration import calibrate
from hepflows.classifier import ClassifierConfig, RatioFit, _judge, fit_ratio
from hepflows.density_ratio import DensityRatio
from hepflows.errors import DataError, RefinementError, RefinementWarning, TrainingError
from hepflows.weights import effective_sample_size, likelihood_ratios

SHIFT = np.array([0.5, 0.4])
SMALL = ClassifierConfig(hidden=(32, 32), epochs=8, learning_rate=3e-3)


def gaussians(n: int, *, shift: np.ndarray = SHIFT, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (
        (random.normal(size=(n, 2)) + shift).astype(np.float32),
        random.normal(size=(n, 2)).astype(np.float32),
    )


def exact_log_ratio(x: np.ndarray) -> np.ndarray:
    return x @ SHIFT - 0.5 * SHIFT @ SHIFT


@pytest.mark.parametrize("kind", ["isotonic", "histogram", "affine"])
def test_a_distorted_score_becomes_the_ratio_of_the_densities(kind):
    random = np.random.default_rng(1)
    n, d = 40_000, 1.2
    x = np.concatenate([random.normal(d, 1, n), random.normal(0, 1, n)])
    labels = np.repeat([1.0, 0.0], n)
    logits = 2.5 * (d * x - 0.5 * d * d) + 0.7  # far too sure of itself, and shifted
    calibration = calibrate(logits, labels, kind=kind)
    probe = np.linspace(-1.2, 2.4, 50)
    found = np.log(likelihood_ratios(calibration(2.5 * (d * probe - 0.5 * d * d) + 0.7)))
    np.testing.assert_allclose(found, d * probe - 0.5 * d * d, atol=0.3)
    assert np.mean(np.abs(found - (d * probe - 0.5 * d * d))) < 0.1
    assert (np.diff(calibration(np.linspace(logits.min(), logits.max(), 500))) >= -1e-9).all() or kind == "histogram"


@pytest.mark.parametrize("kind", ["isotonic", "histogram", "affine"])
def test_no_calibrated_score_is_certain(kind):
    logits, labels = np.linspace(-5, 5, 60), np.repeat([0.0, 1.0], 30)
    scores = calibrate(logits, labels, kind=kind)(np.array([-1e6, 0.0, 1e6]))
    assert ((scores >= 1 / 62 - 1e-12) & (scores <= 61 / 62 + 1e-12)).all()


def test_a_calibration_needs_both_classes():
    with pytest.raises(DataError, match="both classes"):
        calibrate(np.arange(5.0), np.ones(5), kind="isotonic")


@pytest.mark.parametrize("kind", ["isotonic", "affine"])
def test_ratio_of_gaussians(kind):
    reference, generated = gaussians(8000)
    found = fit_ratio(reference, generated, SMALL.model_copy(update={"calibration": kind}), seed=2)
    fresh = np.random.default_rng(9).normal(size=(20_000, 2)).astype(np.float32)
    w = found.model.weights(torch.from_numpy(fresh))
    assert w.mean() == pytest.approx(1, abs=0.05)
    bulk = np.abs(fresh).max(axis=1) < 1.5
    assert np.abs(np.log(w) - exact_log_ratio(fresh))[bulk].mean() < 0.15
    np.testing.assert_allclose(np.average(fresh, axis=0, weights=w), SHIFT, atol=0.06)
    # E[w]^2 / E[w^2] = exp(-shift^2), and the AUC is Phi(|shift| / sqrt 2)
    share = math.exp(-float(SHIFT @ SHIFT))
    assert effective_sample_size(w)[0] / len(w) == pytest.approx(share, abs=0.08)
    assert found.effective_share == pytest.approx(share, abs=0.12)
    assert found.auc == pytest.approx(0.5 * (1 + math.erf(float(np.linalg.norm(SHIFT)) / 2)), abs=0.03)


def test_event_weights_count():
    _, points = gaussians(6000)
    w = np.exp(exact_log_ratio(points.astype(np.float64)))
    own = np.arange(len(points))
    found = fit_ratio(points, points, SMALL, weights=(w, None), groups=(own, own))
    found_w = found.model.weights(torch.from_numpy(points))
    np.testing.assert_allclose(np.average(points, axis=0, weights=found_w), SHIFT, atol=0.07)


def test_weights_are_normalised_and_clipped_as_stated():
    reference, generated = gaussians(4000, shift=np.array([2.0, 0.0]))
    limited = SMALL.model_copy(update={"max_weight": 3.0, "warn_norm": 5.0})
    found = fit_ratio(reference, generated, limited)
    w = found.model.weights(torch.from_numpy(generated))
    assert w.max() == pytest.approx(3)
    assert w.min() < 0.05
    assert w.mean() == pytest.approx(1, abs=0.1)
    assert found.clipped == pytest.approx(np.mean(w > 2.999), abs=0.05)
    assert found.clipped > 0.1


def test_log_weights_are_the_calibrated_logits_of_the_network():
    model = DensityRatio(2, (8,))
    x = torch.randn(2000, 2)
    logits = model.logits(x).detach().double().numpy()
    labels = (np.random.default_rng(0).random(2000) < 1 / (1 + np.exp(-3 * logits))).astype(float)
    calibration = calibrate(logits, labels, kind="affine")
    model.take_calibration(calibration, logits, max_weight=1e6)
    expected = np.log(likelihood_ratios(calibration(logits)))
    np.testing.assert_allclose(model(x).detach().numpy(), expected, atol=1e-4)


def test_perfect_separation_is_explained():
    reference, generated = gaussians(500, shift=np.array([30.0, 0.0]))
    with pytest.raises(RefinementError, match=r"almost perfectly.*no weight"):
        fit_ratio(reference, generated, SMALL)


def test_reference_beyond_all_generated_events_is_told():
    # half of the reference where nothing is generated: weights of the other half have the mean 1/2
    random = np.random.default_rng(4)
    reference, generated = random.normal(size=(2, 4000, 2)).astype(np.float32)
    reference[:2000, 0] += 20
    with pytest.warns(RefinementWarning, match=r"overlap badly: mean weight 0\.(4|5)"):
        fit_ratio(reference, generated, SMALL)
    reference[:3700, 0] += 20
    with pytest.raises(RefinementError, match=r"no norm[\s\S]*mean weight 0\.0"):
        fit_ratio(reference, generated, SMALL)


def test_exploding_weights_warn_with_the_number_and_then_fail():
    reference, generated = gaussians(3000, shift=np.array([2.0, 0.0]))
    strict = SMALL.model_copy(update={"warn_ess": 0.9})
    with pytest.warns(RefinementWarning, match=r"effective sample size \d+(\.\d+)? %"):
        fit_ratio(reference, generated, strict)
    with pytest.raises(RefinementError, match="explode"):
        fit_ratio(reference, generated, SMALL.model_copy(update={"least_ess": 0.9}))


def test_inputs_that_cannot_be_used():
    reference, generated = gaussians(200)
    with pytest.raises(DataError, match="too few events"):
        fit_ratio(reference[:50], generated, SMALL)
    with pytest.raises(DataError, match="different numbers of features"):
        fit_ratio(reference[:, :1], generated, SMALL)
    with pytest.raises(DataError, match="not finite"):
        fit_ratio(np.where(reference > 1, np.nan, reference), generated, SMALL)
    with pytest.raises(DataError, match="must be positive"):
        fit_ratio(reference, generated, SMALL, weights=(-np.ones(200), None))


@pytest.mark.filterwarnings("ignore:few events carry")
def test_one_event_with_all_the_weight_explodes_whatever_the_number_of_events():
    figures = {"model": DensityRatio(2, (4,)), "auc": 0.8, "clipped": 0.0, "norm": 1.0, "best_epoch": 1, "n_train": 60}
    one = RatioFit(effective_share=1 / 20, n_test=20, **figures)
    with pytest.raises(RefinementError, match=r"explode[\s\S]*of 15 % of the events or more[\s\S]*size 5 %"):
        _judge(one, ClassifierConfig(), "both")
    _judge(one, ClassifierConfig(least_ess=0.0), "both")
    _judge(RatioFit(effective_share=4 / 20, n_test=20, **figures), ClassifierConfig(), "both")


def test_a_classifier_that_diverges_or_learns_nothing_is_an_error():
    reference, generated = gaussians(500)
    with pytest.raises(TrainingError, match="diverged"):
        fit_ratio(reference, generated, SMALL.model_copy(update={"learning_rate": 1e35}))
    with pytest.raises(RefinementError, match="has learnt nothing"):
        fit_ratio(reference, generated, SMALL.model_copy(update={"learning_rate": 1e9, "epochs": 1}))


@pytest.mark.parametrize("hidden", [(), (0,), (-3,)])
def test_layers_without_units_are_refused(hidden):
    with pytest.raises(ValidationError, match="hidden"):
        ClassifierConfig(hidden=hidden)
