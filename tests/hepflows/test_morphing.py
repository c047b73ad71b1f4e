"""Morphing against closed forms: Gaussian to Gaussian, whose map, density and movement are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hepflows.errors import ArtefactError, ConditionError, ConfigError, DataError, Interrupted
from hepflows.feature_table import Column, FeatureTable
from hepflows.manifold.artefact import Manifold
from hepflows.morphing.artefact import Morphing
from hepflows.morphing.config import METHODS, MorphingConfig
from hepflows.morphing.model import MorphingModel, start_at_random
from hepflows.morphing.morph import fit_morphing
from hepflows.train.run import Run

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (Column(name="a", unit="mm"), Column(name="b", unit="MeV", log=True))
ENERGY = (Column(name="incident_energy_gev", unit="GeV", log=True),)
SHIFT, STRETCH = 0.8, 1.5


def sample(n: int, seed: int, *, target: bool) -> FeatureTable:
    """a ~ N(log E, 1) and log b ~ N(a / 2, 0.5); in the target a is shifted and stretched about log E."""
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(0, 2, n))
    noise = rng.normal(size=n) * (STRETCH if target else 1.0) + (SHIFT if target else 0.0)
    a = np.log(energy) + noise
    b = np.exp(0.5 * a + 0.5 * rng.normal(size=n))
    return FeatureTable(
        features=COLUMNS, values=np.stack([a, b], axis=1), conditions=ENERGY, condition_values=energy[:, None]
    )


def config(method: str, *, epochs: int = 8, **more: Any) -> MorphingConfig:
    schedule = {"epochs": epochs, "batch_size": 100, "learning_rate": 8e-3, "schedule": "cosine"}
    network = {"blocks": 2, "hidden": (16,), "bins": 6}
    entries = {"base": network, "transport": network, "base_training": schedule, "transport_training": schedule}
    return MorphingConfig.model_validate({"method": method, **entries, **more})


@pytest.fixture(scope="module")
def sets() -> tuple[FeatureTable, FeatureTable]:
    return sample(2000, 0, target=False), sample(2000, 1, target=True)


@pytest.fixture(scope="module")
def trained(sets: tuple[FeatureTable, FeatureTable]) -> dict[str, Morphing]:
    torch.set_num_threads(1)
    return {method: fit_morphing(*sets, config(method)) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_morphed_events_have_the_targets_moments_at_each_condition(trained: dict[str, Morphing], method: str) -> None:
    events = sample(4000, 7, target=False)
    morphed = trained[method].apply(events, seed=1, out_of_range="clamp")
    log_e = np.log(events.condition_values[:, 0])
    rest = morphed.values[:, 0] - log_e
    ratio = np.log(morphed.values[:, 1]) - 0.5 * morphed.values[:, 0]
    penalised = method == "movement_penalty"  # the price of moving less
    for half in (log_e < 1, log_e >= 1):
        assert rest[half].mean() == pytest.approx(SHIFT, abs=0.3 if penalised else 0.15)
        assert rest[half].std() == pytest.approx(STRETCH, abs=0.25)
        assert ratio[half].std() == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("weighted", ["source", "target"])
def test_weights_count_in_either_set(weighted: str) -> None:
    """A broad sample whose weights make it N(0, 1) is one like any other of that distribution."""
    column = (Column(name="a", unit="mm"),)
    rng = np.random.default_rng(3)
    broad = rng.uniform(-4, 4, 4000)
    first = FeatureTable(features=column, values=broad[:, None], weights=np.exp(-0.5 * broad**2))
    second = FeatureTable(features=column, values=rng.normal(SHIFT, STRETCH, (3000, 1)))
    sets = (first, second) if weighted == "source" else (second, first)
    morphing = fit_morphing(*sets, config("identity", transport={"blocks": 1, "hidden": (16,), "bins": 6}))
    points = np.linspace(-1.5, 1.5, 13)
    expected = SHIFT + STRETCH * points
    ends = (points, expected) if weighted == "source" else (expected, points)
    events = FeatureTable(features=column, values=ends[0][:, None], weights=np.arange(13.0))
    morphed = morphing.apply(events, seed=1)
    np.testing.assert_allclose(morphed.values[:, 0], ends[1], atol=0.35)
    np.testing.assert_array_equal(morphed.weights, np.arange(13.0))
    # the statistics of the movement count by weight, too
    once = morphing.movement(events, seed=1)
    twice = morphing.movement(replace(events.select(np.repeat(np.arange(13), np.arange(13))), weights=None), seed=1)
    assert once["mean_l2"] == pytest.approx(twice["mean_l2"])
    assert once["q95_l2"] == pytest.approx(twice["q95_l2"], rel=0.1)


def test_weights_that_cannot_train_are_refused(sets: tuple[FeatureTable, FeatureTable]) -> None:
    weights = np.ones(2000)
    weights[7] = -1
    with pytest.raises(DataError, match="not negative"):
        fit_morphing(replace(sets[0], weights=weights), sets[1], config("identity"))
    weights = np.full(2000, 1e-9)
    weights[:9] = 1.0
    with pytest.raises(DataError, match="effective sample size"):
        fit_morphing(sets[0], replace(sets[1], weights=weights), config("identity"))


@pytest.mark.parametrize("method", ["base_transfer", "unidirectional", "identity"])
def test_one_observable_is_moved_by_the_optimal_map(method: str, sets: tuple[FeatureTable, FeatureTable]) -> None:
    """In one dimension the map is unique: a' = log E + SHIFT + STRETCH (a - log E), the optimal transport."""
    first, second, events = (
        replace(table, features=COLUMNS[:1], values=table.values[:, :1])
        for table in (*sets, sample(2000, 8, target=False))
    )
    morphing = fit_morphing(first, second, config(method, transport={"blocks": 1, "hidden": (16,), "bins": 6}))
    log_e = np.log(events.condition_values[:, 0])
    noise = events.values[:, 0] - log_e
    central = np.abs(noise) < 1.5
    morphed = morphing.apply(events, seed=1, out_of_range="clamp")
    wanted = log_e + SHIFT + STRETCH * noise
    assert np.abs(morphed.values[:, 0] - wanted)[central].mean() < 0.15
    if method == "identity":
        spread = events.values.std()
        assert (
            morphed.more["movement"][central].mean()
            < 1.2 * np.abs(wanted - events.values[:, 0])[central].mean() / spread
        )


