"""A trained morphing as one ONNX file, checked against torch before it is written.

The graph takes physical conditions ``cond`` (N, C), absent without conditions, and physical observables ``features``
(N, D), and gives the morphed observables ``x`` (N, D). Observables of whole numbers enter spread over their steps, as
the metadata's ``grids`` say, and are rounded by the host. It has the operators of `exporters.contract`; the metadata
lie inside the file, under the same namespace as those of generators.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from exporters.contract import OPSET, OUTPUT, Signature
from exporters.dependencies import require_onnx, require_runtime, session
from exporters.lowering import lower
from exporters.manifest import package_versions, with_properties
from exporters.onnx import ParityError
from exporters.tolerance import Quantiles
from hepflows.errors import OutputError
from hepflows.files import atomic_file, check_output
from hepflows.philox import normal_noise, uniform_noise

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.morphing.artefact import Morphing
    from hepflows.morphing.model import MorphingModel

FEATURES: Final = "features"
_EVENTS: Final = 2000
_ALLOWED: Final = 4.0  # times torch's own float32 error
_FLOOR: Final = Quantiles(median=1e-6, p999=1e-5, maximum=1e-4)  # in standard deviations


@dataclass(frozen=True, kw_only=True)
class ExportedMorphing:
    """What `morphing_to_onnx` wrote.

    Attributes:
        model: the ONNX file.
        n_bytes: its size.
        difference: from torch in float64, in standard deviations of the observables.
    """

    model: Path
    n_bytes: int
    difference: Quantiles


class _Graph(nn.Module):
    """The morphing as `lower` wants it: conditions (N, C), observables (N, D) to morphed observables (N, D)."""

    def __init__(self, model: MorphingModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, cond: Tensor, x: Tensor) -> Tensor:
        y, _ = self.model.scaling(x)
        moved, _ = self.model.move(y, self.model.context(cond))
        out: Tensor = self.model.scaling.inverse(moved)
        return out


def morphing_to_onnx(morphing: Morphing, path: str | os.PathLike[str], *, force: bool = False) -> ExportedMorphing:
    """Write a morphing as one self-contained ONNX file.

    Args:
        morphing: what `hepflows morph train` wrote.
        path: file to write, ending in ``.onnx``.
        force: overwrite an existing file.

    Raises:
        ParityError: ONNX Runtime does not reproduce torch within a few times the rounding of float32.
        OutputError: the file exists or cannot be written.
        MissingDependencyError: onnx or onnxruntime are not installed.
    """
    require_onnx()
    require_runtime()
    path = Path(path)
    if path.suffix != ".onnx":
        raise OutputError("an exported file has the suffix .onnx", where=path, remedy="name it NAME.onnx")
    check_output(path, force=force)
    graph = _Graph(copy.deepcopy(morphing.model)).eval()
    cond, x = _test_events(morphing)
    names = [("cond", cond.shape[1])] if cond.shape[1] else []
    signature = Signature(inputs=(*names, (FEATURES, x.shape[1])), width=x.shape[1])
    model = lower(graph, signature, (torch.from_numpy(cond[:3]), torch.from_numpy(x[:3])))
    given = {"cond": cond, FEATURES: x} if cond.shape[1] else {FEATURES: x}
    found: NDArray[np.float32] = session(model).run(None, given)[0]
    difference, own = _differences(morphing, graph, cond, x, found)
    if words := difference.exceeding(own.scaled(_ALLOWED).or_larger(_FLOOR)):
        raise ParityError(
            "the exported graph does not reproduce torch within the tolerance; nothing was written",
            where=path,
            found="; ".join(words),
            remedy="report this with the versions of torch and onnxruntime; another runtime version may do",
        )
    with atomic_file(path, force=force) as temporary:
        temporary.write_bytes(with_properties(model, _metadata(morphing, difference)))
    return ExportedMorphing(model=path, n_bytes=path.stat().st_size, difference=difference)


def _test_events(morphing: Morphing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Conditions over the trained range, and observables around the middle of the training sets."""
    ranges = [morphing.document.valid_range[column.name] for column in morphing.conditions]
    low, high = (np.array([ends[side] for ends in ranges]) for side in (0, 1))
    cond = low + (high - low) * uniform_noise(0, 0, _EVENTS, len(ranges), stream=1)
    noise = torch.from_numpy(normal_noise(0, 0, _EVENTS, len(morphing.features)))
    with torch.no_grad():
        x = morphing.model.scaling.inverse(noise).numpy()
    return cond.astype(np.float32), x


def _differences(
    morphing: Morphing, graph: nn.Module, cond: NDArray[np.float32], x: NDArray[np.float32], found: NDArray[np.float32]
) -> tuple[Quantiles, Quantiles]:
    """Of ONNX Runtime and of torch in float32, from torch in float64, in standard deviations."""
    with torch.no_grad():
        plain = graph(torch.from_numpy(cond), torch.from_numpy(x))
        double = copy.deepcopy(graph).double()
        truth = double(torch.from_numpy(cond).double(), torch.from_numpy(x).double())
        scaling = copy.deepcopy(morphing.model.scaling).double()
        scaled, *others = (scaling(part.double())[0] for part in (truth, torch.from_numpy(found), plain))
    runtime, own = (Quantiles.of((other - scaled).numpy()) for other in others)
    return runtime, own


def _metadata(morphing: Morphing, difference: Quantiles) -> dict[str, Any]:
    document = morphing.document.to_dict()
    conditions = [
        {"name": c.name, "unit": c.unit, "valid_range": list(morphing.document.valid_range[c.name])}
        for c in morphing.conditions
    ]
    return {
        "task": document["task"],
        "kind": document["kind"],
        "conditions": conditions,
        "features": [{"name": column.name, "unit": column.unit} for column in morphing.features],
        "grids": [asdict(grid) for grid in morphing.grids],
        "io": {"dtype": "float32", "batch_axis": 0, "output": OUTPUT},
        "provenance": document["provenance"],
        "tolerance": {"unit": "standard deviations", **difference.to_dict()},
        "package_versions": package_versions(),
        "opset": OPSET,
    }
