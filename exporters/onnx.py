"""`to_onnx`: a trained generator as one self-contained ONNX file, checked before it is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporters.contract import IR_VERSION, OPSET, OUTPUT, WEIGHT, is_portable, operators
from exporters.dependencies import require_onnx, require_runtime
from exporters.evaluation import draw_inputs
from exporters.exportable import Exportable, output_meaning, read_conditions, read_policy
from exporters.golden import Golden, write_golden
from exporters.graphs import Graphs, Tested, compare_graphs, make_graphs
from exporters.manifest import (
    CONTRACT_VERSION,
    Names,
    generator_entries,
    package_versions,
    to_properties,
    with_properties,
    write_manifest,
)
from exporters.model_card import model_card, read_report, report_pictures
from exporters.parity import MINIMUM_VALUES, ROWS, Parity
from exporters.profiles import Profile, ProfileName, make_profile
from exporters.storage import Storage, check_storage
from hepflows.errors import ConfigError, HepflowsError, OutputError
from hepflows.file_sets import atomic_files
from hepflows.files import check_output, sha256_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class ParityError(HepflowsError):
    """The exported graph is a worse float32 evaluation than torch's own allows; nothing was written."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What `to_onnx` wrote.

    Attributes:
        model: the ONNX file.
        manifest: its metadata and hashes as JSON.
        golden: test events for hosts.
        card: Markdown model card.
        sha256: of the ONNX file.
        n_bytes: size of the ONNX file.
        operators: how often each operator occurs.
        parity: the numerical comparison with torch.
        weight_parity: the same of the weights; None where events have none.
    """

    model: Path
    manifest: Path
    golden: Path
    card: Path
    sha256: str
    n_bytes: int
    operators: Mapping[str, int]
    parity: Parity
    weight_parity: Parity | None = None


def to_onnx(
    generator: Exportable,
    path: str | os.PathLike[str],
    *,
    profile: ProfileName = "generic",
    max_energy_gev: float | None = None,
    weights: Storage = "float32",
    report: str | os.PathLike[str] | None = None,
    force: bool = False,
    parity_events: int = ROWS,
) -> ExportResult:
    """Write ``<name>.onnx`` with ``<name>.manifest.json``, ``<name>.golden.bin`` and ``MODEL_CARD.md``.

    Args:
        generator: a generator whose sampling is one pass, a CaloFlow student for instance, or a teacher's exact
            sampling, which needs loops and is several times slower.
        path: the file to write, ending in ``.onnx``.
        profile: names and meaning of inputs and outputs, see docs/embedding.md.
        max_energy_gev: energy that the host of the profile `par04` counts in; Par04's own if not given.
        weights: how they are stored: "float32"; "float16", half the size, with float32 arithmetic; "int8", see
            `exporters.storage` for what that means.
        report: directory of a validation report whose numbers and pictures go into card and metadata.
        force: overwrite existing files.
        parity_events: events over which the graph is compared with torch; more are taken for small events.

    Raises:
        ConfigError: the generator cannot be exported, or not in this profile.
        ParityError: the graph does not reproduce torch within the tolerance.
        OutputError: a file exists or cannot be written; then everything is as it was before.
        MissingDependencyError: onnx or onnxruntime are not installed.
    """
    require_onnx()
    require_runtime()
    names = _checked_names(path, force=force)
    described = _described(generator)
    validation = None if report is None else read_report(report, task=described.get("task"))
    conditions = read_conditions(described, where="export_metadata()")
    threshold = _threshold(described)
    policy = read_policy(described, where="export_metadata()")

    made = make_profile(profile, conditions, described, threshold_mev=threshold, max_energy_gev=max_energy_gev)
    graphs = make_graphs(generator, made, check_storage(weights))
    events = max(parity_events, -(-MINIMUM_VALUES // graphs.signature.width))
    tested = compare_graphs(graphs, made, draw_inputs(made.columns, generator.noise_dim, events))
    _refuse(tested.failures, names.model)
    metadata: dict[str, object] = {
        **_export_entries(graphs, made, generator.noise_dim, described),
        "conditions": [condition.to_dict() for condition in conditions],
        "out_of_range": policy,
        **generator_entries({**described, "output": made.output}),
        "tolerance": _tolerance(tested, steps=graphs.steps),
        "metrics": None if validation is None else validation["samples"],
    }
    model = with_properties(graphs.final_onnx, metadata)
    pictures = () if report is None else report_pictures(report)
    shown = [f"{names.pictures.name}/{picture.name}" for picture in pictures]
    card = model_card(names.model.name, metadata, validation, shown)
    _write(names, model, tested.golden, card, metadata, pictures, force=force)
    return ExportResult(
        model=names.model,
        manifest=names.manifest,
        golden=names.golden,
        card=names.card,
        sha256=sha256_of(names.model),
        n_bytes=len(model),
        operators=_operators(graphs.final_onnx),
        parity=tested.outputs[OUTPUT].parity,
        weight_parity=tested.outputs[WEIGHT].parity if WEIGHT in tested.outputs else None,
    )


def _checked_names(path: str | os.PathLike[str], *, force: bool) -> Names:
    names = Names.of(path)
    if names.model.suffix != ".onnx":
        raise OutputError("an exported file has the suffix .onnx", where=names.model, remedy="name it NAME.onnx")
    for file in (names.model, names.manifest, names.golden):
        check_output(file, force=force)
    check_output(names.pictures, force=force, directory=True)
    if names.card.exists() and not force:
        raise OutputError(
            "another export's model card lies here",
            where=names.card,
            remedy="give each exported model a directory of its own, or pass --force",
        )
    return names


def _described(generator: Exportable) -> Mapping[str, object]:
    missing = [name for name in ("sampling_module", "export_metadata", "noise_dim") if not hasattr(generator, name)]
    if missing:
        raise ConfigError(
            "this generator cannot be exported",
            found=f"{type(generator).__name__} has no {', '.join(missing)}",
            remedy="export a generator that samples in one pass, the student for instance",
        )
    described = generator.export_metadata()
    to_properties(described)
    return described


def _threshold(described: Mapping[str, object]) -> float:
    threshold = described.get("threshold_mev")
    if threshold is None:
        return 0.0
    if not isinstance(threshold, int | float) or not threshold >= 0:
        raise ConfigError("ill-formed threshold_mev", expected="a number >= 0 or null", found=threshold)
    return float(threshold)


def _export_entries(
    graphs: Graphs, profile: Profile, noise_dim: int, described: Mapping[str, object]
) -> dict[str, object]:
    """The exporter's part of the metadata."""
    signature, used = graphs.signature, _operators(graphs.final_onnx)
    noise = value if isinstance(value := described.get("noise"), dict) else {}
    inputs = [{"name": name, "width": width, "meaning": profile.meaning[name]} for name, width in signature.inputs]
    meanings = {OUTPUT: output_meaning({"output": profile.output}), WEIGHT: described.get("weight")}
    outputs = [{"name": name, "width": width, "meaning": meanings[name]} for name, width in signature.outputs]
    return {
        "contract_version": CONTRACT_VERSION,
        "profile": profile.name,
        "encoding": profile.encoding,
        "io": {"dtype": "float32", "batch_axis": 0, "inputs": inputs, "outputs": outputs},
        "noise": {
            "distribution": "standard_normal",
            "input": signature.inputs[-1][0],
            "width": noise_dim,
            "order": noise.get("order"),
        },
        "rng": "host",
        "task": described.get("task"),
        "package_versions": package_versions(),
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "operators": used,
        "portable": is_portable(used),
        "storage": graphs.storage_report,
    }