def test_the_penalty_moves_least(trained: dict[str, Morphing]) -> None:
    events = sample(2000, 9, target=False)
    moved = {
        method: trained[method].apply(events, seed=1, out_of_range="clamp").more["movement"].mean()
        for method in METHODS
    }
    assert min(moved, key=moved.__getitem__) == "movement_penalty"
    stated = trained["identity"].document.to_dict()["metrics"]["movement"]
    assert stated["mean_l2"] == pytest.approx(moved["identity"], abs=5 * stated["error"])
    assert stated["features"]["a"]["mean_shift"] == pytest.approx(SHIFT, abs=0.25)


def test_identity_initialisation_stays_on_identical_sets() -> None:
    first, second = sample(2000, 10, target=False), sample(2000, 11, target=False)
    moved = {}
    for method in ("identity", "unidirectional"):
        morphing = fit_morphing(first, second, config(method, epochs=6))
        moved[method] = morphing.document.to_dict()["metrics"]["movement"]["mean_l2"]
    assert moved["identity"] < moved["unidirectional"]
    assert moved["identity"] < 0.2


def test_a_new_identity_transport_is_exactly_the_identity() -> None:
    model = MorphingModel([False, True], [], config("identity")).eval()
    y = torch.randn(300, 2)
    for moved, log_det in (model.move(y, None), model.move_back(y, None)):
        torch.testing.assert_close(moved, y, atol=2e-6, rtol=0)
        torch.testing.assert_close(log_det, torch.zeros(300), atol=1e-5, rtol=0)
    other = MorphingModel([False, True], [], config("flows_for_flows")).eval()
    assert (other.move(y, None)[0] - y).abs().mean() > 0.05


