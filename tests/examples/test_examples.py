"""The examples do what they say, at small sizes."""

from __future__ import annotations

from pathlib import Path

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


def test_gold_makes_better_estimators_of_few_events(example) -> None:
    gold = example("mining_gold")
    reference = np.full(1000, gold.REFERENCE)
    x, grid = gold.simulate(reference, reference, np.random.default_rng(9)).x, np.array([0.6, 1.5])
    trained = gold.train_ratio(gold.training_events(40_000, 7), "RASCAL", steps=1500)
    best = gold.log_ratios(trained, x, grid)
    error = dict.fromkeys(gold.METHODS, 0.0)
    for method in gold.METHODS:
        for seed in (3, 4, 5):
            few = gold.train_ratio(gold.training_events(600, seed), method, steps=400)
            error[method] += float(((gold.log_ratios(few, x, grid) - best) ** 2).mean() ** 0.5) / 3
    assert error["ROLR"] < error["ratio"]
    assert error["RASCAL"] < 0.8 * error["ratio"]
    local = gold.train_sally(2000, steps=400)
    with torch.no_grad():
        sally = local(2 * torch.tensor(x, dtype=torch.float32) - 1)[:, 0].numpy()
    slope = gold.log_ratios(trained, x, np.array([1.05]))[:, 0]
    assert np.corrcoef(sally, slope)[0, 1] > 0.8
    coverage, length = gold.limits(trained, 1.25, events=10, toys=150, seed=5)
    assert coverage == pytest.approx(0.9, abs=0.08)
    assert length < 0.8 * (gold.HIGH - gold.LOW)
    with pytest.raises(ValueError, match="do not fit"):
        gold.interval(np.zeros((3, 5)), np.zeros((2, 4)), grid, 0.9)


def test_the_posterior_of_the_energy_is_calibrated(example) -> None:
    posterior = example("posterior_energy")
    train = posterior.read(posterior.embedded_showers_path(), (0.0, 0.5))
    test = posterior.read(posterior.embedded_showers_path(), (0.8, 1.0))
    trained = posterior.fit_posterior(train, epochs=12)
    ranks = posterior.ranks(trained, test)
    assert ranks.min() >= 0
    assert ranks.max() <= 99
    assert ranks.mean() == pytest.approx(49.5, abs=6)
    assert posterior.uniformity(ranks) > 1e-6
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
    x[:600] = rng.normal(1.5, 0.15, (600, 2))
    is_signal = np.arange(6000) < 600
    data = search.mix(x, is_signal, 0.03, seed=1)
    window, scores = search.search(data, epochs=8)
    for score in scores.values():
        assert search.roc_auc_score(window.signal, score) > 0.8
    empty = search.mix(x, is_signal, 0.0, seed=2)
    assert not empty.signal.any()


def test_intervals_of_the_energy_scale_cover(example) -> None:
    inference = example("flow_inference")
    rng = np.random.default_rng(0)
    energy = rng.uniform(5, 50, 3000)
    deposits = 1000 * energy[:, None] * rng.dirichlet([4, 8, 2], 3000)
    likelihood = inference.fit_likelihood(deposits[:2000], energy[:2000], epochs=12)
    estimates, statistic = inference.experiments(
        likelihood, deposits[2000:], energy[2000:], 1.0, n=20, toys=400, seed=1
    )
    assert estimates.mean() == pytest.approx(1.0, abs=0.02)
    assert inference.coverage(statistic, inference.WILKS_68) == pytest.approx(0.68, abs=0.25)
    assert inference.coverage(statistic, float(np.quantile(statistic, 0.68))) == pytest.approx(0.68, abs=0.02)


@pytest.mark.parametrize("learn", ["classifier_ratio", "flow_ratio"])
def test_the_class_fraction_is_estimated_and_covered(example, learn: str) -> None:
    """Two Gaussians, whose ratio is known."""
    inference = example("class_fraction")
    rng = np.random.default_rng(0)
    quarks, gluons = (rng.normal(shift, 1.0, (4000, 2)) for shift in (0.5, -0.5))
    ratio = getattr(inference, learn)(quarks[:2000], gluons[:2000], epochs=8)
    x = rng.normal(size=(500, 2))
    exact = x.sum(1)  # log of exp(-|x - 0.5|^2 / 2) / exp(-|x + 0.5|^2 / 2)
    inside = np.abs(exact) < 3
    assert np.abs(np.log(ratio(x)) - exact)[inside].mean() < 0.4
    test = quarks[2000:], gluons[2000:]
    _, toys = inference.experiments(ratio, *test, 0.3, n=200, toys=300, seed=1)
    threshold = float(np.quantile(toys, 0.68))
    estimates, statistic = inference.experiments(ratio, *test, 0.3, n=200, toys=300, seed=2)
    assert estimates.mean() == pytest.approx(0.3, abs=0.07)  # of the ratio, learned from few events
    assert inference.coverage(statistic, threshold) == pytest.approx(0.68, abs=0.12)
    assert inference.coverage(statistic, inference.WILKS_68) == pytest.approx(0.68, abs=0.2)


def test_the_class_fraction_reads_jets(example) -> None:
    from jetgen.reading import embedded_jets_path

    values = example("class_fraction").read(embedded_jets_path(), (0.0, 0.1))
    assert values.shape[1] == 4
    assert np.isfinite(values).all()
