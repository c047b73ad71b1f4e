"""Checking an exported file against its manifest and golden file, with numpy and onnxruntime only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from exporters.contract import OUTPUT, WEIGHT
from exporters.dependencies import open_model, run
from exporters.golden import Agreement, agreement, disagreements, outputs_apart, read_golden
from exporters.manifest import Names, check_hash, from_properties, read_manifest
from exporters.tolerance import Quantiles
from hepflows.errors import ArtefactError
from hepflows.files import require_file

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Outcome of `verify`.

    Attributes:
        model: the file.
        unit: unit of the differences; weights are compared apart.
        events: number of golden events.
        bound: differences that are allowed.
        runs: agreement by graph optimisation ("on", "off").
        failures: what lies outside the tolerance, in words.
        weight_bound: differences that are allowed in the weights; None where events have none.
        weight_runs: their agreement by graph optimisation.
    """

    model: Path
    unit: str
    events: int
    bound: Quantiles
    runs: Mapping[str, Agreement]
    failures: tuple[str, ...]
    weight_bound: Quantiles | None = None
    weight_runs: Mapping[str, Agreement] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether this host reproduces the golden events within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "file": self.model.name,
            "unit": self.unit,
            "events": self.events,
            "bound": self.bound.to_dict(),
            "runs": {
                name: {**run.differences.to_dict(), "threshold_flips": run.flips} for name, run in self.runs.items()
            },
            "weight": None
            if self.weight_bound is None
            else {
                "bound": self.weight_bound.to_dict(),
                "runs": {name: run.differences.to_dict() for name, run in self.weight_runs.items()},
            },
            "passed": self.passed,
            "failures": list(self.failures),
        }


def verify(path: str | os.PathLike[str], *, threads: int | None = None) -> Verification:
    """Check hashes and metadata, then run the golden events with graph optimisation on and off.

    Args:
        path: the file; manifest and golden file lie beside it.
        threads: threads of one run; None takes the processors this process may use.

    Raises:
        DataError: there is no such file.
        ArtefactError: model, manifest or golden file are missing, altered or do not belong together.
    """
    names = Names.of(require_file(path, "ONNX file"))
    manifest = read_manifest(names.manifest)
    check_hash(names.model, manifest["model"]["sha256"])
    golden = read_golden(names.golden)
    check_hash(names.golden, manifest["golden"]["sha256"])
    cond, noise = golden.cond.astype(np.float32), golden.noise.astype(np.float32)
    failures: list[str] = []
    metadata = manifest["metadata"]
    io = metadata.get("io") or {}
    outputs = {output.get("name"): output.get("width", 0) for output in io.get("outputs", ())}
    width = sum(outputs.values())
    places = outputs_apart(width, weighted=WEIGHT in outputs)
    try:
        tolerance = metadata["tolerance"]
        steps = bool(tolerance["steps"])
        scale = np.asarray(tolerance.get("scale", 1.0), dtype=np.float64)
        bounds = {
            name: Quantiles.from_dict((tolerance[WEIGHT] if name == WEIGHT else tolerance)["golden_bound"])
            for name in places
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            "the manifest is incomplete",
            where=f"{names.manifest}: metadata",
            expected="tolerance.golden_bound with median, p999, maximum; tolerance.steps",
            remedy="restore the manifest, or export the generator again",
        ) from error
    runs: dict[str, dict[str, Agreement]] = {name: {} for name in places}
    if golden.expected.shape[1] != width:
        raise ArtefactError(
            "the golden file belongs to another model",
            where=names.golden,
            expected=f"{width} numbers an event",
            found=golden.expected.shape[1],
            remedy="restore it, or export the generator again",
        )
    for name, optimise in (("on", True), ("off", False)):
        runtime = open_model(names.model, optimise=optimise, threads=threads)
        if from_properties(runtime.get_modelmeta().custom_metadata_map, where=names.model) != metadata:
            raise ArtefactError(
                "the manifest does not say what the model says about itself",
                where=names.manifest,
                remedy="restore the manifest, or export the generator again",
            )
        x = run(runtime, cond, noise) / scale
        for output, columns in places.items():
            found = agreement(x, golden.expected / scale, steps=steps, columns=columns)
            runs[output][name] = found
            label = f"optimisation {name}: " + ("weight: " if output == WEIGHT else "")
            failures += [label + word for word in disagreements(found, bounds[output])]
    return Verification(
        model=names.model,
        unit=str((metadata["output"] or {}).get("unit")),
        events=len(cond),
        bound=bounds[OUTPUT],
        runs=runs[OUTPUT],
        failures=tuple(failures),
        weight_bound=bounds.get(WEIGHT),
        weight_runs=runs.get(WEIGHT, {}),
    )