@pytest.mark.parametrize("method", ["base_transfer", "flows_for_flows"])
def test_log_determinant_inverse_and_density_agree_with_autograd(method: str) -> None:
    torch.manual_seed(0)
    model = MorphingModel([False, True], [True], config(method)).double().eval()
    for flow in (model.source, model.target):
        start_at_random(flow)
    x = torch.stack([torch.randn(5), torch.randn(5).exp()], dim=1).double()
    given = torch.rand(5, 1).double() + 1
    moved, log_det = model(x, given)
    torch.testing.assert_close(model.inverse(moved, given), x)
    for row in range(5):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, row=row: model(v[None], given[row : row + 1])[0][0], x[row]
        )
        torch.testing.assert_close(log_det[row], torch.linalg.slogdet(jacobian).logabsdet)
    y, log_in = model.scaling(x)
    source = model.source.log_prob(y, model.context(given)) + log_in
    torch.testing.assert_close(model.morphed_log_prob(moved, given), source - log_det)


def test_saved_and_loaded_it_morphs_alike(trained: dict[str, Morphing], tmp_path: Path) -> None:
    events = sample(600, 12, target=False)
    for method in ("base_transfer", "identity"):
        path = trained[method].save(tmp_path / method)
        loaded = Morphing.load(path)
        np.testing.assert_array_equal(
            loaded.apply(events, seed=3, out_of_range="clamp").values,
            trained[method].apply(events, seed=3, out_of_range="clamp").values,
        )
    with pytest.raises(ArtefactError, match="not a manifold generator"):
        Manifold.load(tmp_path / "identity")


def test_an_event_does_not_depend_on_its_batch(trained: dict[str, Morphing]) -> None:
    events = sample(600, 13, target=False)
    whole = trained["identity"].apply(events, seed=3, out_of_range="clamp").values
    part = trained["identity"].apply(events.select(np.arange(256, 600)), seed=3, first_event=256, out_of_range="clamp")
    np.testing.assert_array_equal(part.values, whole[256:])


def test_discrete_observables_stay_on_their_grid_and_incomplete_events_as_they_are() -> None:
    rng = np.random.default_rng(4)
    columns = (Column(name="n"), Column(name="x"))

    def counts(mean: float) -> FeatureTable:
        return FeatureTable(
            features=columns, values=np.stack([rng.poisson(mean, 1500), rng.normal(size=1500)], axis=1).astype(float)
        )

    morphing = fit_morphing(counts(20), counts(26), config("identity"))
    events = counts(20)
    events.values[4, 1] = np.nan
    morphed = morphing.apply(events, seed=2)
    assert (morphed.values[:, 0] == np.round(morphed.values[:, 0])).all()
    assert morphed.values[:, 0].mean() == pytest.approx(26, abs=0.8)
    assert morphed.values[:, 0].std() == pytest.approx(26**0.5, abs=0.8)
    np.testing.assert_array_equal(morphed.values[4], events.values[4])
    np.testing.assert_array_equal(morphed.more["source_n"], events.values[:, 0])
    assert morphed.more["morphed"].sum() == len(events) - 1


def test_densities_of_another_method_are_taken_over(
    sets: tuple[FeatureTable, FeatureTable], trained: dict[str, Morphing]
) -> None:
    quick = config("unidirectional", epochs=1)
    morphing = fit_morphing(*sets, quick, densities=trained["base_transfer"])
    for part in ("scaling", "condition_scaling", "source", "target"):
        for name, value in getattr(morphing.model, part).state_dict().items():
            assert torch.equal(value, getattr(trained["base_transfer"].model, part).state_dict()[name])
    assert set(morphing.document.training) == {"transport", "n_source", "n_target"}
    other = config("unidirectional", base={"blocks": 1, "hidden": (16,)})
    with pytest.raises(ConfigError, match="other observables, conditions or networks"):
        fit_morphing(*sets, other, densities=trained["base_transfer"])


