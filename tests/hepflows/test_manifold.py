"""M-flows against closed forms: a linear manifold of known density, volumes against autograd, projections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from hepflows.errors import ArtefactError, ConfigError, DataError
from hepflows.feature_table import Column, FeatureTable
from hepflows.manifold.artefact import Manifold
from hepflows.manifold.config import ManifoldConfig
from hepflows.manifold.fitting import fit_manifold
from hepflows.manifold.model import ManifoldModel
from hepflows.morphing.artefact import Morphing

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = tuple(Column(name=f"x{k}", unit="mm") for k in range(4))
MATRIX = np.array([[1.0, 0.2], [-0.5, 1.5], [2.0, 0.3], [0.4, -0.8]])
OFFSET = np.array([1.0, -2.0, 0.5, 3.0])


def settings(**more: Any) -> ManifoldConfig:
    schedule = {"epochs": 8, "batch_size": 100, "learning_rate": 3e-3, "schedule": "cosine"}
    entries: dict[str, Any] = {
        "dimensions": 2,
        "outer": {"blocks": 2, "width": 16, "residual_blocks": 1},
        "inner": {"blocks": 2, "hidden": (16,)},
        "manifold_training": {**schedule, "epochs": 3},
        "density_training": schedule,
    }
    return ManifoldConfig.model_validate(entries | more)


def linear(n: int, seed: int) -> tuple[np.ndarray, FeatureTable]:
    """u ~ N(0, 1)^2 in the plane x = MATRIX u + OFFSET of four dimensions."""
    u = np.random.default_rng(seed).normal(size=(n, 2))
    return u, FeatureTable(features=COLUMNS, values=u @ MATRIX.T + OFFSET)


@pytest.fixture(scope="module")
def plane() -> Manifold:
    torch.set_num_threads(1)
    return fit_manifold(linear(2000, 0)[1], settings())


def test_weights_count_in_density_and_p_values() -> None:
    """Uniform coordinates whose weights make them normal have the density of normal ones."""
    u = np.random.default_rng(4).uniform(-3, 3, (4000, 2))
    weights = np.exp(-0.5 * (u**2).sum(1))
    table = FeatureTable(features=COLUMNS, values=u @ MATRIX.T + OFFSET, weights=weights)
    trained = fit_manifold(table, settings(density_training={"epochs": 12, "batch_size": 100, "learning_rate": 5e-3}))
    v, events = linear(600, 1)
    inside = np.abs(v).max(1) < 2
    known = multivariate_normal(np.zeros(2)).logpdf(v) - 0.5 * np.linalg.slogdet(MATRIX.T @ MATRIX)[1]
    found = trained.score(events).log_prob
    assert found is not None
    assert np.median(np.abs(found - known)[inside]) < 0.25
    metrics = trained.document.metrics
    assert metrics["n_effective"] < metrics["n_held_out"] == 400


def test_density_on_a_plane_is_the_known_one(plane: Manifold) -> None:
    u, events = linear(1000, 1)
    known = multivariate_normal(np.zeros(2)).logpdf(u) - 0.5 * np.linalg.slogdet(MATRIX.T @ MATRIX)[1]
    found = plane.score(events).log_prob
    assert found is not None
    assert abs((found - known).mean()) < 0.05
    assert np.median(np.abs(found - known)) < 0.15


def test_events_on_the_plane_are_reconstructed_and_others_projected(plane: Manifold) -> None:
    _, events = linear(500, 2)
    scores = plane.score(events, density=False)
    assert scores.log_prob is None
    assert scores.reconstruction_error.max() < 0.01
    normal = np.linalg.svd(MATRIX)[0][:, 2]
    off = replace(events, values=events.values + 0.5 * normal)
    assert plane.score(off, density=False).reconstruction_error.min() > 0.1
    back = plane.project(off).values
    # what it is projected to lies in the plane, whatever the coordinates along it
    assert np.abs((back - OFFSET) @ np.linalg.svd(MATRIX)[0][:, 2:]).max() < 0.02


def test_p_values_are_uniform_on_new_events_and_small_off_the_manifold(plane: Manifold) -> None:
    rng = np.random.default_rng(3)
    noisy = [
        replace(t, values=t.values + 0.05 * rng.normal(size=t.values.shape))
        for _, t in (linear(1500, 4), linear(1500, 5))
    ]
    trained = fit_manifold(noisy[0], settings())
    p = trained.score(noisy[1], density=False).p_value
    assert p.mean() == pytest.approx(0.5, abs=0.1)
    assert 0 < (p < 0.1).mean() < 0.25
    far = replace(noisy[1], values=noisy[1].values + rng.normal(size=(1500, 4)))
    suspicious = trained.score(far, density=False).p_value
    assert np.median(suspicious) == pytest.approx(1 / 151, abs=1e-6)


def test_volume_agrees_with_the_jacobian_of_autograd() -> None:
    torch.manual_seed(0)
    log = [False, True, False]
    model = ManifoldModel(log, [], settings()).double().eval()
    for parameter in model.outer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.scaling.std.copy_(torch.tensor([2.0, 0.5, 3.0]))
    model.axes.fit(torch.randn(200, 3).double() * torch.tensor([3.0, 1.0, 0.2]))
    u = torch.randn(4, 2).double()
    found = model.log_volume(u)
    for row in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda v: model.scaling.inverse(model.decode(v[None]))[0], u[row])
        torch.testing.assert_close(found[row], 0.5 * torch.linalg.slogdet(jacobian.T @ jacobian).logabsdet)
    # decoded points are on the manifold: they are their own projections
    torch.testing.assert_close(model.encode(model.decode(u)), u)
    x = model.scaling.inverse(model.decode(u))
    torch.testing.assert_close(model.project(x), x)


def test_density_given_a_condition() -> None:
    """u ~ N(c, 0.5), x = (u, 2 u, -u): one dimension in three, with volume sqrt(6)."""
    rng = np.random.default_rng(6)
    c = rng.uniform(-1, 1, (3000, 1))
    u = c + 0.5 * rng.normal(size=(3000, 1))
    table = FeatureTable(
        features=COLUMNS[:3], values=u * [1, 2, -1], conditions=(Column(name="c"),), condition_values=c
    )
    longer = {"epochs": 16, "batch_size": 100, "learning_rate": 5e-3, "schedule": "cosine"}
    trained = fit_manifold(table, settings(dimensions=1, density_training=longer))
    found = trained.score(table.select(np.arange(500))).log_prob
    known = norm.logpdf(u, c, 0.5)[:500, 0] - 0.5 * np.log(6)
    assert found is not None
    assert abs((found - known).mean()) < 0.05
    assert np.median(np.abs(found - known)) < 0.15
    for given in (-0.5, 0.5):
        made = trained.sample(np.full((4000, 1), given), seed=3)
        assert made[:, 0].mean() == pytest.approx(given, abs=0.12)
        assert made[:, 0].std() == pytest.approx(0.5, abs=0.08)
    np.testing.assert_allclose(made[:, 1], 2 * made[:, 0], atol=0.05)
    np.testing.assert_array_equal(trained.sample(np.full((10, 1), 0.5), seed=3, first_event=20), made[20:30])


def test_a_curved_manifold_is_found(plane: Manifold) -> None:
    rng = np.random.default_rng(7)
    t = rng.uniform(-1, 1, 2000)
    parabola = FeatureTable(features=COLUMNS[:2], values=np.stack([t, t**2], axis=1))
    flat = fit_manifold(parabola, settings(dimensions=1, manifold_training={"epochs": 1, "learning_rate": 1e-6}))
    bent = {"epochs": 12, "batch_size": 100, "learning_rate": 5e-3, "schedule": "cosine"}
    curved = fit_manifold(parabola, settings(dimensions=1, manifold_training=bent))
    errors = [one.errors(parabola).mean() for one in (flat, curved)]
    assert errors[1] < 0.6 * errors[0]


def test_saved_and_loaded_it_scores_alike(plane: Manifold, tmp_path: Path) -> None:
    _, events = linear(50, 8)
    loaded = Manifold.load(plane.save(tmp_path / "m"))
    for name in ("reconstruction_error", "p_value", "log_prob"):
        np.testing.assert_array_equal(getattr(loaded.score(events), name), getattr(plane.score(events), name))
    with pytest.raises(ArtefactError, match="not a morphing generator"):
        Morphing.load(tmp_path / "m")


def test_incomplete_events_have_no_score(plane: Manifold) -> None:
    _, events = linear(6, 9)
    events.values[2, 1] = np.nan
    scores = plane.score(events)
    assert np.isnan(scores.p_value).tolist() == [False, False, True, False, False, False]
    assert np.isnan(plane.project(events).values[2]).sum() == 1


def test_bad_input_is_refused(plane: Manifold) -> None:
    _, events = linear(200, 10)
    with pytest.raises(ConfigError, match="fewer dimensions"):
        fit_manifold(events, settings(dimensions=4))
    with pytest.raises(DataError, match="too few events"):
        fit_manifold(events.select(np.arange(20)), settings())
    with pytest.raises(DataError, match="different observables"):
        plane.score(replace(events, features=(Column(name="y"), *COLUMNS[1:])))


def test_coordinates_measure_lengths_where_that_is_asked_for() -> None:
    """On a curve of known length: log-volumes vary less, and no farther from it."""
    t = np.random.default_rng(6).uniform(-2, 2, 1500)
    columns = tuple(Column(name=f"x{k}") for k in range(2))
    curve = FeatureTable(features=columns, values=np.stack([t, np.sin(2 * t)], axis=1))
    schedule = {"epochs": 12, "batch_size": 100, "learning_rate": 3e-3, "schedule": "cosine"}
    spreads, errors = [], []
    for evenness in (0.0, 0.1):
        config = settings(dimensions=1, manifold_training=schedule, density_training={"epochs": 1}, evenness=evenness)
        trained = fit_manifold(curve, config)
        model = trained.model.double()
        with torch.no_grad():
            u = model.encode(model.scaling(torch.from_numpy(curve.values))[0])
            spreads.append(float(model.log_volume(u).std()))
            errors.append(float(model.reconstruction_error(torch.from_numpy(curve.values)).mean()))
    assert spreads[1] < 0.6 * spreads[0]
    assert errors[1] < 1.5 * errors[0] + 0.01


@torch.no_grad()
def test_unevenness_of_a_plane_is_that_of_its_axes() -> None:
    model = ManifoldModel([False] * 3, [], settings()).double().eval()
    torch.manual_seed(0)
    u = torch.randn(4000, 2).double()
    assert float(model.unevenness(u)) < 2e-3  # equal scales and splines close to the identity
    assert float(model.unevenness(u[:1])) == 0  # a last batch of one event
    model.axes.scale.copy_(torch.tensor([3.0, 1.0, 0.1]))
    angle = torch.linspace(0, 2 * torch.pi, 100_001)[:-1].double()
    known = (0.5 * ((3 * angle.cos()) ** 2 + angle.sin() ** 2).log()).var()
    assert float(model.unevenness(u)) == pytest.approx(float(known), rel=0.1)


def test_incomplete_events_are_left_out_of_the_training_with_a_warning() -> None:
    _, events = linear(400, 11)
    events.values[3:7, 1] = np.nan
    with pytest.warns(UserWarning, match="4 of 400 events lack an observable"):
        fit_manifold(events, settings(manifold_training={"epochs": 1}))
