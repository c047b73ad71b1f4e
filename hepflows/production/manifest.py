"""The list of a finished production: all shards with counts and hashes, in one JSON file."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field

from hepflows.config import StrictConfig
from hepflows.errors import ProductionError
from hepflows.files import sha256_of
from hepflows.production.folder import MANIFEST, ShardRecord, open_folder, read_json, write_json
from hepflows.production.request import Request
from hepflows.task import Description
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hepflows.production.folder import Folder
    from hepflows.train.progress import Reporter

_NAMED = 3
"""Files that an error names."""


class Manifest(StrictConfig):
    """Content of ``manifest.json``.

    Attributes:
        schema_version: schema of the file (key ``schema``).
        request: what was produced: generator, seed, conditions, versions.
        n_events: events of all shards.
        n_bytes: bytes of all shards.
        shards: the files in the order of their events.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal["hepflows-manifest/1"] = Field(default="hepflows-manifest/1", alias="schema")
    request: Request
    n_events: int
    n_bytes: int
    shards: tuple[ShardRecord, ...]


def write_manifest(folder: Folder) -> Manifest:
    """List all shards of a production.

    Raises:
        ProductionError: shards are missing.
        OutputError: the list cannot be written.
    """
    require_complete(folder)
    shards = tuple(record for bounds in folder.request.shards() if (record := folder.record(bounds)) is not None)
    manifest = Manifest(
        request=folder.request,
        n_events=sum(shard.n_events for shard in shards),
        n_bytes=sum(shard.n_bytes for shard in shards),
        shards=shards,
    )
    write_json(manifest, folder.path / MANIFEST)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, given as such or as its directory, and check that it lists every event once.

    Raises:
        ProductionError: there is none yet, it is damaged, or has gaps.
    """
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            require_complete(open_folder(path))
            raise ProductionError("all shards are there, but not listed", where=path, remedy=f"hepflows merge {path}")
        path /= MANIFEST
    manifest = read_json(Manifest, path, remedy=f"hepflows merge {path.parent} lists the shards again")
    listed = [(shard.first, shard.last) for shard in manifest.shards]
    counts = [shard.n_events == shard.last - shard.first for shard in manifest.shards]
    if listed != list(manifest.request.shards()) or not all(counts) or manifest.n_events != manifest.request.n_events:
        raise ProductionError(
            "the manifest does not list every event once",
            where=path,
            expected=f"{manifest.request.n_shards} shards, {manifest.request.n_events} events",
            found=f"{len(listed)} shards, {sum(shard.n_events for shard in manifest.shards)} events",
            remedy=f"hepflows merge {path.parent} lists the shards again",
        )
    return manifest


def require_complete(folder: Folder) -> None:
    """Refuse a production of which shards are missing.

    Raises:
        ProductionError: saying how many and which.
    """
    if first := list(islice(folder.missing(), _NAMED)):
        n_missing = sum(1 for _ in folder.missing())
        names = ", ".join(folder.file(bounds).name for bounds in first)
        raise ProductionError(
            f"{n_missing} of {folder.request.n_shards} shards are missing",
            where=folder.path,
            found=f"no {names}{' and so on' if n_missing > _NAMED else ''}",
            remedy="run the jobs of these shards again, or the whole production, with --resume",
        )


def verify(path: Path, *, reporter: Reporter | None = None) -> Manifest:
    """Compare every file of a production with its manifest.

    Args:
        path: manifest, or the directory that it is in.
        reporter: shows progress.

    Raises:
        ProductionError: shards are missing or altered, or the manifest is.
    """
    manifest = read_manifest(path)
    directory = path if path.is_dir() else path.parent
    reporter = SilentReporter() if reporter is None else reporter
    with reporter.stage("checking", total=len(manifest.shards), unit="files") as stage:
        bad: list[str] = []
        for shard in manifest.shards:
            bad += _problems(directory, shard)
            stage.advance()
    if bad:
        raise ProductionError(
            f"{len(bad)} of {len(manifest.shards)} files are not those of the manifest",
            where=directory,
            found="; ".join(bad[:_NAMED]) + (" and so on" if len(bad) > _NAMED else ""),
            remedy="delete these files and run the production again with --resume",
        )
    return manifest


def describe_production(path: Path, manifest: Manifest) -> Description:
    """Summarise a verified production."""
    request = manifest.request
    made_with = {tuple(sorted(shard.made_with.items())) for shard in manifest.shards}
    rows = [
        ("task", request.generator.task),
        ("generator", f"{request.generator.name}, SHA-256 {request.generator.sha256}"),
        ("events", f"{manifest.n_events:,}"),
        ("shards", f"{len(manifest.shards):,} of {request.shard_size:,} events, .{request.suffix}"),
        ("size", f"{manifest.n_bytes / 1e6:,.1f} MB"),
        ("seed", str(request.seed)),
        ("hepflows", request.version),
        ("arithmetic", request.arithmetic),
    ]
    rows += [(f"condition {name}", f"{low:.6g} to {high:.6g}") for name, (low, high) in request.ranges.items()]
    if request.given is not None:
        rows.append(("conditions", f"of {request.given.file}, SHA-256 {request.given.sha256}"))
    rows += [("made with", ", ".join(f"{name} {version}" for name, version in each)) for each in sorted(made_with)]
    rows.append(("checked", "number of events, sizes and SHA-256 of all files"))
    warnings = ("shards were made with different versions: last bits may differ",) if len(made_with) > 1 else ()
    return Description(title=f"production {path}", rows=tuple(rows), warnings=warnings)


def _problems(directory: Path, shard: ShardRecord) -> Iterator[str]:
    file = directory / shard.file
    if not file.is_file():
        yield f"{shard.file} is missing"
    elif (size := file.stat().st_size) != shard.n_bytes:
        yield f"{shard.file} has {size} bytes, not {shard.n_bytes}"
    elif sha256_of(file) != shard.sha256:
        yield f"{shard.file} was altered"
