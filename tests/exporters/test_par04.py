"""Profile par04: the row that Geant4's example sends gives the cells that it reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from calofast.caloflow import SamplingModule
from calofast.config import CaloFlowConfig
from calofast.geometry import Geometry, calochallenge, calogan
from calofast.layer import Layer
from calofast.showers import Showers
from calofast.training import CaloFlow, distill, fit
from exporters import OnnxGenerator, to_onnx, verify
from exporters.exportable import Condition
from exporters.par04 import Par04Encoding
from hepflows.config import build
from hepflows.errors import ArtefactError, ConfigError
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    from pathlib import Path

    from calofast.generator import CaloGenerator
    from exporters import ExportResult

N_Z, N_PHI, N_R = 3, 4, 2
ENERGY = Condition(name="incident_energy_gev", unit="GeV", low=1.0, high=100.0)
THETA = Condition(name="theta_deg", unit="deg", low=0.0, high=60.0)


def cylinder(**changes: Any) -> Geometry:
    settings = {"kind": "cylindrical", "r_edges_mm": (0.0, 4.65, 9.3), "n_alpha": N_PHI}
    layers = [
        Layer(name=f"layer_{i}", **(settings | {"z_mm": (3.4 * i, 3.4 * (i + 1))} | (changes if i == 1 else {})))
        for i in range(N_Z)
    ]
    return Geometry(name="cylinder", layers=tuple(layers))


@pytest.fixture(scope="module")
def student() -> CaloGenerator:
    """Showers that know their cell: voxel v has about v times the energy of voxel 0."""
    random = np.random.default_rng(3)
    geometry = cylinder()
    energy = random.uniform(1.0, 100.0, 400)
    shape = (1.0 + np.arange(geometry.n_voxels)) * np.exp(0.1 * random.standard_normal((400, geometry.n_voxels)))
    voxels = 900 * energy[:, None] * shape / shape.sum(1, keepdims=True)
    showers = Showers(
        geometry=geometry,
        incident_energy_gev=energy.astype(np.float32),
        voxels_mev=voxels.astype(np.float32),
        pdg=11,
    )
    training = {"epochs": 2, "batch_size": 100}
    networks = {"hidden": [16], "training": training}
    config = build(
        CaloFlowConfig,
        {
            "layer_energies": {"blocks": 2, "hidden": [8], "training": training},
            "teacher": {"blocks": 2, **networks},
            "student": networks,
        },
        where="test",
    )
    teacher = fit(CaloFlow(geometry, config=config), showers)
    return distill(teacher, showers)


@pytest.fixture(scope="module")
def result(student: CaloGenerator, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return to_onnx(student, tmp_path_factory.mktemp("par04") / "par04.onnx", profile="par04")


def test_a_row_as_par04_sends_it_gives_the_cells_in_its_order(result: ExportResult, student: CaloGenerator) -> None:
    """What Par04InferenceSetup and Par04OnnxInference do, one row, the last input's name, output 0 times the energy."""
    session = ort.InferenceSession(result.model)
    name = [entry.name for entry in session.get_inputs()][-1]
    energy_mev, noise = 50e3, normal_noise(1, 0, 1, student.noise_dim)
    row = np.zeros((1, student.noise_dim + 4), dtype=np.float32)
    row[:, : student.noise_dim] = noise
    row[0, student.noise_dim :] = energy_mev / 1024e3, 30 / 90, 0, 1
    cells = session.run(None, {name: row})[0].ravel() * energy_mev
    expected = student.sample([50.0], seed=1).voxels_mev[0].reshape(N_Z, N_PHI, N_R)
    found = np.empty_like(expected)
    for r in range(N_R):  # the loops of Par04InferenceSetup::GetPositions, z fastest
        for phi in range(N_PHI):
            for z in range(N_Z):
                found[z, phi, r] = cells[(r * N_PHI + phi) * N_Z + z]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)
    assert expected[2, 3, 1] > 5 * expected[0, 0, 0]  # so that another order would be seen


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_whatever_the_host_sends_there_is_no_nan(result: ExportResult, student: CaloGenerator, column: int) -> None:
    """Par04 asks for any energy, below the valid range, too, and for angles up to 180 degrees."""
    session = ort.InferenceSession(result.model)
    row = np.zeros((1, student.noise_dim + 4), dtype=np.float32)
    for value in (0.0, -1.0, 1e30, np.inf, np.nan):
        row[0, student.noise_dim + column] = value
        cells = session.run(None, {"input": row})[0]
        assert np.isfinite(cells).all()
        assert (cells >= 0).all()


def test_the_client_gives_the_generators_showers(result: ExportResult, student: CaloGenerator) -> None:
    energies = np.geomspace(1, 100, 300)
    client = OnnxGenerator(result.model, threads=1)
    assert [condition.name for condition in client.conditions] == ["incident_energy_gev"]
    assert (client.noise_dim, client.n_outputs) == (student.noise_dim, N_Z * N_PHI * N_R)
    x = client.sample(energies, seed=5)
    np.testing.assert_allclose(x, student.sample(energies, seed=5).voxels_mev, rtol=1e-3, atol=2e-2)


