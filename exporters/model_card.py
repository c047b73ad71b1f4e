"""A short Markdown card beside the model: what it is, how to run it, how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.errors import DataError
from hepflows.files import require_file
from hepflows.plain_text import parse_json, read_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

_REPORT_SCHEMA = "hepflows-report/1"


def read_report(path: str | os.PathLike[str], *, task: object = None) -> dict[str, Any]:
    """Read ``report.json`` of a validation report, given its directory or the file itself.

    Args:
        path: directory or file.
        task: of the generator that the report is about; None if it has none.

    Raises:
        DataError: no report there, of another schema, or of other events.
    """
    path = Path(path)
    file = require_file(path / "report.json" if path.is_dir() else path, "validation report")
    try:
        report = parse_json(read_text(file))
    except ValueError as error:
        raise DataError("validation report is not JSON", where=file, found=str(error)) from error
    schema = report.get("schema") if isinstance(report, dict) else None
    if schema != _REPORT_SCHEMA or not isinstance(report.get("samples"), dict):
        raise DataError(
            "not a validation report",
            where=file,
            expected=f"schema {_REPORT_SCHEMA} with samples",
            found=schema,
            remedy="pass the directory that `hepflows validate --out` wrote",
        )
    if task is not None and report.get("domain") != task:
        raise DataError(
            "the validation report is about other events",
            where=file,
            expected=task,
            found=report.get("domain"),
            remedy="pass the report of this generator",
        )
    return dict(report)


def report_pictures(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The PNG pictures of a validation report, given its directory or its ``report.json``."""
    path = Path(path)
    return tuple(sorted(((path if path.is_dir() else path.parent) / "pictures").glob("*.png")))


def model_card(
    name: str, metadata: Mapping[str, Any], report: Mapping[str, Any] | None, pictures: Sequence[str] = ()
) -> str:
    """Text of the card.

    Args:
        name: file name of the model.
        metadata: everything the model says about itself.
        report: content of ``report.json``, or None if there is none.
        pictures: paths of the report's pictures, relative to the card.
    """
    parts = [_head(name, metadata), _usage(name, metadata), _tensors(metadata), _tolerance(metadata)]
    parts += [_metrics(report), *map(_picture, pictures), _origin(metadata)]
    return "\n\n".join(parts) + "\n"


def map_card(name: str, metadata: Mapping[str, Any]) -> str:
    """Text of the card of a map of observables, `exporters.maps`; arguments as in `model_card`."""
    versions = metadata["package_versions"]
    head = (
        f"# {name}\n\nA map of observables (`{metadata['task']}`, {metadata['kind']}), written by hepflows "
        f"{versions['hepflows']} (opset {metadata['opset']}, IR {metadata['ir_version']}).\n\n"
        f"`hepflows export --verify {name}` checks the file against its manifest and golden file."
    )
    rows = [["observable", "unit"], ["---"] * 2]
    rows += [[f"`{column['name']}`", column["unit"] or "1"] for column in metadata["features"]]
    return "\n\n".join([head, _table(rows), _tensors(metadata), _tolerance(metadata), _origin(metadata)]) + "\n"


def _head(name: str, metadata: Mapping[str, Any]) -> str:
    geometry = metadata["geometry"] if isinstance(metadata["geometry"], dict) else {}
    layers = geometry.get("layers", [])
    return (
        f"# {name}\n\n"
        f"A fast simulation of `{metadata['task']}` events, written by hepflows "
        f"{metadata['package_versions']['hepflows']} (profile `{metadata['profile']}`, "
        f"opset {metadata['opset']}, IR {metadata['ir_version']}, noise drawn by the host).\n"
        f"Particle (PDG): {_known(metadata['pdg'])}. Detector: {_known(metadata['detector'])}. "
        f"Geometry: {_known(geometry.get('name'))}, {len(layers)} layers, "
        f"order: {_known(_output(metadata).get('order'))}. "
        f"Hit threshold: {_known(metadata['threshold_mev'])} MeV."
    )


def _usage(name: str, metadata: Mapping[str, Any]) -> str:
    middle = ", ".join(_middle(entry) for entry in metadata["conditions"])
    unit = "MeV" if metadata["encoding"] else _known(_output(metadata).get("unit"))
    return (
        "## Use\n\n```python\nfrom exporters import OnnxGenerator\n\n"
        f'generator = OnnxGenerator("{name}")          # needs numpy and onnxruntime only\n'
        f"{_call(metadata)}([[{middle}]], seed=1)   # {unit}\n```\n\n"
        f"`hepflows export --verify {name}` checks the file against its manifest and golden file."
    )


