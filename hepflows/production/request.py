"""What a production is asked for: the document from which every one of its events follows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - workers unpickle it
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field

from hepflows._version import __version__
from hepflows.config import StrictConfig
from hepflows.errors import ArtefactError, ConfigError
from hepflows.production.batches import TILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepflows.production.conditions import GivenConditions

SHARD_SIZE = 65_536
"""Events of a shard if nothing else is asked for: tens of seconds of one core, tens of MB."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a generator comes from; a worker looks it up on its own machine.

    Attributes:
        model: name of a model that an installed package brings, or None.
        path: artefact directory or exported file, if there is no name.
    """

    model: str | None = None
    path: Path | None = None

    def locate(self) -> Path:
        """The artefact or exported file.

        Raises:
            ConfigError: no installed package brings the model.
        """
        if self.path is not None:
            return self.path
        from hepflows.models import model_directory

        return model_directory(self.model or "")


class GeneratorRecord(StrictConfig):
    """Which generator makes the events.

    Attributes:
        name: of its directory or file.
        task: task that it belongs to.
        sha256: hash of its document, which holds that of the weights, or of the exported file.
    """

    name: str
    task: str
    sha256: str


class GivenRecord(StrictConfig):
    """Which conditions were taken from a file.

    Attributes:
        file: its name.
        sha256: hash of the conditions.
    """

    file: str
    sha256: str


class Request(StrictConfig):
    """All that the events of a production follow from, and how they are cut into files.

    No path, date or machine stands here: jobs in different places that are asked for the same write the same bytes.

    Attributes:
        schema_version: schema of ``production.json`` (key ``schema`` in the file).
        version: version of hepflows.
        generator: what is sampled.
        seed: of the sample.
        n_events: events of the whole production.
        shard_size: events of a shard, a multiple of 256; the last one has the rest.
        suffix: of the shard files, which tells their format: ``h5``, ``root``, ``parquet``.
        ranges: conditions that are drawn, lower and upper end by name.
        given: conditions that were taken from a file instead.
        out_of_range: what is done with conditions outside the trained range.
        arithmetic: ``cpu`` or ``cuda``; a GPU gives the same events within rounding only.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal["hepflows-production/1"] = Field(default="hepflows-production/1", alias="schema")
    version: str = __version__
    generator: GeneratorRecord
    seed: int = Field(ge=0, lt=2**64)
    n_events: int = Field(ge=1)
    shard_size: int = Field(ge=TILE, multiple_of=TILE)
    suffix: str = Field(pattern="^[a-z0-9]+$")
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    given: GivenRecord | None = None
    out_of_range: Literal["error", "clamp", "pass"] = "error"
    arithmetic: Literal["cpu", "cuda"] = "cpu"

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_events // self.shard_size)

    def shards(self, share: tuple[int, int] | None = None) -> Iterator[tuple[int, int]]:
        """First and last (exclusive) event of each shard, of all or of those that begin within a share."""
        first, last = (0, self.n_events) if share is None else share
        for start in range(first, last, self.shard_size):
            yield start, min(start + self.shard_size, self.n_events)


def shard_size(asked: int | None) -> int:
    """Events of a shard.

    Raises:
        ConfigError: not a positive multiple of 256.
    """
    if asked is not None and (asked < TILE or asked % TILE):
        raise ConfigError(
            "not a size of shards",
            where="--shard-size",
            expected=f"a multiple of {TILE}, {SHARD_SIZE} for example",
            found=asked,
            remedy="the engine samples tiles of so many events",
        )
    return SHARD_SIZE if asked is None else asked


def generator_digest(path: Path) -> str:
    """Hash that tells a generator from any other: of an artefact's document, or of an exported file.

    Raises:
        ArtefactError: there is no readable artefact.
    """
    from hepflows.document import read_document
    from hepflows.files import sha256_of

    return sha256_of(path) if path.is_file() else read_document(path).document_sha256


def require_generator(path: Path, record: GeneratorRecord) -> None:
    """Refuse a generator that is not the one that the production was begun with.

    Raises:
        ArtefactError: it has another hash.
    """
    if (found := generator_digest(path)) != record.sha256:
        raise ArtefactError(
            "this is not the generator of the production",
            where=path,
            expected=f"{record.name} with SHA-256 {record.sha256}",
            found=found,
            remedy="give every worker and job the same artefact",
        )


def conditions_digest(conditions: GivenConditions) -> str:
    """Hash of conditions by name."""
    digest = hashlib.sha256()
    for name, values in sorted(conditions.values.items()):
        digest.update(f"{name} {values.dtype.str} {len(values)}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
