"""`to_onnx`: a trained generator as one self-contained ONNX file, checked before it is written."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch

from exporters.contract import IR_VERSION, OPSET, VERSION, Signature, generic, is_portable, operators
from exporters.dependencies import require_onnx, require_runtime
from exporters.evaluation import Inputs, draw_inputs, evaluate_torch, stable_events
from exporters.exportable import Condition, Exportable, read_conditions, read_outputs, read_policy
from exporters.golden import Golden, choose_rows, write_golden
from exporters.lowering import Guarded, lower
from exporters.manifest import (
    Names,
    generator_entries,
    package_versions,
    to_properties,
    with_properties,
    write_manifest,
)
from exporters.model_card import model_card, read_report
from exporters.parity import MINIMUM_VALUES, ROWS, Parity, bound_on, check_final, compare
from hepflows.errors import ConfigError, HepflowsError, OutputError
from hepflows.files import atomic_file, check_output, sha256_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Profile = Literal["generic"]
_GOLDEN_EVENTS: Final = 32
_FINAL_EVENTS: Final = 512


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
    """

    model: Path
    manifest: Path
    golden: Path
    card: Path
    sha256: str
    n_bytes: int
    operators: Mapping[str, int]
    parity: Parity


def to_onnx(
    generator: Exportable,
    path: str | os.PathLike[str],
    *,
    profile: Profile = "generic",
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
        report: directory of a validation report whose numbers go into card and metadata.
        force: overwrite existing files.
        parity_events: events over which the graph is compared with torch; more are taken for small events.

    Raises:
        ConfigError: the generator cannot be exported, or not in this profile.
        ParityError: the graph does not reproduce torch within the tolerance.
        OutputError: a file exists or cannot be written; then none of the four is left behind.
        MissingDependencyError: onnx or onnxruntime are not installed.
    """
    require_onnx()
    require_runtime()
    if profile not in get_args(Profile):
        raise ConfigError("unknown export profile", expected=" or ".join(get_args(Profile)), found=profile)
    names = _checked_names(path, force=force)
    validation = None if report is None else read_report(report)
    described = _described(generator)
    conditions = read_conditions(described, where="export_metadata()")
    threshold = _threshold(described)
    policy = read_policy(described, where="export_metadata()")

    final = Guarded(generator.sampling_module(), conditions).eval()
    before = Guarded(generator.sampling_module(threshold=False), conditions).eval()
    signature, example = _signature(final, conditions, generator.noise_dim, described)
    final_onnx = lower(final, signature, (torch.from_numpy(example.cond), torch.from_numpy(example.noise)))
    before_onnx = lower(before, signature, (torch.from_numpy(example.cond), torch.from_numpy(example.noise)))

    events = max(parity_events, -(-MINIMUM_VALUES // signature.width))
    inputs = draw_inputs(conditions, generator.noise_dim, events)
    truth = evaluate_torch(before, inputs, double=True)
    parity = compare(before, before_onnx, final_onnx, inputs, truth=truth, threshold=threshold)
    few = inputs.part(slice(_FINAL_EVENTS))
    expected = evaluate_torch(final, few, double=True)
    bound = bound_on(final, few, expected, parity.bound)
    _refuse([*parity.failures, *check_final(final_onnx, few, expected, bound)], names.model)

    rows = choose_rows(few.cond, stable_events(final, few, expected), _GOLDEN_EVENTS)
    chosen = few.part(rows)
    golden = Golden(cond=chosen.cond.astype(float), noise=chosen.noise.astype(float), expected=expected[rows])
    golden_bound = bound_on(final, chosen, expected[rows], parity.bound)
    metadata: dict[str, object] = {
        **_export_entries(final_onnx, profile, signature, conditions, described),
        "out_of_range": policy,
        **generator_entries(described),
        "tolerance": {**parity.to_dict(), "golden_bound": golden_bound.to_dict()},
        "metrics": None if validation is None else validation["samples"],
    }
    model = with_properties(final_onnx, metadata)
    card = model_card(names.model.name, metadata, validation)
    _write(names, model, golden, card, metadata, force=force)
    return ExportResult(
        model=names.model,
        manifest=names.manifest,
        golden=names.golden,
        card=names.card,
        sha256=sha256_of(names.model),
        n_bytes=len(model),
        operators=_operators(final_onnx),
        parity=parity,
    )


def _checked_names(path: str | os.PathLike[str], *, force: bool) -> Names:
    names = Names.of(path)
    if names.model.suffix != ".onnx":
        raise OutputError("an exported file has the suffix .onnx", where=names.model, remedy="name it NAME.onnx")
    for file in (names.model, names.manifest, names.golden):
        check_output(file, force=force)
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


def _signature(
    module: torch.nn.Module, conditions: Sequence[Condition], noise_dim: int, described: Mapping[str, object]
) -> tuple[Signature, Inputs]:
    """The graph's signature, its output width found by one evaluation, and the inputs used for it."""
    example = draw_inputs(conditions, noise_dim, 3, seed=1)
    width = evaluate_torch(module, example, double=False).shape[1]
    outputs = tuple((output.name, output.width or width) for output in read_outputs(described))
    if sum(part for _, part in outputs) != width:
        raise ConfigError("the outputs do not add up", where="export_metadata()", expected=width, found=outputs)
    return generic(len(conditions), noise_dim, outputs), example


def _export_entries(
    model: bytes,
    profile: Profile,
    signature: Signature,
    conditions: Sequence[Condition],
    described: Mapping[str, object],
) -> dict[str, object]:
    """The exporter's part of the metadata."""
    used = _operators(model)
    noise = value if isinstance(value := described.get("noise"), dict) else {}
    meaning = {
        "cond": "conditions in physical units: " + ", ".join(condition.name for condition in conditions),
        "noise": "independent standard normal numbers, drawn by the host",
    }
    inputs = [{"name": name, "width": width, "meaning": meaning[name]} for name, width in signature.inputs]
    outputs = [
        {"name": name, "width": width, "meaning": output.meaning}
        for (name, width), output in zip(signature.outputs, read_outputs(described), strict=True)
    ]
    return {
        "contract_version": VERSION,
        "profile": profile,
        "io": {
            "dtype": "float32",
            "batch_axis": 0,
            "inputs": inputs,
            "outputs": outputs,
        },
        "noise": {
            "distribution": "standard_normal",
            "input": "noise",
            "width": dict(signature.inputs)["noise"],
            "order": noise.get("order"),
        },
        "rng": "host",
        "task": described.get("task"),
        "conditions": [condition.to_dict() for condition in conditions],
        "package_versions": package_versions(),
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "operators": used,
        "portable": is_portable(used),
    }


def _operators(model: bytes) -> dict[str, int]:
    return operators(require_onnx().load_from_string(model))


def _refuse(failures: list[str], path: Path) -> None:
    if failures:
        raise ParityError(
            "the exported graph does not reproduce torch within the tolerance; nothing was written",
            where=path,
            found="; ".join(failures),
            remedy="report this with the versions of torch and onnxruntime; another runtime version may do",
        )


def _write(
    names: Names, model: bytes, golden: Golden, card: str, metadata: Mapping[str, object], *, force: bool
) -> None:
    """Write the four files so that either all are there or none."""
    with contextlib.ExitStack() as stack:
        # Renamed in reverse order: the manifest, which vouches for the others, last.
        manifest_file, card_file, golden_file, model_file = (
            stack.enter_context(atomic_file(path, force=force))
            for path in (names.manifest, names.card, names.golden, names.model)
        )
        model_file.write_bytes(model)
        write_golden(golden_file, golden)
        card_file.write_text(card, encoding="utf-8")
        write_manifest(manifest_file, names, model_file, golden_file, metadata)
