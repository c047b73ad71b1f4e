"""What an exported file says about itself: metadata inside the model, and the manifest beside it.

Every contract key is always there; what the generator does not know is null, never left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hepflows._version import __version__
from hepflows.errors import ArtefactError, ConfigError
from hepflows.files import sha256_of
from hepflows.plain_text import parse_json, read_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

CONTRACT_VERSION: Final = 1
NAMESPACE: Final = "hepflows."
SCHEMA: Final = "hepflows-manifest/1"
#: Keys taken over from the generator's metadata, at its top level or in its provenance.
GENERATOR_KEYS: Final = (
    "kind", "geometry", "output", "condition_tables", "mass_constraint", "out_of_reach",
    "normalisation", "threshold_mev", "pdg", "detector",
    "simulation_version", "training_data_sha256", "git_commit", "training_seed", "provenance", "licence",
)  # fmt: skip
#: Keys the exporter fills in.
EXPORT_KEYS: Final = (
    "contract_version", "profile", "encoding", "io", "noise", "rng", "task", "conditions", "out_of_range",
    "package_versions", "opset", "ir_version", "operators", "portable", "storage", "tolerance",
    "metrics",
)  # fmt: skip
_PACKAGES: Final = ("torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu")


def package_versions() -> dict[str, str]:
    """Versions of this package and of those that made the file."""
    versions = {"hepflows": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = distributions.version(name)
        except distributions.PackageNotFoundError:
            continue
    return versions


def generator_entries(described: Mapping[str, object]) -> dict[str, object]:
    """The generator's part of the metadata; None for what it does not tell."""
    provenance = described.get("provenance")
    inner = provenance if isinstance(provenance, dict) else {}
    return {key: described.get(key, inner.get(key)) for key in GENERATOR_KEYS}


def to_properties(metadata: Mapping[str, object]) -> dict[str, str]:
    """Metadata as `metadata_props`: one JSON string a key, all under one namespace.

    Raises:
        ConfigError: a value has no JSON form.
    """
    properties = {}
    for key, value in metadata.items():
        try:
            properties[NAMESPACE + key] = json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ConfigError("metadata have no JSON form", where=key, found=str(error)) from error
    return properties


def from_properties(properties: Mapping[str, str], *, where: object) -> dict[str, Any]:
    """Metadata of a loaded model.

    Raises:
        ArtefactError: the model is not one of ours, or its metadata are damaged.
    """
    found = {}
    for key, text in properties.items():
        if key.startswith(NAMESPACE):
            try:
                found[key.removeprefix(NAMESPACE)] = parse_json(text)
            except ValueError as error:
                raise ArtefactError("metadata are damaged", where=f"{where}: {key}", found=str(error)) from error
    version = found.get("contract_version")
    if version is not None and version != CONTRACT_VERSION:
        raise ArtefactError(
            "the model is of another version of the contract",
            where=where,
            expected=f"contract version {CONTRACT_VERSION}",
            found=version,
            remedy="use the version of hepflows that wrote it, or export the generator again",
        )
    missing = sorted({*GENERATOR_KEYS, *EXPORT_KEYS} - set(found))
    if missing:
        raise ArtefactError(
            "the model lacks metadata of this contract",
            where=where,
            found=f"no {', '.join(missing)}",
            remedy="it was written by another version of hepflows or another program: export the generator again",
        )
    return found


def with_properties(model: bytes, metadata: Mapping[str, object]) -> bytes:
    """The model's bytes with these metadata inside."""
    import onnx

    proto = onnx.load_from_string(model)
    onnx.helper.set_model_props(proto, to_properties(metadata))
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@dataclass(frozen=True, kw_only=True)
class Names:
    """The files of one export, side by side."""

    model: Path
    manifest: Path
    golden: Path
    card: Path
    pictures: Path

    @classmethod
    def of(cls, model: str | os.PathLike[str]) -> Names:
        """Names that belong to ``<name>.onnx``."""
        model = Path(model)
        return cls(
            model=model,
            manifest=model.with_suffix(".manifest.json"),
            golden=model.with_suffix(".golden.bin"),
            card=model.with_name("MODEL_CARD.md"),
            pictures=model.with_suffix(".pictures"),
        )


def write_manifest(path: Path, names: Names, model: Path, golden: Path, metadata: Mapping[str, object]) -> None:
    """Write the manifest of the files that now lie at `model` and `golden` and will bear `names`."""
    document = {
        "schema": SCHEMA,
        "model": {"file": names.model.name, "bytes": model.stat().st_size, "sha256": sha256_of(model)},
        "golden": {"file": names.golden.name, "sha256": sha256_of(golden)},
        "card": names.card.name,
        "metadata": dict(metadata),
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        ArtefactError: it is missing, damaged, or of another schema.
    """
    remedy = "keep the manifest beside the model, as `hepflows export` wrote it"
    try:
        document = parse_json(read_text(path))
    except FileNotFoundError as error:
        raise ArtefactError("the manifest is missing", where=path, remedy=remedy) from error
    except (OSError, ValueError) as error:
        raise ArtefactError("the manifest cannot be read", where=path, found=str(error), remedy=remedy) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ArtefactError(
            "another schema version" if isinstance(schema, str) else "not a manifest of hepflows",
            where=path,
            expected=SCHEMA,
            found=schema,
            remedy="use the version of hepflows that wrote it, or export the generator again",
        )
    try:
        _ = document["model"]["sha256"], document["golden"]["sha256"], document["metadata"]
    except (KeyError, TypeError) as error:
        raise ArtefactError(
            "the manifest is incomplete",
            where=path,
            expected="entries model.sha256, golden.sha256, metadata",
            found=", ".join(document),
            remedy=remedy,
        ) from error
    return dict(document)


def check_hash(path: Path, expected: str) -> None:
    """Raise `ArtefactError` unless the file has this SHA-256."""
    found = sha256_of(path)
    if found != expected:
        raise ArtefactError(
            "the file is not the one that was exported",
            where=path,
            expected=f"SHA-256 {expected}",
            found=found,
            remedy="copy it again, or export the generator again",
        )