def test_sets_that_do_not_fit_are_refused(sets: tuple[FeatureTable, FeatureTable]) -> None:
    source, target = sets
    quick = config("identity", epochs=1)
    with pytest.raises(DataError, match="different numbers of observables"):
        fit_morphing(source, replace(target, features=COLUMNS[:1], values=target.values[:, :1]), quick)
    with pytest.raises(DataError, match="different conditions"):
        fit_morphing(source, replace(target, conditions=(Column(name="mass_rel"),)), quick)
    with pytest.raises(DataError, match="does not cover the range"):
        fit_morphing(source, replace(target, condition_values=1000 * target.condition_values), quick)
    with pytest.raises(DataError, match="too few events"):
        fit_morphing(
            source,
            target.select(np.r_[:40, np.argsort(target.condition_values[:, 0])[[*range(7), *range(-7, 0)]]]),
            quick,
        )
    twice = [
        replace(one, features=(*COLUMNS, Column(name="c")), values=np.column_stack([one.values, 2 * one.values[:, 0]]))
        for one in sets
    ]
    with pytest.raises(DataError, match="follow from each other") as refused:
        fit_morphing(*twice, quick)
    assert "a, c" in str(refused.value)
    flat = [replace(one, values=np.column_stack([one.values[:, 0] * 0 + 3, one.values[:, 1]])) for one in sets]
    with pytest.raises(DataError, match="the same in all events"):
        fit_morphing(*flat, quick)
    hollow = replace(source, values=np.full_like(source.values, np.nan))
    with pytest.raises(DataError, match="hardly an event"):
        fit_morphing(hollow, target, quick)
    unknown = replace(source, condition_values=np.full_like(source.condition_values, np.nan))
    with pytest.raises(DataError, match="often undefined, incident_energy_gev for example"):
        fit_morphing(unknown, target, quick)
    holes = replace(source, values=np.where(np.arange(2000)[:, None] < 30, np.nan, source.values))
    with pytest.warns(UserWarning, match="30 of 2000 events"):
        fit_morphing(holes, target, config("base_transfer", epochs=1))


def test_conditions_outside_the_trained_range(trained: dict[str, Morphing]) -> None:
    events = replace(sample(300, 14, target=False), condition_values=np.full((300, 1), 20.0))
    morphing = trained["identity"]
    with pytest.raises(ConditionError, match="outside the range"):
        morphing.apply(events, seed=1)
    with pytest.warns(UserWarning, match="clamped"):
        clamped = morphing.apply(events, seed=1, out_of_range="clamp")
    with pytest.warns(UserWarning, match="extrapolated"):
        passed = morphing.apply(events, seed=1, out_of_range="pass")
    top = morphing.document.valid_range[ENERGY[0].name][1]
    inside = morphing.apply(replace(events, condition_values=np.full((300, 1), top)), seed=1)
    np.testing.assert_array_equal(clamped.values, inside.values)
    assert not np.array_equal(passed.values, clamped.values)


def test_a_stopped_training_goes_on_bit_identically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hepflows.morphing import objective

    first, second = sample(400, 15, target=False), sample(400, 16, target=True)
    settings = config("flows_for_flows", epochs=2)
    whole = fit_morphing(first, second, settings, run=Run(directory=tmp_path / "whole"))
    real, calls = objective.TransportObjective.validation_loss, []

    def stop(self: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted("stopped")
        return real(self)

    monkeypatch.setattr(objective.TransportObjective, "validation_loss", stop)
    with pytest.raises(Interrupted):
        fit_morphing(first, second, settings, run=Run(directory=tmp_path / "stopped"))
    resumed = fit_morphing(first, second, settings, run=Run(directory=tmp_path / "stopped", resume=True))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
