"""`hepflows export`: a trained generator as an ONNX file, and the check of such a file."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from exporters.onnx import ExportResult
    from exporters.verification import Verification


def export(
    artefact: Path | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="File to write, NAME.onnx.")] = None,
    profile: Annotated[
        Literal["generic", "par04"], Parameter(help="Names and meaning of the graph's inputs and outputs.")
    ] = "generic",
    max_energy_gev: Annotated[
        float | None, Parameter(help="Energy [GeV] that the host of the profile par04 counts in; by default Par04's.")
    ] = None,
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        Parameter(help="How weights are stored: exactly, rounded to half the size, or quantised with the arithmetic."),
    ] = "float32",
    report: Annotated[
        Path | None, Parameter(help="Directory of a validation report, for the numbers in the model card.")
    ] = None,
    force: Annotated[bool, Parameter(help="Overwrite existing output.", negative="")] = False,
    verify: Annotated[
        Path | None,
        Parameter(help="Instead of exporting, check this file against its manifest and golden file."),
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Print the tolerance report as JSON.", negative="")] = False,
) -> int:
    """Write a trained generator as one self-contained ONNX file, or check one with --verify.

    Beside NAME.onnx appear NAME.manifest.json (metadata and hashes), NAME.golden.bin (test events for hosts)
    and MODEL_CARD.md. Nothing is written unless ONNX Runtime reproduces torch within the tolerance. Morphings and
    M-flows (`hepflows morph train`, `hepflows manifold train`) are exported alike, see docs/morphing.md.

    Parameters
    ----------
    artefact
        Artefact directory of a generator, runs/eplus/student for example, of a morphing or of an M-flow.
    """
    if verify is not None:
        others = (artefact, out, report, max_energy_gev, force or None)
        if any(option is not None for option in others) or profile != "generic" or weights != "float32":
            raise ConfigError("--verify checks a file and exports nothing", remedy="leave all but --json out")
        from exporters.verification import verify as check

        outcome = check(verify)
        _print(json.dumps(outcome.to_dict(), indent=1) if as_json else _verified(outcome))
        return 0 if outcome.passed else 1
    if artefact is None or out is None:
        raise ConfigError(
            "an export needs an artefact and a file to write",
            remedy="hepflows export ARTEFACT --out NAME.onnx, or hepflows export --verify NAME.onnx",
        )
    from hepflows.artefact import read_document

    task = read_document(artefact).task if artefact.is_dir() else ""
    if task in ("morphing", "manifold"):
        if (profile, weights, report, max_energy_gev) != ("generic", "float32", None, None):
            raise ConfigError(f"a {task} has no profiles, reports or other weights", remedy="leave all but --out out")
        return _export_map(task, artefact, out, force=force, as_json=as_json)
    from exporters.onnx import to_onnx
    from hepflows import registry

    # A task's generator; `to_onnx` itself says so if it is one that cannot be exported.
    generator: Any = registry.load(artefact)
    result = to_onnx(
        generator,
        out,
        profile=profile,
        max_energy_gev=max_energy_gev,
        weights=weights,
        report=report,
        force=force,
    )
    _print(json.dumps(result.parity.to_dict(), indent=1) if as_json else _exported(result))
    return 0


def _export_map(task: str, artefact: Path, out: Path, *, force: bool, as_json: bool) -> int:
    if task == "morphing":
        from exporters.morphing import morphing_to_onnx
        from hepflows.morphing.artefact import Morphing

        result = morphing_to_onnx(Morphing.load(artefact), out, force=force)
    else:
        from exporters.manifold import manifold_to_onnx
        from hepflows.manifold.artefact import Manifold

        result = manifold_to_onnx(Manifold.load(artefact), out, force=force)
    difference = result.difference.to_dict()
    text = (
        f"{result.model}  {result.n_bytes / 1e6:.2f} MB, SHA-256 {result.sha256[:16]}...\n"
        f"{result.manifest}\n{result.golden}\n{result.card}\n"
        f"off by at most {difference['maximum']:.2g} standard deviations"
    )
    _print(json.dumps(difference, indent=1) if as_json else text)
    return 0


def _exported(result: ExportResult) -> str:
    from exporters.contract import is_portable

    worst = max(quantiles.maximum for quantiles in result.parity.runtime.values())
    return (
        f"{result.model}  {result.n_bytes / 1e6:.2f} MB, SHA-256 {result.sha256[:16]}...\n"
        f"{result.manifest}\n{result.golden}\n{result.card}\n"
        f"float64 reproduced to {worst:.2g} (allowed {result.parity.bound.maximum:.2g}) "
        f"over {result.parity.values} values, before the hit threshold"
        + (
            ""
            if result.weight_parity is None
            else f"\nweights to {max(q.maximum for q in result.weight_parity.runtime.values()):.2g} "
            f"(allowed {result.weight_parity.bound.maximum:.2g})"
        )
        + ("" if is_portable(result.operators) else "\nnot portable: it needs ONNX Runtime or its like")
    )


def _verified(outcome: Verification) -> str:
    lines = [f"{outcome.model}: {'as exported' if outcome.passed else 'OUTSIDE THE TOLERANCE'}"]
    for name, run in outcome.runs.items():
        lines.append(
            f"  optimisation {name}: off by at most {run.differences.maximum:.2g} {outcome.unit} "
            f"(allowed {outcome.bound.maximum:.2g}) in {outcome.events} events, {run.flips} threshold flips"
        )
    if outcome.weight_bound is not None:
        lines += [
            f"  optimisation {name}: weights off by at most {run.differences.maximum:.2g} "
            f"(allowed {outcome.weight_bound.maximum:.2g})"
            for name, run in outcome.weight_runs.items()
        ]
    lines += [f"  {words}" for words in outcome.failures]
    return "\n".join(lines)


def _print(text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text), soft_wrap=True)
