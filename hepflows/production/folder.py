"""The directory of a production: the request, shard files, and a record for each shard that is finished.

::

    DIR/production.json                                     the request
    DIR/events-000000000000-000000065536.h5                 a shard: first and last (exclusive) event
    DIR/records/events-000000000000-000000065536.h5.json    its record, written after it: the shard is finished
    DIR/manifest.json                                       the list of all shards, when all are finished
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from platform import machine, python_version
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from hepflows._version import __version__
from hepflows.config import StrictConfig, build, config_to_dict
from hepflows.errors import ConfigError, OutputError, ProductionError
from hepflows.files import atomic_file, check_output, remove_leftovers, sha256_of
from hepflows.plain_text import parse_json, read_text
from hepflows.production.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUEST = "production.json"
MANIFEST = "manifest.json"
_RECORDS = "records"
_STEM = "events-"
_OWN = re.compile(r"\.?events-[0-9]{12,}-[0-9]{12,}\.[a-z0-9]+(\.json)?(\.[0-9a-z_]+\.tmp)?")
"""Names of shards and records, and of what a killed process leaves of them."""
_LONGEST = 2**30  # bytes of a list of some million shards
_VERSIONED = ("torch", "numpy", "numba")

_Document = TypeVar("_Document", bound=StrictConfig)


class ShardRecord(StrictConfig):
    """What is known of a finished shard.

    Attributes:
        file: name of the file.
        first: its first event.
        last: the event after its last one.
        n_events: events that were written.
        n_bytes: size of the file.
        sha256: hash of the file.
        request: hash of the request that it was made for.
        made_with: versions of what determines the last bit: packages, Python, processor.
    """

    file: Annotated[
        str, Field(pattern=r"^events-[0-9]{12,}-[0-9]{12,}\.[a-z0-9]+$")
    ]  # nothing outside of the directory
    first: int
    last: int
    n_events: int
    n_bytes: int
    sha256: str
    request: str = ""
    made_with: dict[str, str]


@dataclass(frozen=True)
class Folder:
    """An open production.

    Attributes:
        path: the directory.
        request: what is produced.
    """

    path: Path
    request: Request

    @cached_property
    def digest(self) -> str:
        """Hash of the request."""
        return hashlib.sha256(json.dumps(config_to_dict(self.request), sort_keys=True).encode()).hexdigest()

    def require_mine(self) -> None:
        """Refuse to go on where the production was removed, or replaced by another one.

        Raises:
            ProductionError: it was.
        """
        if not (self.path / REQUEST).is_file():
            raise ProductionError("the production was removed", where=self.path)
        if open_folder(self.path).digest != self.digest:
            raise ProductionError("another production has taken this place", where=self.path)

    def file(self, bounds: tuple[int, int]) -> Path:
        """File of a shard."""
        return self.path / f"{_STEM}{bounds[0]:012d}-{bounds[1]:012d}.{self.request.suffix}"

    def record(self, bounds: tuple[int, int]) -> ShardRecord | None:
        """Record of a shard, or None if it is not finished for this request: no record, or no file of its size.

        Raises:
            ProductionError: the record is damaged.
        """
        path, file = self._record_path(bounds), self.file(bounds)
        if not path.is_file() or not file.is_file():
            return None
        record = read_json(ShardRecord, path, remedy="delete it and run again with --resume")
        return record if file.stat().st_size == record.n_bytes and record.request == self.digest else None

    def missing(self, share: tuple[int, int] | None = None) -> Iterator[tuple[int, int]]:
        """Shards of a share, or of all, that are not finished; found out one by one as they are asked for."""
        return (bounds for bounds in self.request.shards(share) if self.record(bounds) is None)

    def n_done(self, share: tuple[int, int] | None = None) -> int:
        """Events of a share, or of all, in finished shards."""
        done = (bounds for bounds in self.request.shards(share) if self.record(bounds) is not None)
        return sum(last - first for first, last in done)

    def keep(self, bounds: tuple[int, int], n_events: int) -> ShardRecord:
        """Record a shard file that is complete, and so finish the shard.

        Raises:
            ProductionError: it does not hold as many events as it should, or the production is no more.
            OutputError: the record cannot be written.
        """
        file = self.file(bounds)
        self.require_mine()
        if n_events != bounds[1] - bounds[0]:
            raise ProductionError(
                "a wrong number of events", where=file, expected=bounds[1] - bounds[0], found=n_events
            )
        record = ShardRecord(
            file=file.name,
            first=bounds[0],
            last=bounds[1],
            n_events=n_events,
            n_bytes=file.stat().st_size,
            sha256=sha256_of(file),
            request=self.digest,
            made_with=made_with(),
        )
        write_json(record, self._record_path(bounds))
        return record

    def clean(self, bounds: tuple[int, int]) -> None:
        """Remove what a killed process has left of one shard; other jobs may be at work on others."""
        for path in (self.file(bounds), self._record_path(bounds)):
            remove_leftovers(path.parent, name=path.name)

    def remove(self) -> None:
        """Delete everything that belongs to the production, and the directory if nothing else is in it."""
        for name in (REQUEST, MANIFEST):
            (self.path / name).unlink(missing_ok=True)
        records = self.path / _RECORDS
        for folder in (self.path, records):
            for path in folder.iterdir() if folder.is_dir() else ():
                if _OWN.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)
        for folder in (records, self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _record_path(self, bounds: tuple[int, int]) -> Path:
        return self.path / _RECORDS / f"{self.file(bounds).name}.json"


def made_with() -> dict[str, str]:
    """Versions of packages, Python and processor by name."""
    versions = {name: metadata.version(name) for name in _VERSIONED}
    return {"hepflows": __version__, **versions, "python": python_version(), "processor": machine()}


def begin(path: Path, request: Request, *, resume: bool, force: bool) -> Folder:
    """Open the directory of a production for writing, and create it if need be.

    Args:
        path: the directory.
        request: what is to be produced.
        resume: continue what is there, if there is something.
        force: throw it away.

    Raises:
        OutputError: something is there and neither is wanted, or it cannot be written.
        ProductionError: what is there belongs to another request.
    """
    folder = Folder(path, request)
    check_output(path, force=True, directory=True)
    # hidden files may be those of a job that begins at the same time
    others = path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir())
    if others and not (path / REQUEST).exists():
        raise OutputError(
            "the directory holds something else",
            where=path,
            expected=f"an empty directory, or a production with {REQUEST}",
            remedy="name another --out",
        )
    if (path / REQUEST).exists():
        if force:
            folder.remove()
        elif resume:
            _require_same(request, path / REQUEST)
            return folder
        else:
            raise OutputError(
                "a production is there",
                where=path,
                remedy="--resume continues it, --force starts anew, or name another --out",
            )
    write_json(request, path / REQUEST)
    _require_same(request, path / REQUEST)  # another job may have begun at the same time
    return folder


def is_production(path: Path) -> bool:
    """Whether this is the directory or the manifest of a production."""
    return (path / REQUEST).is_file() or (path.name == MANIFEST and path.is_file())


def open_folder(path: Path) -> Folder:
    """Open a production for reading.

    Raises:
        ProductionError: there is none, or its request is damaged.
    """
    if not (path / REQUEST).is_file():
        raise ProductionError("not a production", where=path, expected=f"a directory with {REQUEST}")
    return Folder(path, read_json(Request, path / REQUEST, remedy="begin the production anew"))


def read_json(model: type[_Document], path: Path, *, remedy: str) -> _Document:
    """Read a file of a production.

    Raises:
        ProductionError: it is missing, damaged or of another schema.
    """
    try:
        return build(model, parse_json(read_text(path, max_bytes=_LONGEST)), where=path.name)
    except (OSError, ValueError, ConfigError) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise ProductionError("a file of the production is damaged", where=path, found=found, remedy=remedy) from error


def write_json(document: StrictConfig, path: Path) -> None:
    """Write a file of a production; it appears when it is complete.

    Raises:
        OutputError: the operating system refuses.
    """
    text = json.dumps(config_to_dict(document), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _require_same(request: Request, path: Path) -> None:
    before = config_to_dict(read_json(Request, path, remedy="begin the production anew with --force"))
    now = config_to_dict(request)
    if different := [key for key in now if before.get(key) != now[key]]:
        raise ProductionError(
            "the production that is there is another one",
            where=path,
            expected=", ".join(f"{key} {now[key]}" for key in different),
            found=", ".join(f"{key} {before.get(key)}" for key in different),
            remedy="ask for the same, or start anew with --force",
        )
