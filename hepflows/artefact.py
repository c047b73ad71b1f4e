"""Saved generators: a directory with ``generator.json`` and ``weights.safetensors``.

There is no pickle anywhere: loading an artefact runs no code of its author. The directory appears at once
or not at all, and loading checks schema version, hashes and the index of tensors before anything is used.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hepflows.document import (
    DOCUMENT_NAME,
    RESTORE,
    WEIGHTS_NAME,
    GeneratorDocument,
    TensorRecord,
    WeightsRecord,
    document_hash,
    read_document,
)
from hepflows.errors import ArtefactError, ConfigError, HepflowsError
from hepflows.files import atomic_directory, save_tensors, sha256_of
from hepflows.train import distributed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pydantic import JsonValue
    from torch import Tensor, nn

__all__ = [
    "GeneratorDocument",
    "check_weights",
    "load_artefact",
    "load_state",
    "read_document",
    "save_artefact",
]

MAX_WEIGHTS_BYTES = 16 * 2**30


def save_artefact(
    directory: str | os.PathLike[str],
    document: GeneratorDocument,
    state: Mapping[str, Tensor],
    *,
    halved: Collection[str] = (),
    beside: Callable[[Path], Mapping[str, JsonValue]] | None = None,
    force: bool = False,
) -> GeneratorDocument:
    """Write an artefact atomically and return the document with its hashes.

    Of several processes that train together the first one writes.

    Args:
        directory: directory to create.
        document: everything but the weights.
        state: tensors by name, as `torch.nn.Module.state_dict` gives them.
        halved: names of the tensors that are rounded to float16; loading gives the rounded values in float32.
        beside: called with the directory, before it is put in place, to write more into it: the artefact that this one
            builds on, for example. What it returns is added to the document's `extra`.
        force: replace an existing directory.

    Raises:
        ArtefactError: a tensor's values are beyond the range of float16.
        OutputError: the directory exists and `force` is false, or it cannot be written.
    """
    return distributed.current().from_first(
        lambda: _write(Path(directory), document, state, halved=halved, beside=beside, force=force)
    )


def _write(
    directory: Path,
    document: GeneratorDocument,
    state: Mapping[str, Tensor],
    *,
    halved: Collection[str],
    beside: Callable[[Path], Mapping[str, JsonValue]] | None,
    force: bool,
) -> GeneratorDocument:
    # clone(): safetensors refuses tensors that share memory, as transposed or tied weights do
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    tensors |= {name: _halved(name, tensors[name]) for name in halved}
    with atomic_directory(directory, force=force) as temporary:
        weights = temporary / WEIGHTS_NAME
        save_tensors(weights, tensors)
        record = WeightsRecord(
            sha256=sha256_of(weights),
            n_bytes=weights.stat().st_size,
            tensors={name: _record(tensor) for name, tensor in sorted(tensors.items())},
        )
        extra = {**document.extra, **({} if beside is None else beside(temporary))}
        document = document.model_copy(update={"extra": extra, "weights": record, "document_sha256": ""})
        content = document.to_dict()
        content["document_sha256"] = document_hash(content)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / DOCUMENT_NAME).write_text(text + "\n", encoding="utf-8")
    return GeneratorDocument.model_validate_json(text, strict=True)


def load_artefact(
    directory: str | os.PathLike[str], *, max_bytes: int = MAX_WEIGHTS_BYTES
) -> tuple[GeneratorDocument, dict[str, Tensor]]:
    """Read an artefact and check all of it.

    Args:
        directory: artefact directory.
        max_bytes: largest weights file that is accepted.

    Returns:
        The document and the tensors by name, on the CPU.

    Raises:
        ArtefactError: anything is missing, altered, truncated, too large or of another schema version.
    """
    document = read_document(directory)
    path, record = check_weights(directory, document, max_bytes=max_bytes)
    return document, _read_tensors(path, record)


def check_weights(
    directory: str | os.PathLike[str], document: GeneratorDocument, *, max_bytes: int = MAX_WEIGHTS_BYTES
) -> tuple[Path, WeightsRecord]:
    """Compare the weights file with the document, without loading it.

    Returns:
        The file, and what the document says of it.

    Raises:
        ArtefactError: the file is missing, altered, truncated or too large, or the document has no index.
    """
    path = Path(directory) / WEIGHTS_NAME
    record = document.weights
    if record is None:
        raise ArtefactError(
            "the document has no index of weights", where=Path(directory) / DOCUMENT_NAME, remedy=RESTORE
        )
    if not path.is_file():
        raise ArtefactError(f"{WEIGHTS_NAME} is missing", where=directory, remedy=RESTORE)
    size = path.stat().st_size
    if size > max_bytes:
        raise ArtefactError(
            "weights are too large", where=path, expected=f"at most {max_bytes} bytes", found=f"{size} bytes"
        )
    if size != record.n_bytes:
        raise ArtefactError(
            "weights are truncated" if size < record.n_bytes else "weights have bytes too many",
            where=path,
            expected=f"{record.n_bytes} bytes",
            found=f"{size} bytes",
            remedy=RESTORE,
        )
    digest = sha256_of(path)
    if digest != record.sha256:
        raise ArtefactError(
            "weights were altered",
            where=path,
            expected=f"SHA-256 {record.sha256}",
            found=digest,
            remedy=RESTORE,
        )
    return path, record


@contextlib.contextmanager
def rebuilding(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong while modules are made as a document says into an `ArtefactError`.

    A document that was forged, hashes and all, may hold any sizes and values that its schema allows.
    """
    try:
        yield
    except ArtefactError:
        raise
    except (HepflowsError, ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtefactError(
            "the document describes no generator that can be made", where=where, found=reason, remedy=RESTORE
        ) from error


def load_state(module: nn.Module, state: Mapping[str, Tensor], *, where: str | os.PathLike[str]) -> None:
    """Copy tensors into a module, all of them and no others.

    Raises:
        ArtefactError: names or shapes differ from the module's, for instance after the code has changed, or the module
            refuses a value.
    """
    own = module.state_dict()
    _check_index(
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        where=where,
        remedy="load it with the version of hepflows named in generator.json",
    )
    try:
        module.load_state_dict(dict(state), strict=True)
    except ConfigError as error:  # values that a module refuses
        raise ArtefactError("a tensor is damaged", where=where, found=str(error), remedy=RESTORE) from error


def _halved(name: str, tensor: Tensor) -> Tensor:
    half = tensor.half()
    if not bool(half.isfinite().all()):
        raise ArtefactError(
            "a tensor is beyond the range of float16",
            where=name,
            expected="at most 65504",
            found=f"{float(tensor.abs().max()):g}",
            remedy="store it as float32",
        )
    return half


def _read_tensors(path: Path, record: WeightsRecord) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ArtefactError("not a safetensors file", where=path, found=str(error), remedy=RESTORE) from error
    _check_index(
        {name: (tensor.shape, tensor.dtype) for name, tensor in record.tensors.items()},
        {name: (found.shape, found.dtype) for name, found in ((n, _record(t)) for n, t in tensors.items())},
        where=path,
        remedy=RESTORE,
    )
    return tensors


def _check_index(expected: Mapping[str, object], found: Mapping[str, object], *, where: object, remedy: str) -> None:
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    differing = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    if not (missing or surplus or differing):
        return
    parts = (("missing", missing), ("not expected", surplus), ("of another shape or type", differing))
    raise ArtefactError(
        "tensors do not match",
        where=where,
        expected="; ".join(f"{name} {expected[name]}" for name in differing[:3]) or None,
        found="; ".join(f"{what}: {_some(names)}" for what, names in parts if names),
        remedy=remedy,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _record(tensor: Tensor) -> TensorRecord:
    return TensorRecord(shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
