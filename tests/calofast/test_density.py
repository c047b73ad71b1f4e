"""Exact log densities of showers under teacher and student."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calofast.training import CaloFlow, distill, fit
from hepflows.errors import ConditionError, ConfigError, GeometryError
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from calofast.config import CaloFlowConfig
    from calofast.generator import CaloGenerator
    from calofast.showers import Showers

STREAM = 0x44


@pytest.fixture(scope="module")
def generators(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig]
) -> dict[str, CaloGenerator]:
    showers = make_showers(400)
    training = {"epochs": 15, "batch_size": 40, "learning_rate": 5e-3}
    config = make_config(layer_energies={"blocks": 2, "hidden": [16], "alpha": 1e-10, "training": training})
    teacher = fit(CaloFlow(showers.geometry, config), showers)
    return {"teacher": teacher, "student": distill(teacher, showers)}


@pytest.fixture(params=["teacher", "student"])
def generator(request: pytest.FixtureRequest, generators: dict[str, CaloGenerator]) -> CaloGenerator:
    return generators[request.param]


@pytest.fixture(scope="module")
def showers(make_showers: Callable[..., Showers]) -> Showers:
    return make_showers(600, seed=3)


def test_real_showers_are_denser_than_those_with_exchanged_energies(generator: CaloGenerator, showers: Showers) -> None:
    real = generator.log_prob(showers)
    assert np.isfinite(real.layers).all()
    assert np.isfinite(real.voxels).all()
    wrong = generator.log_prob(replace(showers, incident_energy_gev=showers.incident_energy_gev[::-1].copy()))
    assert real.layers.mean() > wrong.layers.mean() + 1


def test_double_precision_inverts_to_the_last_digits_and_single_stays_near_it(
    generator: CaloGenerator, showers: Showers
) -> None:
    state = torch.get_rng_state()
    single, double = generator.log_prob(showers), generator.log_prob(showers, dtype="float64")
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.dtype == torch.float32 for parameter in generator.model.parameters())
    assert double.residual.max() < 1e-9
    assert single.residual.max() > double.residual.max()
    assert np.median(single.residual) < 1e-4
    # the sum of a dozen terms of order one, each exact to about 1e-6
    assert np.quantile(np.abs(single.voxels - double.voxels), 0.99) < 1e-3
    assert np.quantile(np.abs(single.layers - double.layers), 0.99) < 1e-3


def test_voxel_density_is_that_of_the_latent_point_times_the_jacobian(
    generator: CaloGenerator, showers: Showers
) -> None:
    number = 5
    found = generator.log_prob(showers, dtype="float64", seed=2)
    model = copy.deepcopy(generator.model).double()
    noise = torch.from_numpy(normal_noise(2, number, 1, model.n_voxels, stream=STREAM)).double()
    voxels = torch.from_numpy(showers.voxels_mev[number : number + 1]).double()
    dequantised = model.voxels.dequantise(voxels, noise)
    energies = model.voxels.layer_energies(voxels, dequantised)
    conditions = torch.from_numpy(showers.incident_energy_gev[number : number + 1, None]).double()
    context = model.context(conditions, energies)

    def latent(v: torch.Tensor) -> torch.Tensor:
        learnt, _ = model.voxels.before_spectrum(v[None])
        z: torch.Tensor = model.shower_flow(model.voxels(learnt, energies, context)[0], context)[0][0]
        return z

    jacobian = torch.autograd.functional.jacobian(latent, dequantised[0])
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(latent(dequantised[0])).sum()
    expected = float((normal + torch.linalg.slogdet(jacobian).logabsdet).detach())
    assert found.voxels[number] == pytest.approx(expected, rel=1e-9)


def test_a_density_follows_from_shower_seed_and_index(generator: CaloGenerator, showers: Showers) -> None:
    whole = generator.log_prob(showers, seed=4)
    done: list[int] = []
    parts = [
        generator.log_prob(showers.select(np.arange(first, last)), seed=4, first_event=first, tile_done=done.append)
        for first, last in ((0, 100), (100, 101), (101, 600))
    ]
    assert sum(done) == 600
    for name in ("layers", "voxels", "residual"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    assert not np.array_equal(whole.voxels, generator.log_prob(showers, seed=5).voxels)


def test_threads_change_nothing(generator: CaloGenerator, showers: Showers) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(generator.log_prob(showers).voxels)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_published_preprocessing_has_a_density_too(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig], showers: Showers
) -> None:
    config = make_config(preprocessing={"voxels": "logit", "standardise": False}, student=None)
    teacher = fit(CaloFlow(showers.geometry, config), make_showers(300))
    found = teacher.log_prob(showers, dtype="float64")
    assert np.isfinite(found.voxels).all()
    assert found.residual.max() < 1e-8


def test_no_showers(generator: CaloGenerator, showers: Showers) -> None:
    assert generator.log_prob(showers.select(np.arange(0))).voxels.shape == (0,)


def test_refusals(generator: CaloGenerator, showers: Showers) -> None:
    from calofast.geometry import calogan
    from calofast.showers import Showers

    other = Showers(
        geometry=calogan(), incident_energy_gev=np.ones(2, np.float32), voxels_mev=np.ones((2, 504), np.float32)
    )
    with pytest.raises(GeometryError, match="another geometry"):
        generator.log_prob(other)
    with pytest.raises(ConfigError, match="precision"):
        generator.log_prob(showers, dtype="float16")  # type: ignore[arg-type]


def test_a_missing_condition_is_named(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig], showers: Showers
) -> None:
    data = {"validation_fraction": 0.2, "conditions": ["incident_energy_gev", "theta_rad"]}
    short = {"epochs": 1, "batch_size": 50}
    layers = {"blocks": 1, "hidden": [8], "training": short}
    teacher = make_config(data=data, layer_energies=layers, teacher={"blocks": 1, "hidden": [8], "training": short})
    inclined = make_showers(200, theta=True)
    trained = fit(CaloFlow(inclined.geometry, teacher), inclined)
    assert np.isfinite(trained.log_prob(inclined).voxels).all()
    with pytest.raises(ConditionError, match="theta_rad"):
        trained.log_prob(showers)
