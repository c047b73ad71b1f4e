"""The examples do what they say, at small sizes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"
LIMITS = {"mining_gold.py": 250}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_examples_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LIMITS.get(file.name, 150)


def test_iflow_integrates_with_a_fraction_of_the_error(example) -> None:
    iflow = example("iflow")
    flow = iflow.train(iflow.double_peak, 3, steps=60, batch=500)
    plain, found = (iflow.integrate(one, iflow.double_peak, 3, 20_000) for one in (None, flow))
    exact = iflow.exact_double_peak(3)
    for one in (plain, found):
        assert one.value == pytest.approx(exact, abs=4 * one.error)
    assert found.error < 0.5 * plain.error
    # the density that the weights are made of is one: it integrates to 1 over the cube
    torch.manual_seed(0)
    with torch.no_grad():
        density = iflow.log_density(flow, torch.rand(40_000, 3)).exp()
    assert float(density.mean()) == pytest.approx(1, abs=4 * float(density.std()) / 200)


def test_joint_ratio_and_score_of_the_shower_are_right(example) -> None:
    gold = example("mining_gold")
    n = 20_000
    theta, reference = np.full(n, 1.5), np.full(n, gold.REFERENCE)
    at_reference = gold.simulate(reference, theta, np.random.default_rng(0))
    ratio = np.exp(at_reference.log_ratio)
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / n**0.5)
    here = gold.simulate(theta, theta, np.random.default_rng(1))
    assert here.score.mean() == pytest.approx(0, abs=4 * here.score.std() / n**0.5)
    # a mean under theta is a weighted mean under the reference
    weighted, plain = (at_reference.x * ratio[:, None]).mean(0), here.x.mean(0)
    np.testing.assert_allclose(weighted, plain, atol=5 * (ratio.std() + 1) / n**0.5)
    step = 1e-4
    moved = [gold.simulate(theta, theta + s * step, np.random.default_rng(1)).log_ratio for s in (1, -1)]
    np.testing.assert_allclose((moved[0] - moved[1]) / (2 * step), here.score, atol=1e-5)


def test_the_true_ratio_of_the_shower_is_one_of_densities(example) -> None:
    gold = example("mining_gold")
    n, grid = 4000, np.array([0.6, 1.5])
    reference = np.full(n, gold.REFERENCE)
    x = gold.simulate(reference, reference, np.random.default_rng(2)).x
    ratio = np.exp(gold.true_log_ratios(x, grid, histories=20_000))
    error = ratio.std(0) / n**0.5
    np.testing.assert_array_less(np.abs(ratio.mean(0) - 1), 4 * error)
    for k, theta in enumerate(grid):
        at_theta = gold.simulate(np.full(n, theta), reference, np.random.default_rng(3)).x
        weighted = x * ratio[:, k, None]
        error = np.sqrt((weighted.var(0) + at_theta.var(0)) / n)
        np.testing.assert_array_less(np.abs(weighted.mean(0) - at_theta.mean(0)), 4 * error)
        assert (np.abs(x.mean(0) - at_theta.mean(0)) > 8 * error).any()  # which the weights have had to move


def test_gold_makes_better_estimators_of_few_events(example) -> None:
    gold = example("mining_gold")
    reference = np.full(1000, gold.REFERENCE)
    x, grid = gold.simulate(reference, reference, np.random.default_rng(9)).x, np.array([0.6, 1.5])
    true = gold.true_log_ratios(x, grid, histories=50_000)

    def error(method: str, n: int) -> float:
        found = [gold.log_ratios(gold.train(method, n, steps=400, seed=seed), x, grid) for seed in (3, 4, 5)]
        return float(np.mean([((one - true) ** 2).mean() ** 0.5 for one in found]))

    few = {method: error(method, 300) for method in ("ratio", "ROLR", "RASCAL")}
    assert few["ROLR"] < 0.8 * few["ratio"]
    assert few["RASCAL"] < 0.7 * few["ratio"]
    # better than the plain ratio trick with three times as many events
    assert few["RASCAL"] < error("ratio", 900)


def test_the_local_model_of_gold_is_right_near_the_reference(example) -> None:
    gold = example("mining_gold")
    reference = np.full(1000, gold.REFERENCE)
    x, near = gold.simulate(reference, reference, np.random.default_rng(9)).x, np.array([0.95, 1.05])
    true = gold.true_log_ratios(x, near, histories=50_000)
    found = gold.log_ratios(gold.train("SALLY", 2000, steps=400), x, near)
    assert ((found - true) ** 2).mean() < 0.1 * (true**2).mean()


def test_limits_of_gold_cover_and_are_shorter_than_those_of_the_plain_ratio(example) -> None:
    gold = example("mining_gold")
    limits = partial(gold.limits, events=10, toys=150, seed=5)
    plain, better = (
        partial(gold.log_ratios, gold.train(method, 300, steps=400, seed=3)) for method in gold.METHODS[::2]
    )
    nothing = np.random.default_rng(0).normal(size=(1500, 13))
    found = [limits(estimate) for estimate in (better, plain, lambda *_: nothing)]
    # 13 x 150 experiments, against thresholds that have the error of as many: limits cover whatever the estimate
    for coverage, _ in found:
        assert coverage == pytest.approx(0.9, abs=4 * (2 * 0.9 * 0.1 / (13 * 150)) ** 0.5)
    lengths = [length for _, length in found]
    assert lengths[0] < 0.9 * lengths[1]
    assert lengths[1] < 0.9 * lengths[2]


def test_the_posterior_of_the_energy_is_calibrated(example) -> None:
    posterior = example("posterior_energy")
    train = posterior.read(posterior.embedded_showers_path(), (0.0, 0.5))
    test = posterior.read(posterior.embedded_showers_path(), (0.8, 1.0))
    trained = posterior.fit_posterior(train, epochs=40)
    ranks = posterior.ranks(trained, test)
    assert ranks.min() >= 0
    assert ranks.max() <= 99
    assert posterior.uniformity(ranks) > 0.01

    def rescaled(factor: float) -> SimpleNamespace:
        def sample(x, n, *, seed):
            drawn = trained.sample(x, n, seed=seed)
            middle = np.median(drawn, axis=1, keepdims=True)
            return middle + factor * (drawn - middle)

        return SimpleNamespace(sample=sample)

    # the test sees a posterior that is a fifth too narrow or a quarter too wide, and one that is off
    assert posterior.uniformity(posterior.ranks(rescaled(0.8), test)) < 1e-4
    assert posterior.uniformity(posterior.ranks(rescaled(1.25), test)) < 1e-4
    assert posterior.uniformity(np.full(500, 3)) < 1e-6
    drawn = trained.sample(test.values[:50], 200, seed=1)
    assert (np.abs(drawn.mean(1) / test.condition_values[:50, 0] - 1) < 0.1).mean() > 0.9
    # the density integrates to one
    one = test.values[:1]
    energies = np.linspace(0.7, 1.3, 2001) * drawn[0].mean()
    density = np.exp(trained.log_prob(energies, np.repeat(one, len(energies), axis=0)))
    assert density.sum() * (energies[1] - energies[0]) == pytest.approx(1, abs=0.02)


def test_a_resonance_is_found_and_none_where_there_is_none(example) -> None:
    search = example("resonance_search")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 2))
    x[:600] = rng.normal(1.5, 0.4, (600, 2))
    is_signal = np.arange(6000) < 600
    data = search.mix(x, is_signal, 0.03, seed=1)
    window, scores = search.search(data, epochs=8)
    assert set(scores) == {"ANODE", "CATHODE", "labels"}
    found = {name: search.roc_auc_score(window.signal, score.data) for name, score in scores.items()}
    for name, score in scores.items():
        assert 0.85 < found[name] < 0.99  # signal and background overlap
        assert found[name] < found["labels"] + 0.02
        assert score.excess() > 8
    empty, scores = search.search(search.mix(x, is_signal, 0.0, seed=2), epochs=8)
    assert not empty.signal.any()
    assert set(scores) == {"ANODE", "CATHODE"}
    for score in scores.values():
        assert abs(score.excess()) < 3
    # scores of the data against scores of the same distribution: deviations of a normal distribution
    toys = [search.Scores(rng.normal(size=800), rng.normal(size=3200)).excess() for _ in range(500)]
    assert np.std(toys) == pytest.approx(1, abs=4 / 1000**0.5)
    assert np.mean(toys) == pytest.approx(0, abs=0.25)  # 4 errors, and 0.07 by the steps of the quantile


def test_data_are_scored_by_flows_that_have_not_seen_them(example, monkeypatch) -> None:
    """Scores by a flow of the same events are too large, and make an excess of nothing."""
    search = example("resonance_search")
    whole = search.mix(np.random.default_rng(0).normal(size=(3000, 2)), np.zeros(3000, dtype=bool), 0.0, seed=1)
    density, seen, scored = search.density, [], []

    def recorded(data, scaling, **settings):
        model = density(data, scaling, **settings)
        log_prob, trained = model.log_prob, {tuple(row) for row in search._tensors(data, scaling)[0].tolist()}

        def log_prob_recorded(y, context):
            scored.append((trained, {tuple(row) for row in y.tolist()}))
            return log_prob(y, context)

        model.log_prob = log_prob_recorded
        seen.append(trained)
        return model

    monkeypatch.setattr(search, "density", recorded)
    window, _ = search.search(whole, epochs=1)
    assert len(seen) == 3
    assert len(seen[0]) + len(window.x) == len(whole.x)
    of_window = seen[1] | seen[2]
    assert len(of_window) == len(seen[1]) + len(seen[2]) == len(window.x)
    halves = [rows & of_window for trained, rows in scored if trained != seen[0]]
    assert halves == [seen[2], seen[1]]


def test_wilks_intervals_cover_for_an_exact_likelihood(example) -> None:
    inference = example("flow_inference")
    toys, n = 4000, 20
    # without noise of the readout, and with the error of an estimate well above the step of the grid
    x = 1e12 * np.random.default_rng(0).normal(1, 0.09, (toys * n, 1))
    exact = SimpleNamespace(profile=lambda x, _: -0.5 * ((x / 1e12 - inference.GRID) / 0.09) ** 2)
    estimates, statistic = inference.experiments(exact, x, np.ones(len(x)), 1.0, n=n, toys=toys, seed=1)
    assert estimates.std() == pytest.approx(0.09 / n**0.5, rel=4 / (2 * toys) ** 0.5 + 0.03)  # and steps of the grid
    # three binomial errors, twice the variance: the showers are as few as the toys
    assert inference.coverage(statistic, inference.WILKS_68) == pytest.approx(0.68, abs=3 * (2 * 0.22 / toys) ** 0.5)


def test_intervals_of_the_energy_scale_cover(example) -> None:
    inference = example("flow_inference")
    rng = np.random.default_rng(0)
    toys, n = 1000, 20
    energy = rng.uniform(5, 50, 2000 + 2 * toys * n)
    deposits = 1000 * energy[:, None] * rng.dirichlet([4, 8, 2], len(energy))
    likelihood = inference.fit_likelihood(deposits[:2000], energy[:2000], epochs=12)
    calibration, test = np.split(np.arange(2000, len(energy)), 2)

    def experiments(rows, seed, *, off=1.0):
        return inference.experiments(likelihood, off * deposits[rows], energy[rows], 1.0, n=n, toys=toys, seed=seed)

    threshold = float(np.quantile(experiments(calibration, 1)[1], 0.68))
    estimates, statistic = experiments(test, 2)
    assert estimates.mean() == pytest.approx(1.0, abs=0.003)
    # three binomial errors, of the test and of the threshold, each of them of toys and of as few showers
    tolerance = 3 * (4 * 0.22 / toys) ** 0.5
    assert inference.coverage(statistic, threshold) == pytest.approx(0.68, abs=tolerance)
    # a scale that is 1 % off, nearly two errors of the estimate, is not covered
    assert inference.coverage(experiments(test, 2, off=1.01)[1], threshold) < 0.68 - 2 * tolerance


@pytest.mark.parametrize("learn", ["classifier_ratio", "flow_ratio"])
def test_the_class_fraction_is_estimated_and_covered(example, learn: str) -> None:
    """Two Gaussians, whose ratio is known."""
    inference = example("class_fraction")
    rng = np.random.default_rng(0)
    quarks, gluons = (rng.normal(shift, 1.0, (9000, 2)) for shift in (0.5, -0.5))
    ratio = getattr(inference, learn)(quarks[:2000], gluons[:2000], epochs=8)
    x = rng.normal(size=(500, 2))
    exact = x.sum(1)  # log of exp(-|x - 0.5|^2 / 2) / exp(-|x + 0.5|^2 / 2)
    inside = np.abs(exact) < 3
    assert np.abs(np.log(ratio(x)) - exact)[inside].mean() < 0.4
    ratio = inference.calibrated(ratio, quarks[2000:3000], gluons[2000:3000])
    # halves of the rest, one for the threshold and one for the test
    parts = [(quarks[rows], gluons[rows]) for rows in (slice(3000, 6000), slice(6000, None))]
    _, toys = inference.experiments(ratio, *parts[0], 0.3, n=200, toys=300, seed=1)
    threshold = float(np.quantile(toys, 0.68))
    estimates, statistic = inference.experiments(ratio, *parts[1], 0.3, n=200, toys=300, seed=2)
    # the jets of the calibration are as many as in five samples of 200, so that the estimate is off by half its error
    assert estimates.mean() == pytest.approx(0.3, abs=1.5 * estimates.std())
    # three binomial errors of the test and the threshold, of 300 toys each
    assert inference.coverage(statistic, threshold) == pytest.approx(0.68, abs=0.12)
    assert inference.coverage(statistic, inference.WILKS_68) == pytest.approx(0.68, abs=0.12)


def test_calibration_makes_the_class_fraction_unbiased(example) -> None:
    """A ratio that orders jets rightly, and has the wrong values."""
    inference = example("class_fraction")
    rng = np.random.default_rng(0)
    quarks, gluons = (rng.normal(shift, 1.0, (20_000, 2)) for shift in (0.5, -0.5))

    def wrong(x):
        return 0.4 * np.exp(0.6 * x.sum(1))

    right = inference.calibrated(wrong, quarks[:10_000], gluons[:10_000])
    for ratio, biased in ((wrong, True), (right, False)):
        estimates, statistic = inference.experiments(
            ratio, quarks[10_000:], gluons[10_000:], 0.6, n=200, toys=1000, seed=1
        )
        # 10 000 jets of either class are known to a seventh of the error of 200, once each in calibration and test
        assert (abs(estimates.mean() - 0.6) > 0.6 * estimates.std()) == biased
        off = abs(inference.coverage(statistic, inference.WILKS_68) - 0.68)
        assert (off > 0.06) == biased


def test_the_class_fraction_reads_jets(example) -> None:
    from jetgen.reading import embedded_jets_path

    values = example("class_fraction").read(embedded_jets_path(), (0.0, 0.1))
    assert values.shape[1] == 4
    assert np.isfinite(values).all()
