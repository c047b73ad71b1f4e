"""Refinement of tiny jet generators, with and without conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from exporters import to_onnx
from exporters.events import ExportedGenerator
from hepflows import registry
from hepflows.classifier import ClassifierConfig
from hepflows.cli import main
from hepflows.errors import ConfigError
from hepflows.refine import refine
from hepflows.refine.config import DiscFlowConfig, PullConfig, RefineConfig, RefinerFlowConfig
from hepflows.train.settings import TrainingConfig
from jetgen.energy_flow import PRIME_GRAPHS, energy_flow
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.refinement import JetRefinement
from jetgen.training import JetFlow, fit

if TYPE_CHECKING:
    from pathlib import Path

    from jetgen.generator import JetGenerator
    from jetgen.jets import Jets

SLOTS = 5
SMALL = {
    "coupling": {"blocks": 2, "width": 16, "depth": 1},
    "training": {"epochs": 2, "batch_size": 100, "learning_rate": 2e-3},
}
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
    flow=RefinerFlowConfig(blocks=2, width=16, events=400, training=TrainingConfig(epochs=1, batch_size=200)),
    discflow=DiscFlowConfig(rounds=1, training=TrainingConfig(epochs=1, batch_size=100)),
)


@pytest.fixture(scope="module")
def jets() -> Jets:
    return read_jets(embedded_jets_path(), first=500, particles=SLOTS)


@pytest.fixture(scope="module")
def generator(jets) -> JetGenerator:
    return fit(JetFlow("exact", **SMALL), jets)


@pytest.fixture(scope="module")
def unconditional(jets) -> JetGenerator:
    return fit(JetFlow("vnf", **SMALL), jets)


def test_classifier_inputs_hold_the_mass(jets, generator):
    numbers = JetRefinement().numbers(generator, jets)
    module = JetRefinement().features(generator)
    found = module(torch.from_numpy(numbers), torch.zeros(len(jets), 2)).numpy()
    assert found.shape == (len(jets), 4 * SLOTS + 10 + 2)
    assert module.emphasis.shape == (found.shape[1],)
    assert float(module.emphasis[: 4 * SLOTS].square().sum()) == pytest.approx(1)
    assert (module.emphasis[4 * SLOTS :] == 1).all()
    np.testing.assert_allclose(found[:, 4 * SLOTS] / 10, jets.mass_rel, atol=1e-5)
    np.testing.assert_allclose(found[:, 4 * SLOTS + 1] * SLOTS, jets.multiplicity, atol=1e-5)
    sums = 10.0 ** found[:, 4 * SLOTS + 4 : -2]
    graphs = (((0, 1), (0, 1)), ((0, 1), (0, 2), (1, 2)), PRIME_GRAPHS["square"])
    np.testing.assert_allclose(sums[:, 1:4], energy_flow(jets, graphs), rtol=2e-3, atol=1e-6)
    # more slots than the generator has: the softest are left out
    wide = read_jets(embedded_jets_path(), first=20, particles=2 * SLOTS)
    np.testing.assert_allclose(JetRefinement().numbers(generator, wide), numbers[:20])


@pytest.mark.parametrize("preset", ["exact", "vnf", "equivariant"])
def test_latents_refined_by_the_reverse_divergence(generator, unconditional, jets, preset):
    continuous = {"equivariant": {"width": 8, "blocks": 1}, "training": SMALL["training"]}
    first = {
        "exact": lambda: generator,
        "vnf": lambda: unconditional,
        "equivariant": lambda: fit(JetFlow("equivariant", **continuous), jets),
    }[preset]()
    flow = CONFIG.flow.model_copy(update={"objective": "reverse"})
    refined = refine(first, jets, "laser-flow", CONFIG.model_copy(update={"flow": flow}))
    events = refined.sample(refined.draw_conditions(200, seed=4), n=200, seed=4)
    assert np.isfinite(events.particles).all()
    history = refined.document["training"]["refinement"]["flow"]["history"]
    assert np.isfinite(history[-1]["validation_loss"])
    if preset != "vnf":
        np.testing.assert_allclose(events.mass_rel, events.mass_condition, rtol=1e-4)


@pytest.mark.parametrize("method", ["dctr", "laser-flow", "rejection"])
def test_refined_jets_keep_their_conditions_and_come_back_from_disk(generator, jets, method, tmp_path: Path):
    refined = refine(generator, jets, method, CONFIG)
    conditions = refined.draw_conditions(300, seed=4)
    events = refined.sample(conditions, seed=4)
    np.testing.assert_allclose(events.mass_rel, conditions["mass"], rtol=1e-4)  # exact by construction, still
    refined.save(tmp_path / "refined")
    again = registry.load(tmp_path / "refined").sample(conditions, seed=4)
    np.testing.assert_array_equal(again.pt_rel, events.pt_rel)
    if method == "dctr":
        np.testing.assert_array_equal(again.weights, events.weights)
        assert len(np.unique(events.weights)) > 10


def test_jets_without_conditions(unconditional, jets):
    refined = refine(unconditional, jets, "laser-flow", CONFIG)
    assert len(refined.sample({}, n=70, seed=1)) == 70
    assert refined.network.scaler.mean.shape == (0,)


def test_an_exported_graph_has_weights_beside_the_jets(generator, jets, tmp_path: Path):
    refined = refine(generator, jets, "dctr", CONFIG)
    exported = ExportedGenerator(to_onnx(refined, tmp_path / "jets.onnx", parity_events=512).model)
    conditions = refined.draw_conditions(200, seed=6)
    ours, theirs = refined.sample(conditions, seed=6), exported.sample(conditions, seed=6)
    np.testing.assert_allclose(theirs.pt_rel, ours.pt_rel, atol=1e-4)
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=0.02)


def test_discflow_of_jets(generator, jets):
    tuned = refine(generator, jets, "discflow", CONFIG)
    assert tuned.kind == "exact"
    assert "discflow" in tuned.document["training"]
    before = generator.model.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in tuned.model.state_dict().items())


def test_a_continuous_flow_has_no_likelihood_to_fine_tune(jets):
    tiny = {
        "equivariant": {"width": 16, "blocks": 1, "heads": 2, "steps": 2},
        "training": {**SMALL["training"], "epochs": 1},
    }
    with pytest.raises(ConfigError, match=r"no likelihood to fine-tune[\s\S]*dctr"):
        refine(fit(JetFlow("equivariant", **tiny), jets), jets, "discflow", CONFIG)


def test_the_command_line_refines_jets(generator, tmp_path: Path):
    generator.save(tmp_path / "jets")
    command = ["refine", str(tmp_path / "jets"), "--data", str(embedded_jets_path()), "--read", "first=300"]
    options = ("classifier.epochs=2", "classifier.hidden=[16]", "copies=1", "classifier.largest_auc=1.0")
    options += ("classifier.largest_norm=1e9",)
    options += ("classifier.least_ess=0.0", "pull.classifier.epochs=2", "flow.events=200", "flow.training.epochs=1")
    settings = [word for option in options for word in ("--set", option)]
    out = str(tmp_path / "refined")
    assert (
        main(
            [
                *command,
                "--read",
                f"particles={SLOTS}",
                "--method",
                "laser-flow",
                "--out",
                out,
                *settings,
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert registry.load(out).kind == "exact+laser-flow"


def test_weights_of_an_exported_file_are_those_of_the_artefact(jets, tmp_path: Path):
    """Where the mass is not exact the classifier sees the mass that was asked for, in both."""
    free = fit(JetFlow("cnf_mn", **SMALL), jets)
    weighted = refine(free, jets, "dctr", CONFIG)
    conditions = weighted.draw_conditions(256, seed=4)
    events = weighted.sample(conditions, seed=4)
    assert np.abs(events.mass_rel - events.mass_condition).max() > 0.01
    asked = JetRefinement().conditions(events)["mass"]
    np.testing.assert_array_equal(asked, events.mass_condition)
    np.testing.assert_array_equal(JetRefinement().conditions(jets)["mass"], jets.mass_rel)
    exported = ExportedGenerator(to_onnx(weighted, tmp_path / "weighted.onnx").model)
    np.testing.assert_allclose(exported.sample(conditions, seed=4).weights, events.weights, rtol=1e-3)
