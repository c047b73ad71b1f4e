"""The exported files that every runtime has to reproduce; a further one is a function with `@case`.

Networks are small and their weights random: what a runtime computes with them does not depend on training, and steep
splines are the harder test. Run with the environment that exports: ``python tests/compat/cases.py FOLDER``.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from calofast.caloflow import CaloFlowModel
from calofast.config import (
    CaloFlowConfig,
    CouplingConfig,
    CouplingShape,
    LayerEnergyConfig,
    StudentConfig,
    TeacherConfig,
)
from calofast.generator import CaloGenerator
from calofast.generator_document import make_document
from calofast.geometry import Geometry, Layer
from calofast.reading import embedded_showers_path, read_showers
from exporters import to_onnx
from hepflows.errors import HepflowsError
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.training import JetFlow, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from calofast.shower_flow import Kind

CASES: Final[dict[str, Callable[[Path], object]]] = {}
_SHOWERS: Final = 1000
_CONSTITUENTS: Final = 6
_SPREAD: Final = 0.03  # of the random weights: with 0.1, torch's own float32 is off by tens of MeV
_TRAINING: Final = {"epochs": 1, "batch_size": 100, "learning_rate": 2e-3}


def case(write: Callable[[Path], object]) -> Callable[[Path], object]:
    """Add a function that exports to the path it is given; its name is the file's."""
    CASES[write.__name__] = write
    return write


@case
def toy(path: Path) -> object:
    """The blocks of the engine without a task around them."""
    module = runpy.run_path(str(Path(__file__).parents[1] / "exporters" / "conftest.py"))
    return to_onnx(module["ToyGenerator"](), path)


@case
def student(path: Path) -> object:
    """A CaloFlow student with the cells of the packaged showers."""
    showers = read_showers(embedded_showers_path(), first=_SHOWERS)
    voxels, energies = torch.as_tensor(showers.voxels_mev), torch.as_tensor(showers.incident_energy_gev)[:, None]
    return to_onnx(_caloflow("student", showers.geometry, voxels.float(), energies.float()), path, parity_events=512)


@case
def student_par04(path: Path) -> object:
    """A student on a cylindrical mesh, as Geant4's example Par04 asks for it."""
    return to_onnx(_mesh("student", 3), path, profile="par04")


@case
def student_float16(path: Path) -> object:
    """The same student in the profile generic, its weights stored as float16."""
    return to_onnx(_mesh("student", 3), path, weights="float16")


@case
def teacher(path: Path) -> object:
    """A teacher of more than 64 cells, so that its blocks are loops."""
    return to_onnx(_mesh("teacher", 12), path, parity_events=512)


@case
def coupling(path: Path) -> object:
    """A coupling flow of all voxels."""
    return to_onnx(_mesh("coupling", 3), path)


@case
def inductive(path: Path) -> object:
    """Coupling flows layer by layer, two layers sharing one network, as Par04 asks for it."""
    return to_onnx(_mesh("inductive", 3), path, profile="par04")


@case
def jets_vnf(path: Path) -> object:
    """A coupling flow without conditions: noise is the only input."""
    return _jets(path, "vnf", coupling={"blocks": 2, "width": 16, "depth": 1})


@case
def jets_exact(path: Path) -> object:
    """A coupling flow with the exact mass, solved by Newton's iteration."""
    return _jets(path, "exact", coupling={"blocks": 2, "width": 16, "depth": 1})


@case
def jets_equivariant(path: Path) -> object:
    """A continuous flow with attention, exact mass and exact sum of pT."""
    return _jets(path, "equivariant", equivariant={"width": 16, "blocks": 2, "heads": 2, "steps": 2})


def _mesh(kind: Kind, n_alpha: int) -> CaloGenerator:
    """Made-up showers on 2 x n_alpha x 3 cells."""
    layers = [
        Layer(name=f"z{i}", kind="cylindrical", r_edges_mm=(0, 2, 4), n_alpha=n_alpha, z_mm=(2.0 * i, 2.0 * i + 2))
        for i in range(3)
    ]
    layout = Geometry(name="mesh", layers=tuple(layers), particle="e+")
    generator = torch.Generator().manual_seed(4)
    energies = 1 + 99 * torch.rand(_SHOWERS, 1, generator=generator)
    shares = torch.rand(_SHOWERS, layout.n_voxels, generator=generator) ** 3
    voxels = 1e3 * energies * shares / (1.1 * shares.sum(1, keepdim=True))
    return _caloflow(kind, layout, torch.where(shares < 0.03, torch.zeros_like(voxels), voxels), energies)


def _caloflow(kind: Kind, layout: Geometry, voxels: torch.Tensor, energies: torch.Tensor) -> CaloGenerator:
    """Preprocessing fitted to showers (N, V) in MeV of energies (N, 1) in GeV, random weights."""
    config = CaloFlowConfig(
        layer_energies=LayerEnergyConfig(blocks=2, hidden=(32,)),
        teacher=TeacherConfig(blocks=2, hidden=(64, 64), head=CouplingShape(blocks=2, width=16, neighbours=4)),
        student=StudentConfig(hidden=(64, 64)),
        coupling=CouplingConfig(blocks=3, width=48),
        inductive=CouplingConfig(blocks=3, width=32),
    )
    torch.manual_seed(1)
    model = CaloFlowModel(layout, config, kind)
    model.fit_preprocessing(voxels, energies, torch.tensor([[1.0], [100.0]]))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for flow in (model.layer_energies.flow, model.shower_flow):
            for weight in flow.parameters():
                weight.add_(_SPREAD * torch.randn(weight.shape, generator=generator))
    document = make_document(model, layout, config, provenance={"pdg": -11}, training={})
    return CaloGenerator(model, layout, config, document)


def _jets(path: Path, preset: str, **settings: Any) -> object:
    jets = read_jets(embedded_jets_path(), first=600, particles=_CONSTITUENTS)
    return to_onnx(fit(JetFlow(preset, training=_TRAINING, **settings), jets), path)


def main() -> int:
    """Write every case into the folder named on the command line."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for name, write in CASES.items():
        try:
            write(folder / name / f"{name}.onnx")
        except HepflowsError as error:
            sys.stderr.write(f"{name} cannot be exported: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
