"""Checking an exported file against its manifest and golden file, with numpy and onnxruntime only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporters.dependencies import open_model, run
from exporters.golden import Agreement, agreement, disagreements, read_golden
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
        unit: unit of the differences.
        events: number of golden events.
        bound: differences that are allowed.
        runs: agreement by graph optimisation ("on", "off").
        failures: what lies outside the tolerance, in words.
    """

    model: Path
    unit: str
    events: int
    bound: Quantiles
    runs: Mapping[str, Agreement]
    failures: tuple[str, ...]

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
    runs: dict[str, Agreement] = {}
    failures: list[str] = []
    metadata = manifest["metadata"]
    try:
        bound = Quantiles.from_dict(metadata["tolerance"]["golden_bound"])
        steps = bool(metadata["tolerance"]["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            "the manifest is incomplete",
            where=f"{names.manifest}: metadata",
            expected="tolerance.golden_bound with median, p999, maximum; tolerance.steps",
            remedy="restore the manifest, or export the generator again",
        ) from error
    io = metadata.get("io") or {}
    width = sum(output.get("width", 0) for output in io.get("outputs", ()))
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
        x = run(runtime, cond, noise)
        runs[name] = agreement(x, golden.expected, steps=steps)
        words = disagreements(runs[name], bound)
        failures += [f"optimisation {name}: {word}" for word in words]
    return Verification(
        model=names.model,
        unit=str((metadata["output"] or {}).get("unit")),
        events=len(cond),
        bound=bound,
        runs=runs,
        failures=tuple(failures),
    )
