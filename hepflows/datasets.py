"""Published data sets that tasks know: where their files are, and by which checksums they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
class DataSet:
    """A data set.

    Attributes:
        name: by which `hepflows fetch` takes it.
        title: what it is.
        page: its page, for people.
        files: its files; none where no checksum is known, and so nothing is fetched.
    """

    name: str
    title: str
    page: str
    files: tuple[RemoteFile, ...] = ()


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
        ConfigError: no task knows it, or no checksums of its files are known.
    """
    from hepflows.config import did_you_mean

    there = catalogue()
    if name not in there:
        raise ConfigError(
            f"no data set is called {name!r}{did_you_mean(name, there)}",
            expected=", ".join(there) or "an installed task that knows data sets",
            remedy="hepflows fetch --list tells them",
        )
    if not there[name].files:
        raise ConfigError(
            "this data set is not fetched: its published checksums are not known to this version",
            where=name,
            remedy=f"download it from {there[name].page}",
        )
    return there[name]
