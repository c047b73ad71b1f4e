"""The document of a saved generator, ``generator.json``: its schema, and reading it with all checks."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from hepflows._version import __version__
from hepflows.config import StrictConfig
from hepflows.errors import ArtefactError
from hepflows.plain_text import parse_json, read_text

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

SCHEMA: Final = "hepflows-generator/1"
DOCUMENT_NAME: Final = "generator.json"
WEIGHTS_NAME: Final = "weights.safetensors"
MAX_DOCUMENT_BYTES = 64 * 2**20
RESTORE: Final = "copy the whole directory again from where it was trained, or train again"


class TensorRecord(StrictConfig):
    """Shape and type that a tensor of the weights file must have."""

    shape: tuple[int, ...]
    dtype: str


class WeightsRecord(StrictConfig):
    """What the weights file must hold."""

    sha256: str
    n_bytes: int
    tensors: dict[str, TensorRecord]


class GeneratorDocument(StrictConfig):
    """Content of ``generator.json``.

    `hepflows.artefact.save_artefact` fills in `weights` and `document_sha256`.

    Attributes:
        schema_version: schema of the artefact (key ``schema`` in the file).
        task: task that trained it, and that can load it.
        kind: which of the task's models it is, ``teacher`` or ``student`` for example.
        version: version of hepflows that wrote it.
        config: complete configuration of the training.
        units: unit of every condition and output by name.
        geometry: geometry of the events as the task's package writes it.
        valid_range: trained range (low, high) of every condition by name, in the unit that the name carries.
        provenance: training data and its SHA-256, particle, seed, versions, dates.
        training: history of the training, epoch by epoch.
        metrics: figures of merit known at the time of saving.
        extra: whatever else the task needs to rebuild its modules.
        weights: hash and index of the weights file.
        document_sha256: hash of this document without this entry.
    """

    model_config = ConfigDict(populate_by_name=True, allow_inf_nan=True)

    schema_version: Literal["hepflows-generator/1"] = Field(default="hepflows-generator/1", alias="schema")
    task: str
    kind: str
    version: str = __version__
    config: dict[str, JsonValue]
    units: dict[str, str]
    geometry: dict[str, JsonValue]
    valid_range: dict[str, tuple[FiniteFloat, FiniteFloat]]
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    training: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    weights: WeightsRecord | None = None
    document_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Values as they stand in the file; a number that is not finite becomes null, as JSON has none."""
        values: dict[str, Any] = _finite(self.model_dump(mode="json", by_alias=True))
        return values


def tuned_document(
    document: GeneratorDocument, training: Mapping[str, Any], provenance: Mapping[str, Any]
) -> GeneratorDocument:
    """The document of the same generator trained further, of which nothing has been measured."""
    return document.model_copy(
        update={
            "training": {**document.training, **training},
            "provenance": {**document.provenance, **provenance},
            "metrics": {},
        }
    )


def document_of(content: Mapping[str, Any]) -> GeneratorDocument:
    """The document whose values a generator's property `document` gives; to derive the document of another from it."""
    return GeneratorDocument.model_validate_json(json.dumps(content), strict=True)


def read_document(directory: str | os.PathLike[str]) -> GeneratorDocument:
    """Read and check ``generator.json`` alone, without the weights.

    Raises:
        ArtefactError: it is missing, too large, not JSON, of another schema, incomplete, or was edited.
    """
    directory = Path(directory)
    if not directory.exists():
        raise ArtefactError("artefact does not exist", where=directory, remedy="check the path")
    if not directory.is_dir():
        raise ArtefactError(
            "an artefact is a directory, this is a file",
            where=directory,
            expected=f"a directory with {DOCUMENT_NAME} and {WEIGHTS_NAME}",
            remedy=f"name the directory, {directory.absolute().parent} perhaps",
        )
    path = directory / DOCUMENT_NAME
    if not path.is_file():
        inside = ", ".join(sorted(child.parent.name for child in directory.glob(f"*/{DOCUMENT_NAME}")))
        raise ArtefactError(
            f"{DOCUMENT_NAME} is missing",
            where=directory,
            expected=f"an artefact: a directory with {DOCUMENT_NAME} and {WEIGHTS_NAME}",
            found=f"artefacts inside it: {inside}" if inside else None,
            remedy=f"name one of them, {directory / inside.split(', ')[0]} for example"
            if inside
            else f"name an artefact; if this was one, {RESTORE}",
        )
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise ArtefactError(
            "document is too large",
            where=path,
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes",
            found=path.stat().st_size,
        )
    return _parse(path)


def require_kind(
    document: GeneratorDocument, task: str, kinds: Collection[str], *, where: str | os.PathLike[str]
) -> None:
    """Refuse the document of another task, or of a kind that the task does not know.

    Raises:
        ArtefactError: naming what was expected and what `where` holds.
    """
    if document.task != task or document.kind not in kinds:
        raise ArtefactError(
            f"this is not a {task} generator",
            where=where,
            expected=f"task {task}, kind {' or '.join(kinds)}",
            found=f"task {document.task}, kind {document.kind}",
        )


def require_ranges(document: GeneratorDocument, conditions: Iterable[str], *, where: str | os.PathLike[str]) -> None:
    """Refuse a document that lacks the trained range of a condition.

    Raises:
        ArtefactError: naming the first such condition.
    """
    if missing := [name for name in conditions if name not in document.valid_range]:
        raise ArtefactError(
            "a condition has no valid range", where=f"{where}: valid_range", expected=missing[0], remedy=RESTORE
        )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of a document's values, without the hash among them."""
    rest = {key: value for key, value in content.items() if key != "document_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _parse(path: Path) -> GeneratorDocument:
    try:
        text = read_text(path, max_bytes=MAX_DOCUMENT_BYTES)
        content = parse_json(text)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        raise ArtefactError("not valid JSON", where=path, found=str(error), remedy=RESTORE) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ArtefactError(
            "another schema version" if isinstance(schema, str) else "not the document of a generator",
            where=path,
            expected=f'"schema": "{SCHEMA}"',
            found=repr(schema),
            remedy="use the version of hepflows that wrote it, or train again"
            if isinstance(schema, str)
            else "check that this is an artefact of hepflows",
        )
    try:
        document = GeneratorDocument.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ArtefactError("entry is wrong", where=f"{path}: {place}", found=first["msg"], remedy=RESTORE) from error
    if document.document_sha256 != document_hash(content):
        raise ArtefactError(
            "the document was edited after it was written",
            where=path,
            expected=f"SHA-256 {document.document_sha256}",
            found=document_hash(content),
            remedy=RESTORE,
        )
    return document
