"""A jet generator as an ONNX file: outputs, the exact mass, drawn conditions, and the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from exporters import to_onnx
from exporters.events import ExportedGenerator
from hepflows.cli import main
from hepflows.errors import ArtefactError, ConditionError
from jetgen.observables import mass_deviation
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.training import JetFlow, fit

if TYPE_CHECKING:
    from pathlib import Path

    from exporters import ExportResult
    from jetgen.generator import JetGenerator
    from jetgen.jets import Jets

SLOTS = 6
SMALL = {
    "coupling": {"blocks": 2, "width": 16, "depth": 1},
    "training": {"epochs": 1, "batch_size": 100, "learning_rate": 2e-3},
}


@pytest.fixture(scope="module")
def jets() -> Jets:
    return read_jets(embedded_jets_path(), first=600, particles=SLOTS)


@pytest.fixture(scope="module")
def generator(jets: Jets) -> JetGenerator:
    return fit(JetFlow("exact", **SMALL), jets)


@pytest.fixture(scope="module")
def result(generator: JetGenerator, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return to_onnx(generator, tmp_path_factory.mktemp("jets") / "exact.onnx")


@pytest.fixture(scope="module")
def exported(result: ExportResult) -> ExportedGenerator:
    return ExportedGenerator(result.model)


def test_inputs_and_outputs_of_the_graph(result: ExportResult, jets: Jets) -> None:
    session = ort.InferenceSession(result.model)
    assert [entry.name for entry in session.get_inputs()] == ["cond", "noise"]
    cond = np.stack(list(jets.conditions.values()), axis=1)[:200].astype(np.float32)
    noise = np.random.default_rng(1).standard_normal((200, 3 * SLOTS)).astype(np.float32)
    (x,) = session.run(None, {"cond": cond, "noise": noise})
    assert x.shape == (200, 4 * SLOTS)
    pt, mask = x.reshape(200, SLOTS, 4)[:, :, 2:].transpose(2, 0, 1)  # slot by slot: eta_rel, phi_rel, pt_rel, mask
    np.testing.assert_array_equal(mask.sum(axis=1), cond[:, 1])
    assert (np.diff(pt, axis=1) <= 0).all()
    np.testing.assert_array_equal(pt > 0, mask > 0.5)


def test_masses_are_those_asked_for(exported: ExportedGenerator, jets: Jets) -> None:
    assert exported.condition_names == ("mass", "multiplicity")
    sample = exported.sample(jets.conditions, seed=3)
    np.testing.assert_array_equal(sample.mass_condition, jets.mass_rel.astype(np.float32))
    np.testing.assert_array_equal(sample.multiplicity, jets.multiplicity)
    assert np.abs(mass_deviation(sample)).max() <= 1e-5  # no NaN: what was asked for is known


def test_the_artefacts_jets(exported: ExportedGenerator, generator: JetGenerator) -> None:
    ours, theirs = exported.sample(n=300, seed=5), generator.sample(n=300, seed=5)
    np.testing.assert_array_equal(ours.mass_condition, theirs.mass_condition)
    np.testing.assert_allclose(ours.particles, theirs.particles, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("ranges", [{}, {"mass": (0.05, 0.08)}, {"mass": (0.05, 0.08), "multiplicity": (6.0, 6.0)}])
def test_drawn_conditions_are_the_artefacts_to_the_bit(
    exported: ExportedGenerator, generator: JetGenerator, ranges: dict[str, tuple[float, float]]
) -> None:
    ours = exported.draw_conditions(400, seed=7, first_event=256, ranges=ranges)
    theirs = generator.draw_conditions(400, seed=7, first_event=256, ranges=ranges)
    assert list(ours) == list(theirs) == ["mass", "multiplicity"]
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_a_clamped_mass_is_the_one_that_the_jet_has(exported: ExportedGenerator) -> None:
    high = exported.runtime.conditions[0].high
    beyond = {"mass": [10 * high, 0.06], "multiplicity": [6.0, 6.0]}
    with pytest.raises(ConditionError, match="mass"):
        exported.sample(beyond, seed=1)
    for policy in ("clamp", "pass"):
        with pytest.warns(UserWarning, match="clamped"):
            sample = exported.sample(beyond, seed=1, out_of_range=policy)
        np.testing.assert_allclose(sample.mass_condition, [high, 0.06], rtol=1e-6)
        np.testing.assert_allclose(sample.mass_rel, sample.mass_condition, rtol=1e-5)


@pytest.mark.parametrize(
    ("mass", "multiplicity", "word"),
    [
        (0.06, 5.4, "whole number"),
        (0.0001, 6.0, "mass"),
        (0.06, 9.0, "multiplicity"),
    ],
)
def test_conditions_that_the_artefact_refuses_are_refused(
    exported: ExportedGenerator, generator: JetGenerator, mass: float, multiplicity: float, word: str
) -> None:
    conditions = {"mass": [mass], "multiplicity": [multiplicity]}
    for source in (exported, generator):
        with pytest.raises(ConditionError, match=word):
            source.sample(conditions, seed=1)
        with pytest.raises(ConditionError, match=word):
            source.check_conditions(conditions)


@pytest.mark.parametrize(("key", "value"), [("provenance", "text"), ("condition_tables", {"multiplicity_share": [1]})])
def test_damaged_metadata_are_said(result: ExportResult, key: str, value: object) -> None:
    exported = ExportedGenerator(result.model)
    exported.runtime.metadata[key] = value
    with pytest.raises(ArtefactError, match="metadata or shapes are damaged"):
        exported.sample({"mass": [0.06], "multiplicity": [6.0]}, seed=1)


def test_what_the_generator_says_about_itself_is_in_the_file(result: ExportResult, generator: JetGenerator) -> None:
    metadata = json.loads(result.manifest.read_text())["metadata"]
    described = generator.export_metadata()
    assert metadata["mass_constraint"] == "exact"
    for key, value in described.items():
        if key not in {"noise", "metrics"}:
            assert metadata[key] == json.loads(json.dumps(value)), key
    assert metadata["noise"]["order"] == described["noise"]["order"]


def test_a_generator_without_conditions_has_no_such_input(jets: Jets, tmp_path: Path) -> None:
    generator = fit(JetFlow("vnf", **SMALL), jets)
    result = to_onnx(generator, tmp_path / "vnf.onnx")
    assert [entry.name for entry in ort.InferenceSession(result.model).get_inputs()] == ["noise"]
    exported = ExportedGenerator(result.model)
    ours, theirs = exported.sample(n=300, seed=2), generator.sample(n=300, seed=2)
    assert exported.condition_names == ()
    assert ours.mass_condition is None
    same = (ours.mask == theirs.mask).all(axis=1)  # a slot at the very edge may be empty in one and not in the other
    assert same.mean() > 0.99
    np.testing.assert_allclose(ours.particles[same], theirs.particles[same], rtol=1e-3, atol=1e-4)


def test_nothing_is_summed_over_no_conditions(jets: Jets, tmp_path: Path) -> None:
    result = to_onnx(fit(JetFlow("vnf", **SMALL), jets), tmp_path / "vnf.onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(result.model)).graph
    widths = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        for value in (*graph.value_info, *graph.input)
    }
    # ONNX Runtime 1.15 gives such a sum the wrong shape
    reductions = [node for node in graph.node if node.op_type.startswith("Reduce")]
    assert reductions
    assert not [node.name for node in reductions if 0 in widths.get(node.input[0], ())]


def test_generate_runs_the_file(result: ExportResult, exported: ExportedGenerator, tmp_path: Path) -> None:
    out = tmp_path / "x.h5"
    assert main(["generate", str(result.model), "-n", "300", "--seed", "1", "--out", str(out)]) == 0
    written, sample = read_jets(out), exported.sample(n=300, seed=1)
    np.testing.assert_array_equal(written.particles, sample.particles)
    np.testing.assert_array_equal(written.mass_condition, sample.mass_condition)


@pytest.mark.parametrize("exported_file", [True, False], ids=["file", "artefact"])
def test_generate_in_a_mass_window_with_one_multiplicity(
    result: ExportResult, generator: JetGenerator, tmp_path: Path, *, exported_file: bool
) -> None:
    source = result.model if exported_file else generator.save(tmp_path / "artefact")
    out = tmp_path / "window.h5"
    window = ("--condition", "mass=0.05..0.08", "--condition", f"multiplicity={SLOTS}")
    assert main(["generate", str(source), "-n", "1000", *window, "--seed", "1", "--out", str(out)]) == 0
    written = read_jets(out)
    assert len(written) == 1000
    assert (written.multiplicity == SLOTS).all()
    assert written.mass_rel.min() >= 0.05 * (1 - 1e-5)
    assert written.mass_rel.max() <= 0.08 * (1 + 1e-5)
    assert np.ptp(written.mass_rel) > 0.02  # drawn from the whole window


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [("multiplicity=3..5", "whole number"), ("mass=7..8", "mass window"), ("energy=1..2", "no such condition")],
)
def test_generate_names_impossible_conditions(
    generator: JetGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str], condition: str, complaint: str
) -> None:
    artefact, out = generator.save(tmp_path / "artefact"), tmp_path / "x.h5"
    command = ["generate", str(artefact), "-n", "10", "--condition", condition, "--seed", "1", "--out", str(out)]
    assert main(command) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
