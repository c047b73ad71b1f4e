"""Published data sets that tasks know: where their files are, and by which checksums they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from hepflows.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        name: its name, there and here.
        url: where it is.
        checksum: ``algorithm:hexadecimal digits``, as published.
    """

    name: str
    url: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record of a data repository, which is asked for checksums that are not known here.

    Attributes:
        kind: of repository, whose answers differ.
        url: of its list of files, as JSON.
        names: of the files that are wanted.
    """

    kind: Literal["zenodo", "mendeley"]
    url: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set.

    Attributes:
        name: by which `hepflows fetch` takes it.
        title: what it is.
        page: its page, for people.
        files: its files, where their checksums are known.
        record: states the files and their checksums otherwise, see `hepflows.records.files_of`.
    """

    name: str
    title: str
    page: str
    files: tuple[RemoteFile, ...] = ()
    record: Record | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(file.name for file in self.files) if self.record is None else self.record.names


@runtime_checkable
class PublishingTask(Protocol):
    """A task that knows published data sets that it can read."""

    @property
    def datasets(self) -> tuple[DataSet, ...]:
        """The data sets, names of which are unique among all tasks."""
        ...


def catalogue() -> dict[str, DataSet]:
    """Data sets of all installed tasks by name."""
    from hepflows import registry

    sets = [one for task in registry.tasks().values() if isinstance(task, PublishingTask) for one in task.datasets]
    return {one.name: one for one in sorted(sets, key=lambda one: one.name)}


def dataset(name: str) -> DataSet:
    """The data set called `name`.

    Raises:
        ConfigError: no task knows it.
    """
    from hepflows.config import did_you_mean

    there = catalogue()
    if name not in there:
        raise ConfigError(
            f"no data set is called {name!r}{did_you_mean(name, there)}",
            expected=", ".join(there) or "an installed task that knows data sets",
            remedy="hepflows fetch --list tells them",
        )
    return there[name]