def _tolerance(tested: Tested, *, steps: bool) -> dict[str, object]:
    """That of x, and under `weight` that of the weights; null where events have none."""
    weight = tested.outputs.get(WEIGHT)
    return {
        **tested.outputs[OUTPUT].to_dict(),
        "steps": steps,
        WEIGHT: None if weight is None else weight.to_dict(),
    }


def _operators(model: bytes) -> dict[str, int]:
    return operators(require_onnx().load_from_string(model))


def _refuse(failures: Sequence[str], path: Path) -> None:
    if failures:
        raise ParityError(
            "the exported graph does not reproduce torch within the tolerance; nothing was written",
            where=path,
            found="; ".join(failures),
            remedy="report this with the versions of torch and onnxruntime; another runtime version may do",
        )


def _write(
    names: Names,
    model: bytes,
    golden: Golden,
    card: str,
    metadata: Mapping[str, object],
    pictures: Sequence[Path],
    *,
    force: bool,
) -> None:
    """Write the files so that either all are there or none."""
    copies = [names.pictures / picture.name for picture in pictures]
    # The manifest, which vouches for the others, comes last.
    paths = [*copies, names.model, names.golden, names.card, names.manifest]
    with atomic_files(paths, force=force) as temporaries:
        *copied, model_file, golden_file, card_file, manifest_file = temporaries
        for picture, copy in zip(pictures, copied, strict=True):
            shutil.copyfile(picture, copy)
        model_file.write_bytes(model)
        write_golden(golden_file, golden)
        card_file.write_text(card, encoding="utf-8")
        write_manifest(manifest_file, names, model_file, golden_file, metadata)