def _call(metadata: Mapping[str, Any]) -> str:
    return "x, weight = generator.sample_weighted" if _is_weighted(metadata) else "x = generator.sample"


def _is_weighted(metadata: Mapping[str, Any]) -> bool:
    return len(metadata["io"]["outputs"]) > 1


def _middle(condition: Mapping[str, Any]) -> str:
    low, high = condition["valid_range"]
    return f"{round((low + high) / 2) if condition['name'] == 'multiplicity' else (low + high) / 2:g}"


def _tensors(metadata: Mapping[str, Any]) -> str:
    rows = [["tensor", "shape", "meaning"], ["---"] * 3]
    rows += [
        [f"`{tensor['name']}`", f"(N, {tensor['width']})", tensor["meaning"]]
        for tensor in (*metadata["io"]["inputs"], *metadata["io"]["outputs"])
    ]
    rows_c = [["condition", "unit", "valid range"], ["---"] * 3]
    rows_c += [
        [f"`{entry['name']}`", entry["unit"], f"{entry['valid_range'][0]:g} ... {entry['valid_range'][1]:g}"]
        for entry in metadata["conditions"]
    ]
    clamped = f"Outside the valid range the graph clamps; the clients' default is `{metadata['out_of_range']}`."
    if metadata["noise"] is None:  # a map of events
        clamped = (
            "Beyond the valid range the graph extrapolates." if metadata["conditions"] else "There are no conditions."
        )
    return f"## Inputs and outputs\n\n{_table(rows)}\n\n{_table(rows_c)}\n\n{clamped}"


def _tolerance(metadata: Mapping[str, Any]) -> str:
    report, unit = metadata["tolerance"], _known(_output(metadata).get("unit"))
    rows = [[f"difference to float64 [{unit}]", "median", "99.9 %", "maximum"], ["---"] * 4]
    found = {"allowed": report["bound"]}
    if report["torch32"] is not None:
        found["torch float32"] = report["torch32"]
    found |= {f"ONNX Runtime, optimisation {name}": values for name, values in report["runtime32"].items()}
    for name, values in found.items():
        rows.append([name, *(f"{values[key]:.3g}" for key in ("median", "p999", "maximum"))])
    if "threshold_flips" not in report:  # a map of events has no threshold
        return f"## Numerical agreement\n\nOver {report['values']} values.\n\n{_table(rows)}"
    flips = ", ".join(f"{name}: {count}" for name, count in report["threshold_flips"].items())
    return (
        f"## Numerical agreement\n\nOver {report['values']} values, before the hit threshold.\n\n"
        f"{_table(rows)}\n\n"
        f"Voxels on the other side of the threshold than in float64: {flips}." + _weights(report.get("weight"))
    )


def _weights(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return ""
    worst = max(found["maximum"] for found in report["runtime32"].values())
    return f" Weights differ by at most {worst:.3g} (allowed {report['bound']['maximum']:.3g})."


def _metrics(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "## Physics\n\nNo validation report was given at export: do not use this file in production."
    counts = f"Reference: {report.get('n_reference')} events; generated: {report.get('n_generated')}"
    gates = f"gates passed: {report.get('passed')}. The floor is what the reference reaches against itself."
    lines = [f"## Physics\n\n{counts}; {gates}"]
    for sample, metrics in report["samples"].items():
        rows = [["metric", "value", "error", "floor"], ["---"] * 4]
        for metric, entry in metrics.items():
            rows.append([f"`{metric}`", *(_number(entry.get(key)) for key in ("value", "error", "floor"))])
        lines.append(f"### {sample}\n\n{_table(rows)}")
    return "\n\n".join(lines)


def _picture(path: str) -> str:
    title = Path(path).stem.rstrip("0123456789").replace("_", " ").strip()
    return f"![{title}]({path})"


def _origin(metadata: Mapping[str, Any]) -> str:
    keys = ("simulation_version", "training_data_sha256", "training_seed", "git_commit", "licence")
    rows = [["", ""], ["---"] * 2, *([key.replace("_", " "), _known(metadata[key])] for key in keys)]
    rows += [[package, version] for package, version in metadata["package_versions"].items()]
    return f"## Origin\n\n{_table(rows)}"


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _output(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    return metadata["output"] or {}


def _known(value: object) -> str:
    return "not stated" if value is None else str(value)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"
