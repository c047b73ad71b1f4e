"""Refinement of tiny shower generators: inputs, artefacts, exported graphs, and the command line."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calofast.geometry import calochallenge
from calofast.reading import embedded_showers_path, read_showers
from calofast.refinement import ShowerFeatures, ShowerRefinement
from calofast.shower_shapes import layer_axes, shower_shapes
from calofast.training import CaloFlow, fit
from exporters import to_onnx, verify
from exporters.events import ExportedGenerator
from hepflows import registry
from hepflows.classifier import ClassifierConfig
from hepflows.cli import main
from hepflows.errors import ArtefactError, ConditionError, ConfigError, DataError, GeometryError, TrainingError
from hepflows.refine import refine
from hepflows.refine.config import (
    DiscFlowConfig,
    HmcConfig,
    PullConfig,
    RefineConfig,
    RefinerFlowConfig,
    RefinerGanConfig,
)
from hepflows.refine.event_ratio import EventWeights, fit_event_ratio
from hepflows.refine.methods import CHECKPOINTED
from hepflows.refine.samples import make_samples
from hepflows.refine.settings import read_settings
from hepflows.train.settings import TrainingConfig
from jetgen.reading import embedded_jets_path

if TYPE_CHECKING:
    from pathlib import Path

    from calofast.generator import CaloGenerator
    from calofast.showers import Showers

CLASSIFIER = ClassifierConfig(
    hidden=(16,),
    epochs=4,
    warn_ess=0.0,
    least_ess=0.0,
    largest_auc=1.0,
    warn_norm=1e9,
    largest_norm=1e9,
    max_weight=10.0,
)
CONFIG = RefineConfig(
    copies=1,
    classifier=CLASSIFIER,
    pull=PullConfig(classifier=CLASSIFIER.model_copy(update={"calibration": "affine"})),
    hmc=HmcConfig(
        step=0.15,
        leapfrog=6,
        chains=40,
        burn_in=20,
        draws=120,
        candidates=4,
        transitions=2,
        largest_r_hat=2,
        warn_r_hat=1.9,
    ),
    flow=RefinerFlowConfig(blocks=2, width=16, events=400, training=TrainingConfig(epochs=1, batch_size=200)),
    gan=RefinerGanConfig(hidden=(16,), steps=5, batch_size=50),
    discflow=DiscFlowConfig(rounds=1, training=TrainingConfig(epochs=2, batch_size=100, learning_rate=1e-3)),
)
METHODS = ("dctr", "laser-flow", "laser-gan", "hmc", "rejection")


@pytest.fixture(scope="module")
def showers(make_showers) -> Showers:
    return make_showers(400, seed=3)


@pytest.fixture(scope="module")
def generator(showers, make_config) -> CaloGenerator:
    return fit(CaloFlow(showers.geometry, make_config()), showers)


@pytest.fixture(scope="module")
def refined(generator, showers) -> dict[str, object]:
    return {method: refine(generator, showers, method, CONFIG) for method in METHODS}


def test_classifier_inputs_are_those_of_the_definition(showers):
    module = ShowerFeatures(showers.geometry, 5.0)
    x, cond = torch.from_numpy(showers.voxels_mev), torch.from_numpy(showers.incident_energy_gev)[:, None]
    found = module(x, cond).numpy()
    lit = np.where(showers.voxels_mev < 5.0, 0, showers.voxels_mev)
    seen = replace(showers, voxels_mev=lit)
    shapes = shower_shapes(seen)  # in double precision, by another way
    layers = shapes.layer_energies_mev
    assert (layers == 0).any()
    moments = []
    for index in (0, 1):
        for layer, axes in zip(showers.geometry.layers, shapes.axes, strict=True):
            largest = {axis: np.abs(position).max() for axis, position in layer_axes(layer).items()}
            moments += [np.nan_to_num(values[index] / largest[axis]) for axis, values in axes.items()]
    bright = [lit[:, part].max(1) / np.maximum(lit[:, part].sum(1), 1e-9) for part in showers.geometry.layer_slices]
    expected = [
        np.log10(np.maximum(lit, 5) / 5),
        np.log10(np.maximum(layers, 5) / 5),
        np.log10(np.maximum(lit.sum(1, keepdims=True), 5) / (1e3 * cond.numpy())),
        lit.sum(1, keepdims=True) / (1e3 * cond.numpy()),
        np.nan_to_num(shapes.layer_fractions),
        np.stack(moments, axis=1),
        shapes.layer_sparsity,
        np.stack(bright, axis=1),
        np.log10(cond.numpy()),
    ]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=2e-3)  # least width 1e-3
    assert module.emphasis.shape == (found.shape[1],)
    n_voxels = showers.geometry.n_voxels
    assert float(module.emphasis[:n_voxels].square().sum()) == pytest.approx(1)
    assert (module.emphasis[n_voxels:] == 1).all()
    # showers before and after the threshold are alike
    np.testing.assert_array_equal(module(torch.from_numpy(lit), cond).numpy(), found)


def test_classifier_inputs_of_rings():
    geometry = calochallenge("photons")
    voxels = np.zeros((3, geometry.n_voxels), np.float32)
    voxels[1, 7], voxels[2] = 1e6, 1e4
    found = ShowerFeatures(geometry, 1.0)(torch.from_numpy(voxels), torch.full((3, 1), 100.0))
    assert torch.isfinite(found).all()
    assert not found[0, : geometry.n_voxels].any()


def test_showers_of_another_geometry_are_refused(generator):
    other = read_showers(embedded_showers_path(), first=120)
    with pytest.raises(GeometryError):
        ShowerRefinement().numbers(generator, other)
    with pytest.raises(GeometryError):
        refine(generator, other, "dctr", CONFIG)


def test_weights_lead_back_to_latents(generator, showers):
    samples = make_samples(generator, showers, ShowerRefinement(), copies=1, seed=1)
    ratio = fit_event_ratio(samples, CLASSIFIER, seed=1).model
    features = ShowerRefinement().features(generator)
    module = copy.deepcopy(generator.sampling_module())
    weights = EventWeights(module, features, ratio, latent_dim=generator.noise_dim).double()
    z = torch.from_numpy(samples.latents[:40]).double().requires_grad_()
    cond = torch.from_numpy(samples.conditions[:40]).double()
    log_w = weights(z, cond)
    (gradient,) = torch.autograd.grad(log_w.sum(), z)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=z.dtype)
    with torch.no_grad():
        step = 1e-6
        slope = (weights(z + step * direction, cond) - weights(z - step * direction, cond)) / (2 * step)
    # a step over the threshold, where the weight jumps, is rare
    assert torch.isclose((gradient * direction).sum(1), slope, rtol=1e-3, atol=1e-6).double().mean() > 0.9
    assert (slope != 0).any()


def test_latents_refined_by_the_reverse_divergence(generator, showers, tmp_path: Path):
    flow = CONFIG.flow.model_copy(update={"objective": "reverse"})
    refined = refine(generator, showers, "laser-flow", CONFIG.model_copy(update={"flow": flow}))
    refined.save(tmp_path / "refined")
    loaded = registry.load(tmp_path / "refined")
    energies = {"incident_energy_gev": np.linspace(5, 90, 50)}
    events = loaded.sample(energies, seed=5)
    np.testing.assert_array_equal(events.voxels_mev, refined.sample(energies, seed=5).voxels_mev)
    # what is refined stays as it is, and can be trained further
    assert all(parameter.requires_grad for parameter in generator.model.shower_flow.parameters())


@pytest.mark.parametrize("method", ["hmc", "rejection"])
def test_samplers_with_weights_of_the_events_themselves(generator, showers, tmp_path: Path, method):
    pull = CONFIG.pull.model_copy(update={"source": "events"})
    hmc = CONFIG.hmc.model_copy(
        update={"burn_in": 4, "draws": 8, "largest_r_hat": 1e9, "warn_r_hat": 1e9, "least_ess": 0.0, "step": 0.05}
    )
    refined = refine(generator, showers, method, CONFIG.model_copy(update={"pull": pull, "hmc": hmc}))
    refined.save(tmp_path / "refined")
    # the generator is kept once
    inside, own = (
        (tmp_path / "refined" / name).stat().st_size for name in ("base/weights.safetensors", "weights.safetensors")
    )
    assert own < 0.7 * inside
    energies = {"incident_energy_gev": np.linspace(5, 90, 30)}
    events, again = (one.sample(energies, seed=5) for one in (refined, registry.load(tmp_path / "refined")))
    np.testing.assert_array_equal(again.voxels_mev, events.voxels_mev)
    # refined latents have larger weights than those of the same candidates without weights
    weights = refined.refiner.weights
    conditions = torch.linspace(5, 90, 100)[:, None]
    with torch.no_grad():
        found = weights(refined.refiner.draw(conditions, seed=1, first_event=0), conditions).mean()
        constant = copy.deepcopy(refined.refiner)
        for values in (constant.weights.ratio.slopes, constant.weights.ratio.lowest, constant.weights.ratio.log_limit):
            values.zero_()  # all weights are 1
        plain = weights(constant.draw(conditions, seed=1, first_event=0), conditions).mean()
    assert found > plain


@pytest.mark.parametrize("method", METHODS)
def test_a_refined_artefact_is_one_like_any_other(refined, method, tmp_path: Path):
    generator = refined[method]
    energies = {"incident_energy_gev": np.linspace(5, 90, 300)}
    events = generator.sample(energies, seed=5)
    generator.save(tmp_path / "refined")
    loaded = registry.load(tmp_path / "refined")
    again = loaded.sample(energies, seed=5)
    np.testing.assert_array_equal(again.voxels_mev, events.voxels_mev)
    assert loaded.kind == f"teacher+{method}"
    rest = loaded.sample({"incident_energy_gev": energies["incident_energy_gev"][256:]}, seed=5, first_event=256)
    np.testing.assert_array_equal(rest.voxels_mev, events.voxels_mev[256:])
    assert len(loaded.sample({"incident_energy_gev": []}, seed=5)) == 0
    if method == "dctr":
        np.testing.assert_array_equal(again.weights, events.weights)
        np.testing.assert_array_equal(rest.weights, events.weights[256:])
    else:
        assert not np.array_equal(events.voxels_mev, generator.base.sample(energies, seed=5).voxels_mev)


def test_another_inside_is_refused(refined, generator, showers, tmp_path: Path):
    refined["dctr"].save(tmp_path / "refined")
    refine(generator, showers, "discflow", CONFIG).save(tmp_path / "refined" / "base", force=True)
    with pytest.raises(ArtefactError, match="not the one that was refined"):
        registry.load(tmp_path / "refined")


def test_a_damaged_inside_is_found(refined, tmp_path: Path):
    refined["dctr"].save(tmp_path / "refined")
    weights = tmp_path / "refined" / "base" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtefactError, match="truncated"):
        registry.load(tmp_path / "refined")


@pytest.mark.parametrize("method", ["dctr", "laser-flow"])
def test_exported_graphs_give_the_artefacts_events(refined, method, tmp_path: Path):
    generator = refined[method]
    result = to_onnx(generator, tmp_path / "refined.onnx", parity_events=512)
    exported = ExportedGenerator(result.model)
    energies = {"incident_energy_gev": np.linspace(5, 90, 300)}
    ours, theirs = generator.sample(energies, seed=2), exported.sample(energies, seed=2)
    close = np.isclose(theirs.voxels_mev, ours.voxels_mev, rtol=1e-3, atol=0.5)
    assert close.mean() > 0.999  # a voxel at the threshold may flip
    if method == "dctr":
        same = close.all(axis=1)
        np.testing.assert_allclose(theirs.weights[same], ours.weights[same], rtol=0.02)
        (x, weight) = exported.document["io"]["outputs"]
        assert (x["width"], weight["name"], weight["width"]) == (ours.voxels_mev.shape[1], "weight", 1)
        assert exported.document["tolerance"]["weight"]["passed"]
        assert verify(result.model).passed
    else:
        assert theirs.weights is None


def test_weights_are_not_given_twice(refined, showers):
    with pytest.raises(ConfigError, match="have weights already"):
        refine(refined["dctr"], showers, "dctr", CONFIG)


def test_samplers_are_not_exported(refined, tmp_path: Path):
    for method in ("hmc", "rejection"):
        with pytest.raises(ConfigError, match=r"graph cannot hold[\s\S]*laser-flow or laser-gan"):
            to_onnx(refined[method], tmp_path / "sampler.onnx")
    assert not list(tmp_path.iterdir())


def test_par04_knows_no_weights(refined, tmp_path: Path):
    with pytest.raises(ConfigError, match="Par04 knows no weighted events"):
        to_onnx(refined["dctr"], tmp_path / "par04.onnx", profile="par04")


def test_weights_on_top_of_refined_latents(refined, showers, tmp_path: Path):
    both = refine(refined["laser-flow"], showers, "dctr", CONFIG)
    both.save(tmp_path / "both")
    loaded = registry.load(tmp_path / "both")
    assert loaded.kind == "teacher+laser-flow+dctr"
    energies = {"incident_energy_gev": [10.0, 50.0]}
    np.testing.assert_array_equal(loaded.sample(energies, seed=1).weights, both.sample(energies, seed=1).weights)


def test_refined_latents_are_refined_again(refined, showers):
    """Those of the GAN are more than the generator's own: the task's word on latents is not for them."""
    inner = refined["laser-gan"]
    assert inner.noise_dim != inner.base.noise_dim
    again = refine(inner, showers, "laser-flow", CONFIG)
    assert len(again.sample({"incident_energy_gev": [20.0, 50.0]}, seed=1)) == 2


def test_discflow_trains_a_copy_with_weights(generator, showers):
    before = {name: tensor.clone() for name, tensor in generator.model.state_dict().items()}
    tuned = refine(generator, showers, "discflow", CONFIG)
    assert type(tuned) is type(generator)
    assert tuned.kind == "teacher"
    assert tuned.document["training"]["discflow"]["rounds"][0]["best_epoch"] >= 1
    after = generator.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = [name for name, tensor in tuned.model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert any(name.startswith("shower_flow") for name in changed)
    assert any(name.startswith("layer_energies") for name in changed)
    # a few epochs of the likelihood on its training showers: they are likelier than before
    assert tuned.log_prob(showers).voxels.mean() > generator.log_prob(showers).voxels.mean()


OPTIONS = (
    "classifier.epochs=2",
    "classifier.largest_auc=1.0",
    "classifier.least_ess=0.0",
    "classifier.largest_norm=1e9",
    "classifier.hidden=[16]",
    "copies=1",
)


def test_the_command_line_from_showers_to_weighted_showers(generator, showers, tmp_path: Path, capsys):
    registry.task("calofast").write(showers, tmp_path / "reference.h5")
    generator.save(tmp_path / "teacher")
    settings = [word for option in OPTIONS for word in ("--set", option)]
    command = ["refine", str(tmp_path / "teacher"), "--data", str(tmp_path / "reference.h5"), "--device", "cpu"]
    out = ["--out", str(tmp_path / "dctr")]
    assert main([*command, "--method", "dctr", *out, *settings]) == 0
    made = str(tmp_path / "weighted.h5")
    assert (
        main(["generate", str(tmp_path / "dctr"), "--energy", "10..50GeV", "-n", "300", "--seed", "1", "--out", made])
        == 0
    )
    weighted = read_showers(made)
    assert weighted.weights is not None
    assert len(np.unique(weighted.weights)) > 10
    document = json.loads((tmp_path / "dctr" / "generator.json").read_text())
    assert document["kind"] == "teacher+dctr"
    assert document["provenance"]["refined_with_dctr"]["n_events"] == 400
    capsys.readouterr()

    for arguments, words in (
        (("--method", "dctr", *out, *settings), "output exists already"),
        (("--method", "dtcr", *out), "Invalid value"),
        (
            ("--method", "dctr", "--out", str(tmp_path / "new"), "--set", "clasifier.epochs=2"),
            "did you mean classifier?",
        ),
        (("--method", "hmc", "--out", str(tmp_path / "new"), "--resume"), "hmc keeps no checkpoints"),
        (("--method", "dctr", *out, "--resume"), "dctr keeps no checkpoints"),
        (("--method", "discflow", "--out", str(tmp_path / "new"), "--resume"), "nothing to resume"),
        (("--method", "dctr", "--out", str(tmp_path / "new"), "--set", "classifier.hidden=[]"), "classifier.hidden"),
        (
            ("--method", "dctr", "--out", str(tmp_path / "new"), *settings, "--set", "classifier.learning_rate=1e35"),
            "diverged",
        ),
    ):
        assert main([*command, *arguments]) == 2
        shown = capsys.readouterr().err
        assert words in shown
        assert "Traceback" not in shown
    assert not (tmp_path / "new").exists()


def test_jets_are_not_refined_as_showers(generator, tmp_path: Path, capsys):
    generator.save(tmp_path / "teacher")
    command = ["refine", str(tmp_path / "teacher"), "--method", "dctr", "--out", str(tmp_path / "out")]
    assert main([*command, "--data", str(embedded_jets_path()), "--device", "cpu"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "events of another task expected: events of calofast found: events of jetgen" in shown


def test_showers_outside_the_range_of_the_generator(generator, make_showers):
    far = make_showers(200, seed=4)
    far = replace(far, incident_energy_gev=far.incident_energy_gev * 1e3)
    with pytest.raises(ConditionError, match=r"reference events: [\s\S]*by --read"):
        refine(generator, far, "dctr", CONFIG)


def test_a_few_showers_that_carry_all_the_weight_are_no_reference(generator, showers):
    weights = np.ones(len(showers), np.float32)
    weights[:5] = 1e7
    for method in ("dctr", "discflow"):
        with pytest.raises(DataError, match=r"reference events: few events carry all the weight[\s\S]*found: 5 of 400"):
            refine(generator, replace(showers, weights=weights), method, CONFIG)


@pytest.mark.parametrize("method", CHECKPOINTED)
def test_checkpoints_of_a_refinement(generator, showers, make_showers, tmp_path: Path, capsys, method):
    """They are kept while it runs, belong to its events, and only `--force` gives them up."""
    for name, events in (("own", showers), ("other", make_showers(400, seed=8))):
        registry.task("calofast").write(events, tmp_path / f"{name}.h5")
    generator.save(tmp_path / "teacher")
    options = [f"classifier.{key}={value}" for key, value in CLASSIFIER.model_dump(mode="json").items()]
    options += ["copies=1", "flow.blocks=2", "flow.width=16", "flow.events=400", "flow.training.epochs=1"]
    options += ["discflow.rounds=1", "discflow.training.epochs=2", "pull.source=events"]
    settings = [word for option in options for word in ("--set", option.replace("'", '"'))]
    out = tmp_path / "refined"
    folder = tmp_path / "refined-training"
    refine(
        generator,
        read_showers(tmp_path / "own.h5"),
        method,
        read_settings(None, options),
        directory=folder,
    )
    assert list(folder.rglob("checkpoint.safetensors"))

    def run(name: str, *more: str) -> tuple[int, str]:
        command = ["refine", str(tmp_path / "teacher"), "--data", str(tmp_path / f"{name}.h5"), "--device", "cpu"]
        code = main([*command, "--method", method, "--out", str(out), *settings, *more])
        return code, " ".join(capsys.readouterr().err.split())

    code, shown = run("own")
    assert code == 2
    assert "a stopped training has left checkpoints" in shown
    code, shown = run("other", "--resume")
    assert code == 2
    assert "belongs to another training" in shown
    assert folder.is_dir()
    assert run("own", "--resume")[0] == 0
    assert not folder.exists()
    assert f"refined_with_{method}" in json.loads((out / "generator.json").read_text())["provenance"]
    # a finished one is not overwritten
    code, shown = run("own", "--resume")
    assert code == 2
    assert "output exists already" in shown
    assert "add --force to --resume" in shown
    assert run("own", "--force")[0] == 0
    assert not folder.exists()


def test_fine_tuning_with_other_weights_is_not_resumed(generator, showers, tmp_path: Path):
    refine(generator, showers, "discflow", CONFIG, directory=tmp_path)
    weights = np.linspace(0.5, 1.5, len(showers), dtype=np.float32)
    with pytest.raises(TrainingError, match="belongs to another training"):
        refine(generator, replace(showers, weights=weights), "discflow", CONFIG, directory=tmp_path, resume=True)


def test_what_lies_where_checkpoints_would_is_kept(generator, tmp_path: Path, capsys):
    generator.save(tmp_path / "student-training")
    registry.task("calofast").write(read_showers(embedded_showers_path(), first=10), tmp_path / "e.h5")
    for artefact in ("student-training", "absent"):
        command = ["refine", str(tmp_path / artefact), "--data", str(tmp_path / "e.h5"), "--method", "laser-flow"]
        assert main([*command, "--out", str(tmp_path / "student"), "--force", "--device", "cpu"]) == 2
    assert registry.load(tmp_path / "student-training").kind == "teacher"
