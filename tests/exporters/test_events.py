"""An exported CaloFlow student gives showers, the same ones as the artefact; and so does a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calofast.caloflow import CaloFlowModel
from calofast.config import CaloFlowConfig, CouplingConfig, LayerEnergyConfig, StudentConfig, TeacherConfig
from calofast.generator import CaloGenerator
from calofast.generator_document import make_document
from calofast.geometry import Geometry, Layer
from calofast.showers import Showers
from exporters import to_onnx, verify
from exporters.events import ExportedGenerator
from hepflows.errors import ArtefactError, ConditionError, ConfigError, OutputError
from hepflows.generator import Generator
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    from pathlib import Path

    from calofast.shower_flow import Kind
    from exporters import ExportResult

EDGES = tuple(float(edge) for edge in range(-20, 21))


def geometry(n: int, coarse_layers: int = 1) -> Geometry:
    """Layers of n x 2 and 3 x 1 voxels."""
    fine = Layer(name="fine", kind="regular", x_edges_mm=EDGES[: n + 1], y_edges_mm=EDGES[:3], z_mm=(0.0, 1.0))
    coarse = [
        Layer(name=f"coarse_{i}", kind="regular", x_edges_mm=EDGES[:4], y_edges_mm=EDGES[:2], z_mm=(i + 1.0, i + 2.0))
        for i in range(coarse_layers)
    ]
    return Geometry(name="small", layers=(fine, *coarse), particle="e+")


def calo_generator(kind: Kind, n: int = 5, *, coarse_layers: int = 1, spread: float = 0.1) -> CaloGenerator:
    """A small CaloFlow model whose preprocessing is fitted and whose weights are not the identity's."""
    config = CaloFlowConfig(
        layer_energies=LayerEnergyConfig(blocks=2, hidden=(16,)),
        teacher=TeacherConfig(blocks=2, hidden=(24, 24)),
        student=StudentConfig(hidden=(24, 24)),
        coupling=CouplingConfig(blocks=3, width=24),
        inductive=CouplingConfig(blocks=3, width=24),
    )
    layout = geometry(n, coarse_layers)
    generator = torch.Generator().manual_seed(4)
    energies = 1 + 99 * torch.rand(500, 1, generator=generator)
    shares = torch.rand(500, layout.n_voxels, generator=generator) ** 3
    voxels = 1e3 * energies * shares / (1.1 * shares.sum(1, keepdim=True))
    voxels = torch.where(shares < 0.03, torch.zeros_like(voxels), voxels)
    torch.manual_seed(1)
    model = CaloFlowModel(layout, config, kind)
    model.fit_preprocessing(voxels, energies, torch.tensor([[1.0], [100.0]]))
    with torch.no_grad():
        for flow in (model.layer_energies.flow, model.shower_flow):
            for weight in flow.parameters():
                weight.add_(spread * torch.randn(weight.shape, generator=generator))
    document = make_document(model, layout, config, provenance={"pdg": -11}, training={})
    return CaloGenerator(model, layout, config, document)


@pytest.fixture(scope="module")
def student() -> CaloGenerator:
    return calo_generator("student")