def test_metadata_tell_the_encoding(result: ExportResult, student: CaloGenerator) -> None:
    metadata = json.loads(result.manifest.read_text())["metadata"]
    assert metadata["profile"] == "par04"
    assert metadata["encoding"]["mesh"] == [N_R, N_PHI, N_Z]
    np.testing.assert_allclose(metadata["encoding"]["cell_size"], [4.65, np.pi / 2, 3.4])
    assert metadata["io"]["inputs"][0]["width"] == student.noise_dim + 4
    assert metadata["output"]["unit"] == "fraction of the incident energy"
    graph = onnx.load(result.model).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["input", "x"]
    assert verify(result.model).passed


def test_a_host_with_another_largest_energy(student: CaloGenerator, tmp_path: Path) -> None:
    result = to_onnx(student, tmp_path / "x.onnx", profile="par04", max_energy_gev=500.0, parity_events=256)
    session = ort.InferenceSession(result.model)
    row = np.zeros((1, student.noise_dim + 4), dtype=np.float32)
    row[0, student.noise_dim] = 20.0 / 500.0
    x = session.run(None, {"input": row})[0]
    module = student.sampling_module()
    assert isinstance(module, SamplingModule)
    np.testing.assert_allclose(x.sum(), _sum(module, student.noise_dim) / 20e3, rtol=1e-4)


def _sum(module: SamplingModule, noise_dim: int) -> float:
    import torch

    with torch.no_grad():
        return float(module(torch.tensor([[20.0]]), torch.zeros(1, noise_dim)).sum())


def test_an_angle_is_sent_in_units_of_90_degrees() -> None:
    encoding = Par04Encoding.of([ENERGY, THETA], cylinder().to_dict())
    columns = encoding.columns(np.array([[64.0, 45.0]], dtype=np.float32))
    np.testing.assert_allclose(columns, [[64 / 1024, 0.5, 0, 1]])
    assert Par04Encoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding
    radian = Condition(name="theta_rad", unit="rad", low=0.0, high=1.0)
    encoding = Par04Encoding.of([ENERGY, radian], cylinder().to_dict())
    np.testing.assert_allclose(encoding.columns(np.array([[64.0, np.pi / 4]], dtype=np.float32))[0, 1], 0.5)


@pytest.mark.parametrize("entries", [1.5, None, ["mesh"], {"mesh": [1, 2, 3]}, {"no": 1}])
def test_a_damaged_encoding_is_refused(entries: Any) -> None:
    with pytest.raises(ArtefactError, match="encoding of the profile par04 is damaged"):
        Par04Encoding.from_dict(entries)


def test_the_public_mesh_of_45_layers_is_accepted() -> None:
    encoding = Par04Encoding.of([ENERGY], calochallenge("dataset_2").to_dict())
    assert encoding.mesh == (9, 16, 45)


@pytest.mark.parametrize(
    ("geometry", "word"),
    [
        (calogan().to_dict(), "regular"),
        (calochallenge("photons").to_dict(), "other cells"),
        (cylinder(n_alpha=5).to_dict(), "layer_1 has other cells"),
        (cylinder(r_edges_mm=(0.0, 5.0, 9.3)).to_dict(), "other cells"),
        (cylinder(z_mm=(3.4, 5.0)).to_dict(), "deep"),
        (None, "no layers"),
        ({"layers": [{"name": "a", "kind": "cylindrical"}]}, "without radii"),
        ({"layers": ["a"]}, "without radii"),
        (cylinder(z_mm=None).to_dict(), "depth of some layers"),
    ],
)
def test_other_geometries_are_refused(geometry: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        Par04Encoding.of([ENERGY], geometry)
    assert caught.value.exit_code == 2
    assert "generic" in str(caught.value)


@pytest.mark.parametrize("edges", [(1.0, 2.0, 3.0), (0.0, 1.0, 3.0)])
def test_radii_are_regular_from_the_axis_on(edges: tuple[float, ...]) -> None:
    layers = tuple(Layer(name=f"l{i}", kind="cylindrical", r_edges_mm=edges, n_alpha=2) for i in range(2))
    with pytest.raises(ConfigError, match="not regular from 0"):
        Par04Encoding.of([ENERGY], Geometry(name="rings", layers=layers).to_dict())


def test_there_is_no_fraction_of_no_energy() -> None:
    with pytest.raises(ConfigError, match="no energy"):
        Par04Encoding.of([Condition(name="incident_energy_gev", unit="GeV", low=0.0, high=9.0)], cylinder().to_dict())


def test_the_card_tells_the_clients_unit(result: ExportResult) -> None:
    assert "seed=1)   # MeV\n" in result.card.read_text()


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [Condition(name="mass", unit="1", low=0.0, high=1.0)],
        [ENERGY, Condition(name="x_mm", unit="mm", low=0.0, high=1.0)],
        [ENERGY, THETA, THETA],
    ],
)
def test_conditions_that_par04_does_not_send_are_refused(conditions: list[Condition]) -> None:
    with pytest.raises(ConfigError, match="an energy and an angle"):
        Par04Encoding.of(conditions, cylinder().to_dict())


def test_a_largest_energy_belongs_to_par04(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="par04 only"):
        to_onnx(toy, tmp_path / "x.onnx", max_energy_gev=500.0)
    with pytest.raises(ConfigError, match=r"an energy and an angle|cylindrical mesh"):
        to_onnx(toy, tmp_path / "x.onnx", profile="par04")
    assert list(tmp_path.iterdir()) == []
