"""Maps of observables as ONNX files: morphings and M-flows, which take events and generate none.

The graph takes physical conditions ``cond`` (N, C), absent without conditions, and physical observables ``features``
(N, D), and gives ``x`` (N, D) and perhaps further outputs. It has the operators of `exporters.contract`. As of a
generator, a manifest with the metadata, golden events and a model card lie beside it; in the golden file the
observables stand where generators have their noise. Columns differ in unit: differences are compared in standard
deviations of each output column over the test events, the metadata's ``tolerance.scale``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from exporters.contract import IR_VERSION, OPSET, OUTPUT, Signature, is_portable, operators
from exporters.dependencies import MAPPED, require_onnx, require_runtime, run, session
from exporters.golden import Golden, write_golden
from exporters.lowering import lower
from exporters.manifest import (
    CONTRACT_VERSION,
    Names,
    generator_entries,
    package_versions,
    with_properties,
    write_manifest,
)
from exporters.model_card import map_card
from exporters.onnx import ParityError
from exporters.tolerance import Quantiles
from hepflows.errors import OutputError
from hepflows.file_sets import atomic_files
from hepflows.files import check_output, sha256_of
from hepflows.philox import uniform_noise

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from exporters.exportable import Condition
    from hepflows.feature_table import Column

    Floats = NDArray[np.float64]

PROFILE: Final = "map"
EVENTS: Final = 2000
"""Events that a map is tested with."""
_GOLDEN: Final = 32
_ALLOWED: Final = 4.0  # times torch's own float32 error
_FLOOR: Final = Quantiles(median=1e-6, p999=1e-5, maximum=1e-4)  # in standard deviations
_BATCHES: Final = (EVENTS, 7, 1)
_FEW: Final = 63  # events of the small batches


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """What becomes a graph.

    Attributes:
        task: `morphing` or `manifold`.
        kind: kind of the artefact.
        module: cond (N, C), features (N, D) to as many tensors as there are outputs; a tensor if there is one.
        conditions: of the map, with their ranges.
        features: observables that go in.
        outputs: name, width and meaning of each output, `x` first.
        events: observables (N, D) to test it with, physical, float32.
        provenance: of the artefact.
        more: further metadata.
    """

    task: str
    kind: str
    module: nn.Module
    conditions: tuple[Condition, ...]
    features: tuple[Column, ...]
    outputs: tuple[tuple[str, int, str], ...]
    events: NDArray[np.float32]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExportedMap:
    """What `map_to_onnx` wrote.

    Attributes:
        model: the ONNX file.
        manifest: its metadata and hashes as JSON.
        golden: test events for hosts.
        card: Markdown model card.
        n_bytes: size of the ONNX file.
        sha256: of the ONNX file.
        difference: the largest ones from torch in float64, in standard deviations of the outputs.
    """

    model: Path
    manifest: Path
    golden: Path
    card: Path
    n_bytes: int
    sha256: str
    difference: Quantiles


def map_to_onnx(one: Map, path: str | os.PathLike[str], *, force: bool = False) -> ExportedMap:
    """Write ``<name>.onnx`` with ``<name>.manifest.json``, ``<name>.golden.bin`` and ``MODEL_CARD.md``, all or none.

    Raises:
        ParityError: ONNX Runtime does not reproduce torch within a few times the rounding of float32.
        OutputError: a file exists or cannot be written.
        MissingDependencyError: onnx or onnxruntime are not installed.
    """
    require_onnx()
    require_runtime()
    names = _checked(path, force=force)
    x, cond = one.events, conditions_over_range(one.conditions, len(one.events))
    module = copy.deepcopy(one.module).eval()
    inputs = (("cond", cond.shape[1]),) if cond.shape[1] else ()
    signature = Signature(
        inputs=(*inputs, (MAPPED, x.shape[1])),
        width=one.outputs[0][1],
        others=tuple((name, width) for name, width, _ in one.outputs[1:]),
    )
    model = lower(module, signature, (torch.from_numpy(cond[:3]), torch.from_numpy(x[:3])))
    truth, own = _in_torch(module, cond, x, double=True), _in_torch(module, cond, x, double=False)
    spread = truth.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    bound = Quantiles.of((own - truth) / scale).scaled(_ALLOWED).or_larger(_FLOOR)
    runtime = {name: _in_runtime(model, cond, x, truth, scale, optimise=name == "on") for name in ("on", "off")}
    failures = [
        f"optimisation {name}, batches of {batch}: {words}"
        for name, found in runtime.items()
        for batch, difference in found.items()
        for words in _outside(difference, bound, few=batch != EVENTS)
    ]
    if failures:
        raise ParityError(
            "the exported graph does not reproduce torch within the tolerance; nothing was written",
            where=names.model,
            found="; ".join(failures),
            remedy="report this with the versions of torch and onnxruntime; another runtime version may do",
        )
    whole = {name: found[EVENTS] for name, found in runtime.items()}
    tolerance = {
        "criterion": "|runtime32 - torch64| <= 4 |torch32 - torch64|, in standard deviations of each output",
        "scale": scale.tolist(),
        "events": len(x),
        "values": truth.size,
        "bound": bound.to_dict(),
        "golden_bound": bound.to_dict(),
        "steps": False,
        "torch32": Quantiles.of((own - truth) / scale).to_dict(),
        "runtime32": {name: found.to_dict() for name, found in whole.items()},
        "passed": True,
    }
    metadata = _metadata(one, model, signature, tolerance)
    golden = Golden(cond=cond[:_GOLDEN].astype(float), noise=x[:_GOLDEN].astype(float), expected=truth[:_GOLDEN])
    data = with_properties(model, metadata)
    _write(names, data, golden, map_card(names.model.name, metadata), metadata, force=force)
    return ExportedMap(
        model=names.model,
        manifest=names.manifest,
        golden=names.golden,
        card=names.card,
        n_bytes=len(data),
        sha256=sha256_of(names.model),
        difference=whole["on"].or_larger(whole["off"]),
    )


def conditions_over_range(conditions: Sequence[Condition], n: int) -> NDArray[np.float32]:
    """Conditions (N, C) spread over their ranges."""
    low, high = (np.array([getattr(condition, end) for condition in conditions]) for end in ("low", "high"))
    spread = low + (high - low) * uniform_noise(0, 0, n, len(conditions), stream=1)
    return np.asarray(spread, np.float32)


def _checked(path: str | os.PathLike[str], *, force: bool) -> Names:
    names = Names.of(path)
    if names.model.suffix != ".onnx":
        raise OutputError("an exported file has the suffix .onnx", where=names.model, remedy="name it NAME.onnx")
    for file in (names.model, names.manifest, names.golden, names.card):
        check_output(file, force=force)
    return names


def _in_torch(module: nn.Module, cond: NDArray[np.float32], x: NDArray[np.float32], *, double: bool) -> Floats:
    """Outputs (N, D + ...) side by side."""
    dtype = torch.float64 if double else torch.float32
    with torch.no_grad():
        found = copy.deepcopy(module).to(dtype)(torch.from_numpy(cond).to(dtype), torch.from_numpy(x).to(dtype))
    return (found if isinstance(found, torch.Tensor) else torch.cat(found, dim=1)).double().numpy()


def _in_runtime(
    model: bytes, cond: NDArray[np.float32], x: NDArray[np.float32], truth: Floats, scale: Floats, *, optimise: bool
) -> dict[int, Quantiles]:
    """Differences from torch in float64 by batch size, in units of `scale`."""
    opened = session(model, optimise=optimise)
    result = {}
    for batch in _BATCHES:
        n = len(x) if batch == EVENTS else min(_FEW, len(x))
        parts = [run(opened, cond[i : i + batch], x[i : i + batch]) for i in range(0, n, batch)]
        result[batch] = Quantiles.of((np.concatenate(parts)[:n] - truth[:n]) / scale)
    return result


def _outside(difference: Quantiles, bound: Quantiles, *, few: bool) -> list[str]:
    """In words; of few events only the maximum, for which any batch counts, is compared."""
    if not few:
        return difference.exceeding(bound)
    return [] if difference.maximum <= bound.maximum else [f"maximum {difference.maximum:.3g} > {bound.maximum:.3g}"]


def _metadata(one: Map, model: bytes, signature: Signature, tolerance: Mapping[str, object]) -> dict[str, Any]:
    used = operators(require_onnx().load_from_string(model))
    names = ", ".join(column.name for column in one.features)
    meanings = {"cond": "conditions in physical units", MAPPED: f"observables in physical units: {names}"}
    output = {"name": "observables", "unit": "standard deviations of each output", "order": names}
    described = {"kind": one.kind, "provenance": dict(one.provenance), "output": output}
    return {
        **generator_entries(described),
        "contract_version": CONTRACT_VERSION,
        "profile": PROFILE,
        "encoding": None,
        "io": {
            "dtype": "float32",
            "batch_axis": 0,
            "inputs": [{"name": name, "width": width, "meaning": meanings[name]} for name, width in signature.inputs],
            "outputs": [{"name": name, "width": width, "meaning": meaning} for name, width, meaning in one.outputs],
        },
        "noise": None,
        "rng": None,
        "task": one.task,
        "conditions": [condition.to_dict() for condition in one.conditions],
        "out_of_range": "error",
        "package_versions": package_versions(),
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "operators": used,
        "portable": is_portable(used),
        "storage": {"weights": "float32"},
        "tolerance": dict(tolerance),
        "metrics": None,
        "features": [{"name": column.name, "unit": column.unit} for column in one.features],
        **one.more,
    }


def _write(
    names: Names, model: bytes, golden: Golden, card: str, metadata: Mapping[str, object], *, force: bool
) -> None:
    paths = [names.model, names.golden, names.card, names.manifest]
    with atomic_files(paths, force=force) as (model_file, golden_file, card_file, manifest_file):
        model_file.write_bytes(model)
        write_golden(golden_file, golden)
        card_file.write_text(card, encoding="utf-8")
        write_manifest(manifest_file, names, model_file, golden_file, metadata)


__all__ = ["EVENTS", "OUTPUT", "ExportedMap", "Map", "conditions_over_range", "map_to_onnx"]