@pytest.fixture(scope="module")
def result(student: CaloGenerator, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return to_onnx(student, tmp_path_factory.mktemp("calo") / "student.onnx")


def test_the_exported_file_gives_the_artefacts_showers(student: CaloGenerator, result: ExportResult) -> None:
    exported = ExportedGenerator(result.model)
    assert isinstance(exported, Generator)
    assert (exported.task, exported.condition_names) == ("calofast", ("incident_energy_gev",))
    energies = np.geomspace(1, 100, 300)
    ours, theirs = exported.sample(energies, seed=3), student.sample(energies, seed=3)
    assert isinstance(ours, Showers)
    assert ours.geometry == theirs.geometry
    assert ours.pdg == -11
    np.testing.assert_array_equal(ours.incident_energy_gev, theirs.incident_energy_gev)
    same = ((ours.voxels_mev == 0) == (theirs.voxels_mev == 0)).all(axis=1)
    assert same.mean() > 0.99
    atol = 2 * result.parity.bound.maximum
    np.testing.assert_allclose(ours.voxels_mev[same], theirs.voxels_mev[same], rtol=0, atol=atol)
    assert verify(result.model).passed


def test_the_noise_of_the_layer_energies_comes_first(student: CaloGenerator, result: ExportResult) -> None:
    runtime = ExportedGenerator(result.model).runtime
    layers = len(student.geometry.layers)
    assert runtime.noise_dim == layers + student.geometry.n_voxels
    cond = np.full((200, 1), 50.0, dtype=np.float32)
    noise, other = normal_noise(1, 0, 200, runtime.noise_dim), normal_noise(2, 0, 200, runtime.noise_dim)
    totals = np.equal.outer(student.geometry.layer_index, np.arange(layers)).astype(float)
    first = runtime.run(cond, noise) @ totals
    same_layers = runtime.run(cond, np.concatenate([noise[:, :layers], other[:, layers:]], axis=1)) @ totals
    same_voxels = runtime.run(cond, np.concatenate([other[:, :layers], noise[:, layers:]], axis=1)) @ totals
    scale = np.abs(first).max()
    # the hit threshold takes a little of a layer's energy, another little from other voxels
    assert np.quantile(np.abs(same_layers - first), 0.9) < 1e-2 * scale
    assert np.median(np.abs(same_voxels - first)) > 2e-2 * scale


def test_a_shard_continues_where_the_first_ends(result: ExportResult) -> None:
    exported = ExportedGenerator(result.model)
    whole = exported.sample([10.0] * 20, seed=3).voxels_mev
    part = exported.sample([10.0] * 10, seed=3, first_event=10).voxels_mev
    np.testing.assert_allclose(part, whole[10:], rtol=0, atol=result.parity.bound.maximum)


def test_conditions_outside_are_refused_or_clamped_with_a_warning(result: ExportResult) -> None:
    exported = ExportedGenerator(result.model)
    with pytest.raises(ConditionError, match="incident_energy_gev"):
        exported.sample([500.0], seed=1)
    at_the_end = exported.sample([100.0], seed=1)
    for policy in ("clamp", "pass"):
        with pytest.warns(UserWarning, match="clamped"):
            clamped = exported.sample([500.0], seed=1, out_of_range=policy)
        np.testing.assert_array_equal(clamped.voxels_mev, at_the_end.voxels_mev)
        assert clamped.incident_energy_gev == at_the_end.incident_energy_gev
        with pytest.raises(ConditionError, match="not a number"):
            exported.sample([10.0, np.nan], seed=1, out_of_range=policy)
    with pytest.raises(ConfigError, match="error or clamp or pass"):
        exported.sample([10.0], seed=1, out_of_range="warn")  # type: ignore[arg-type]
    with pytest.raises(ConditionError, match="other conditions"):
        exported.sample({"incident_energy_gev": [10.0], "theta_rad": [0.1]}, seed=1)
    with pytest.raises(ConditionError, match="shape"):
        exported.sample([[10.0]], seed=1)


def test_an_exported_file_is_no_artefact(result: ExportResult, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="artefact"):
        ExportedGenerator(result.model).save(tmp_path / "artefact")


def test_a_task_that_nobody_turns_into_events_is_named(exported: ExportResult) -> None:
    with pytest.raises(ConfigError, match="events"):
        ExportedGenerator(exported.model)


def test_the_exact_teacher_of_many_voxels_gives_the_artefacts_showers(tmp_path: Path) -> None:
    teacher = calo_generator("teacher", n=40)
    assert teacher.geometry.n_voxels == 83
    result = to_onnx(teacher, tmp_path / "teacher.onnx", parity_events=1)
    assert result.operators["Loop"] == 2
    assert result.parity.values >= 100_000
    exported = ExportedGenerator(result.model)
    assert exported.document["portable"] is False
    energies = np.geomspace(1, 100, 100)
    ours, theirs = exported.sample(energies, seed=3).voxels_mev, teacher.sample(energies, seed=3).voxels_mev
    same = ((ours == 0) == (theirs == 0)).all(axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(ours[same], theirs[same], rtol=0, atol=2 * result.parity.bound.maximum)
    assert verify(result.model).passed


@pytest.mark.parametrize("kind", ["coupling", "inductive"])
def test_further_architectures_give_the_artefacts_showers(kind: Kind, tmp_path: Path) -> None:
    # two layers share a network; a spread of 0.1 bends too much for the float32 of torch itself
    generator = calo_generator(kind, coarse_layers=3, spread=0.03)
    result = to_onnx(generator, tmp_path / "generator.onnx")
    exported = ExportedGenerator(result.model)
    assert exported.document["kind"] == kind
    energies = np.geomspace(1, 100, 100)
    ours, theirs = exported.sample(energies, seed=3).voxels_mev, generator.sample(energies, seed=3).voxels_mev
    same = ((ours == 0) == (theirs == 0)).all(axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(ours[same], theirs[same], rtol=0, atol=2 * result.parity.bound.maximum)


def test_a_file_without_manifest_is_refused(result: ExportResult, tmp_path: Path) -> None:
    lonely = tmp_path / "student.onnx"
    lonely.write_bytes(result.model.read_bytes())
    with pytest.raises(ArtefactError, match="manifest"):
        ExportedGenerator(lonely)
