"""Training, distillation, sampling and saving of the whole two-stage model on synthetic showers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calofast.config import StudentConfig
from calofast.generator import CaloGenerator
from calofast.training import CaloFlow, Run, distill, fit
from hepflows.artefact import load_artefact
from hepflows.errors import ArtefactError, ConditionError, ConfigError, DataError, GeometryError
from hepflows.made import MaskedLinear

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from calofast.config import CaloFlowConfig
    from calofast.showers import Showers


@dataclass(frozen=True)
class Trained:
    showers: Showers
    config: CaloFlowConfig
    teacher: CaloGenerator
    student: CaloGenerator
    coupling: CaloGenerator
    inductive: CaloGenerator


@pytest.fixture(scope="module")
def trained(make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig]) -> Trained:
    showers, config = make_showers(600), make_config()
    teacher = fit(CaloFlow(showers.geometry, config), showers)
    network = {"blocks": 3, "width": 24, "training": {"epochs": 3, "batch_size": 100, "learning_rate": 5e-3}}
    others = {
        name: fit(CaloFlow(showers.geometry, make_config(architecture=name, student=None, **{name: network})), showers)
        for name in ("coupling", "inductive")
    }
    return Trained(showers, config, teacher, distill(teacher, showers), **others)


@pytest.fixture(params=["teacher", "student", "coupling", "inductive"])
def generator(request: pytest.FixtureRequest, trained: Trained) -> CaloGenerator:
    chosen: CaloGenerator = getattr(trained, request.param)
    return chosen


def test_showers_have_the_response_of_the_training_data(generator: CaloGenerator, trained: Trained) -> None:
    real = trained.showers
    made = generator.sample(real.incident_energy_gev, seed=3, out_of_range="error")
    assert len(made) == len(real)
    assert made.geometry == real.geometry
    assert made.pdg == 11
    ratio = made.e_tot_mev / (1000.0 * made.incident_energy_gev)
    expected = real.e_tot_mev / (1000.0 * real.incident_energy_gev)
    assert ratio.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert ratio.std() == pytest.approx(expected.std(), rel=0.35)
    empty, expected_empty = ((x.layer_energies_mev[:, 2] == 0).mean() for x in (made, real))
    assert empty == pytest.approx(expected_empty, abs=0.1)
    positive = made.voxels_mev[made.voxels_mev > 0]
    assert positive.min() >= np.float32(0.01)


def test_voxels_add_up_to_the_first_stages_energies(generator: CaloGenerator) -> None:
    energies, voxels = generator.sample_stages(np.linspace(2, 95, 300), seed=1)
    sums = np.stack(
        [voxels[:, part].astype(np.float64).sum(axis=1) for part in generator.geometry.layer_slices], axis=1
    )
    np.testing.assert_allclose(sums, energies, rtol=1e-5, atol=1e-6)
    removed = generator.energy_removed_by_threshold(np.linspace(2, 95, 300), seed=1)
    assert 0 <= removed < 0.005
    assert generator.document["metrics"]["energy_removed_by_threshold"] < 0.005


@given(
    ends=st.lists(st.sampled_from(["low", "above", "below", "high"]), min_size=1, max_size=4),
    size=st.floats(0.0, 6.33795775),
    signs=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_at_the_ends_of_the_range_and_of_the_noise_showers_are_showers(
    generator: CaloGenerator, ends: list[str], size: float, signs: int
) -> None:
    """Whatever noise can occur (docs/noise.md states the largest), alone or in all places at once."""
    low, high = np.float32(generator.document["valid_range"]["incident_energy_gev"])
    edges = {"low": low, "above": np.nextafter(low, high), "below": np.nextafter(high, low), "high": high}
    energies = np.array([edges[end] for end in ends], dtype=np.float32)
    sign = np.random.default_rng(signs).choice(np.float32([-1.0, 0.0, 1.0]), (len(ends), generator.noise_dim))
    latents = np.float32(size) * sign
    showers = generator.sample(energies, seed=0, latents=latents)
    assert np.isfinite(showers.voxels_mev).all()
    assert (showers.voxels_mev >= 0).all()
    model = generator.model
    with torch.no_grad():
        first = torch.from_numpy(latents[:, : model.n_layers])
        target = model.voxels.final_energies(model.sample_layers(first, torch.from_numpy(energies[:, None])))
    assert bool(target.isfinite().all())
    # the hit threshold may take away less than one threshold a voxel
    preprocessing = model.voxels.config
    cells = np.array([part.stop - part.start for part in showers.geometry.layer_slices])
    lost = 0.0 if preprocessing.renormalise_after_threshold else preprocessing.threshold_mev * cells
    missing = target.double().numpy() - showers.layer_energies_mev
    rounding = 1e-5 * target.numpy()
    assert (missing >= -rounding).all()
    assert (missing <= lost + rounding).all()


def test_a_shower_follows_from_seed_and_index_alone(generator: CaloGenerator) -> None:
    energies = np.linspace(2, 95, 300)
    whole = generator.sample(energies, seed=5).voxels_mev
    first = generator.sample(energies[:100], seed=5).voxels_mev
    second = generator.sample(energies[100:], seed=5, first_event=100).voxels_mev
    assert np.array_equal(whole, np.concatenate([first, second]))
    assert not np.array_equal(whole[:100], generator.sample(energies[:100], seed=6).voxels_mev)


def test_teacher_and_student_share_the_first_stage(trained: Trained) -> None:
    energies = np.linspace(2, 95, 50)
    one, _ = trained.teacher.sample_stages(energies, seed=2)
    two, _ = trained.student.sample_stages(energies, seed=2)
    assert np.array_equal(one, two)


def test_saved_and_loaded_generators_agree(generator: CaloGenerator, tmp_path: Path) -> None:
    generator.save(tmp_path / "g")
    loaded = CaloGenerator.load(tmp_path / "g")
    assert loaded.document == generator.document
    assert loaded.kind == generator.kind
    energies = [3.0, 50.0, 90.0]
    assert np.array_equal(loaded.sample(energies, seed=1).voxels_mev, generator.sample(energies, seed=1).voxels_mev)
    document, state = load_artefact(tmp_path / "g")
    assert document.valid_range["incident_energy_gev"][0] > 0
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in state.values())


def test_weights_may_be_stored_in_half_the_size(generator: CaloGenerator, tmp_path: Path) -> None:
    generator.save(tmp_path / "whole")
    generator.save(tmp_path / "half", storage="float16")
    document, state = load_artefact(tmp_path / "half")
    parameters = {name for name, _ in generator.model.named_parameters()}
    assert {name for name, tensor in state.items() if tensor.dtype == torch.float16} == parameters
    loaded = CaloGenerator.load(tmp_path / "half")
    masks = {
        f"{name}.weight": part.mask for name, part in loaded.model.named_modules() if isinstance(part, MaskedLinear)
    }
    assert all(state[name].shape == (int(mask.sum()),) for name, mask in masks.items())
    for name, tensor in loaded.model.state_dict().items():
        original = generator.model.state_dict()[name] * masks.get(name, 1)
        assert torch.equal(tensor, original.half().float() if name in parameters else original), name
    assert document.weights is not None
    assert (tmp_path / "half" / "weights.safetensors").stat().st_size == document.weights.n_bytes
    energies = np.linspace(3, 90, 200)
    whole, half = (one.sample(energies, seed=1).e_tot_mev.mean() for one in (generator, loaded))
    assert half == pytest.approx(whole, rel=2e-3)
    with torch.no_grad():
        next(loaded.model.shower_flow.parameters()).fill_(1e6)
    with pytest.raises(ArtefactError, match="beyond the range of float16"):
        loaded.save(tmp_path / "large", storage="float16")
    assert not (tmp_path / "large").exists()


def test_loading_needs_a_calofast_artefact(trained: Trained, tmp_path: Path) -> None:
    trained.teacher.save(tmp_path / "g")
    other = json.loads((tmp_path / "g" / "generator.json").read_text())
    assert other["task"] == "calofast"
    with pytest.raises(ArtefactError):
        CaloGenerator.load(tmp_path)


@pytest.mark.parametrize(
    ("energies", "message"),
    [([0.2], "outside the trained range"), ([50.0, 1e4], r"incident_energy_gev\[1\]"), ([np.nan], "finite")],
)
def test_energies_outside_the_range_are_refused(generator: CaloGenerator, energies: list[float], message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        generator.sample(energies, seed=1)


def test_on_request_conditions_outside_are_passed_with_a_warning(generator: CaloGenerator) -> None:
    with pytest.warns(UserWarning, match="outside the trained range.*extrapolated"):
        made = generator.sample([120.0], seed=1, out_of_range="pass")
    assert made.e_tot_mev[0] > 0
    assert made.incident_energy_gev == 120.0
    with pytest.raises(ConditionError):
        generator.sample([-1.0], seed=1, out_of_range="pass")


def test_on_request_conditions_outside_are_clamped_with_a_warning(generator: CaloGenerator) -> None:
    low, high = generator.document["valid_range"]["incident_energy_gev"]
    energies = [120.0, 50.0, -1.0]
    with pytest.warns(UserWarning, match="outside the trained range.*clamped"):
        made = generator.sample(energies, seed=1, out_of_range="clamp")
    expected = generator.sample(np.array([high, 50.0, low], dtype=np.float32), seed=1)
    np.testing.assert_array_equal(made.incident_energy_gev, expected.incident_energy_gev)
    np.testing.assert_array_equal(made.voxels_mev, expected.voxels_mev)
    with pytest.raises(ConditionError, match="finite"):
        generator.sample([np.nan], seed=1, out_of_range="clamp")
    with pytest.raises(ConfigError, match="error or clamp or pass"):
        generator.sample([50.0], seed=1, out_of_range="warn")  # type: ignore[arg-type]


@pytest.mark.parametrize("others", [{"theta_rad": [0.1]}, {"angle": [0.2]}])
def test_unknown_conditions_are_refused(generator: CaloGenerator, others: dict[str, list[float]]) -> None:
    with pytest.raises(ConditionError, match="do not fit"):
        generator.sample({"incident_energy_gev": [50.0], **others}, seed=1)


def test_conditions_by_name_are_the_same_as_energies(generator: CaloGenerator) -> None:
    by_name = generator.sample({"incident_energy_gev": [50.0, 20.0]}, n=2, seed=1)
    assert np.array_equal(by_name.voxels_mev, generator.sample([50.0, 20.0], seed=1).voxels_mev)
    with pytest.raises(ConditionError, match="wrong number of conditions"):
        generator.sample([50.0, 20.0], n=3, seed=1)


def test_drawn_conditions_follow_from_seed_and_index(generator: CaloGenerator) -> None:
    ranges = {"incident_energy_gev": (10.0, 20.0)}
    whole = generator.draw_conditions(1000, seed=4, ranges=ranges)["incident_energy_gev"]
    part = generator.draw_conditions(10, seed=4, first_event=600, ranges=ranges)["incident_energy_gev"]
    assert np.array_equal(whole[600:610], part)
    assert scipy.stats.kstest(whole, "uniform", (10, 10)).pvalue > 1e-3
    with pytest.raises(ConditionError, match="needs a range"):
        generator.draw_conditions(10, seed=4)
    with pytest.raises(ConditionError, match=r"no such condition[\s\S]*theta_rad"):
        generator.draw_conditions(10, seed=4, ranges={**ranges, "theta_rad": (0.0, 1.0)})


def test_export_module_gives_the_samplers_showers(generator: CaloGenerator) -> None:
    from hepflows.philox import normal_noise

    module = generator.sampling_module()
    cond = torch.full((256, 1), 40.0)
    noise = torch.from_numpy(normal_noise(4, 0, 256, generator.noise_dim))
    with torch.no_grad():
        direct = module(cond, noise).numpy()
        clamped = module(torch.full((4, 1), 1e6), noise[:4])
    np.testing.assert_array_equal(direct, generator.sample([40.0] * 256, seed=4).voxels_mev)
    top = generator.document["valid_range"]["incident_energy_gev"][1]
    assert float(clamped.sum(1).max()) < 1100 * top
    metadata = generator.export_metadata()
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["conditions"][0]["unit"] == "GeV"


def test_a_second_condition_is_learnt_carried_and_required(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig], tmp_path: Path
) -> None:
    showers = make_showers(1500, theta=True)
    data = {"validation_fraction": 0.2, "conditions": ["incident_energy_gev", "theta_rad"]}
    training = {"epochs": 25, "batch_size": 100, "learning_rate": 5e-3}
    config = make_config(data=data, layer_energies={"blocks": 2, "hidden": [24], "training": training}, student=None)
    teacher = fit(CaloFlow(showers.geometry, config), showers)
    teacher.save(tmp_path / "g")
    teacher = CaloGenerator.load(tmp_path / "g")
    assert teacher.condition_names == ("incident_energy_gev", "theta_rad")
    assert teacher.document["units"]["theta_rad"] == "rad"
    energies = np.full(400, 50.0)
    given = [{"incident_energy_gev": energies, "theta_rad": np.full(400, angle)} for angle in (0.1, 0.9)]
    responses = [teacher.sample(conditions, seed=1).e_tot_mev.mean() / 50_000 for conditions in given]
    assert responses == pytest.approx([0.86, 0.54], abs=0.03)
    made = teacher.sample({"incident_energy_gev": [50.0], "theta_rad": [0.5]}, seed=1)
    assert made.conditions["theta_rad"].tolist() == [0.5]
    assert made.condition_units == {"theta_rad": "rad"}
    with pytest.raises(ConditionError, match="theta_rad"):
        teacher.sample([50.0], seed=1)
    with pytest.raises(ConditionError, match="theta_rad"):
        teacher.sample({"incident_energy_gev": [50.0], "theta_rad": [7.0]}, seed=1)
    with pytest.raises(ConditionError, match="not in the data"):
        fit(CaloFlow(showers.geometry, config), make_showers(100))


def test_published_preprocessing_trains_too(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig]
) -> None:
    showers = make_showers(600)
    config = make_config(
        preprocessing={"voxels": "logit", "standardise": False, "mirrors": ["mirror_x", "mirror_y"]},
        student=None,
    )
    teacher = fit(CaloFlow(showers.geometry, config), showers)
    made = teacher.sample(showers.incident_energy_gev, seed=1)
    ratio = made.e_tot_mev.sum() / showers.e_tot_mev.sum()
    assert ratio == pytest.approx(1.0, abs=0.02)
    energies, voxels = teacher.sample_stages(showers.incident_energy_gev, seed=1)
    np.testing.assert_allclose(voxels.sum(axis=1), energies.sum(axis=1), rtol=1e-5)


def test_mirrors_leave_the_likelihoods_data_symmetric(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig]
) -> None:
    from calofast.dataset import make_tensors

    showers = make_showers(200)
    config = make_config(preprocessing={"mirrors": ["mirror_x", "mirror_y"]})
    tensors = make_tensors(showers, config, "cpu")
    assert tensors.mirrors.shape == (4, 12)
    assert torch.equal(tensors.mirrors[0], torch.arange(12))
    torch.manual_seed(0)
    voxels, conditions = tensors.training_batch(torch.arange(len(tensors.train)))
    plain = tensors.voxels_mev[tensors.train]
    torch.testing.assert_close(voxels.sum(1), plain.sum(1))
    assert not torch.equal(voxels, plain)
    assert torch.equal(conditions, tensors.conditions[tensors.train])
    assert set(tensors.train.tolist()).isdisjoint(tensors.validation.tolist())


def test_a_stopped_chain_resumes_to_the_same_generators(
    make_showers: Callable[..., Showers],
    make_config: Callable[..., CaloFlowConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hepflows.errors import Interrupted
    from hepflows.train import loop

    training = {"epochs": 3, "batch_size": 100, "learning_rate": 5e-3}
    config = make_config(
        layer_energies={"blocks": 2, "hidden": [16], "training": training},
        student={"hidden": [24, 24], "training": training, "likelihood": training},
    )
    showers = make_showers(300)
    spec = CaloFlow(showers.geometry, config)
    teacher = fit(spec, showers)
    student = distill(teacher, showers)
    steps = {"left": 14}
    original = loop._Trainer._step

    def counted(self: Any, rows: torch.Tensor) -> float:
        steps["left"] -= 1
        if steps["left"] == 0:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return original(self, rows)

    monkeypatch.setattr(loop._Trainer, "_step", counted)
    results: list[CaloGenerator] = []
    for _ in range(8):
        try:
            first = fit(spec, showers, run=Run(directory=tmp_path, resume=True))
            results = [first, distill(first, showers, run=Run(directory=tmp_path, resume=True))]
            break
        except Interrupted:
            steps["left"] = 14
    assert len(results) == 2, "the training did not come to its end"
    for before, after in zip((teacher, student), results, strict=True):
        for name, tensor in before.model.state_dict().items():
            assert torch.equal(tensor, after.model.state_dict()[name]), name


def test_a_student_trained_by_its_likelihood_explains_new_showers_better(
    trained: Trained, make_showers: Callable[..., Showers]
) -> None:
    settings = trained.config.require_student().model_dump()
    settings["likelihood"] = {"epochs": 6, "batch_size": 100, "learning_rate": 5e-3}
    better = distill(trained.teacher, trained.showers, student=StudentConfig.model_validate(settings))
    unseen = make_showers(400, 77)
    found = [generator.log_prob(unseen, seed=1).voxels.mean() for generator in (trained.student, better)]
    assert found[1] > found[0] + 0.2, found
    assert np.array_equal(trained.student.log_prob(unseen, seed=1).layers, better.log_prob(unseen, seed=1).layers)
    training, distilled_only = (one.document["training"] for one in (better, trained.student))
    assert len(training["student_likelihood"]["history"]) == 6
    assert training["student"]["best_loss"] == distilled_only["student"]["best_loss"]


def test_impossible_trainings_are_refused(
    make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig], trained: Trained
) -> None:
    from calofast.geometry import calogan

    few = make_showers(15)
    with pytest.raises(DataError, match="too few"):
        fit(CaloFlow(few.geometry, make_config()), few)
    with pytest.raises(GeometryError, match="another geometry"):
        fit(CaloFlow(calogan(), make_config()), few)
    with pytest.raises(ArtefactError, match="only a teacher"):
        distill(trained.student, trained.showers)
