"""Finding commands, tasks, exporters, runtimes and metrics of installed packages through entry points.

calofast, jetgen, exporters and validation are found in the way in which a third-party plug-in is. A plug-in
that cannot be imported, or two plug-ins under one name, give a `PluginError` that names the distribution.

Example:
    >>> from hepflows import registry
    >>> sorted(registry.plugins("hepflows.no_such_group"))
    []
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from inspect import getattr_static
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hepflows.errors import ArtefactError, ConfigError, DataError, HepflowsError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from hepflows.generator import AnyGenerator
    from hepflows.task import AnyTask

Group: TypeAlias = Literal[
    "hepflows.commands",
    "hepflows.tasks",
    "hepflows.exporters",
    "hepflows.runtimes",
    "hepflows.metrics",
    "hepflows.models",
]


class PluginError(HepflowsError):
    """An installed plug-in cannot be imported, is named twice, or is not what its group asks for."""


_ABSENT = object()
_APPLIED_BY = {"morphing": "hepflows morph apply", "manifold": "hepflows manifold check"}
"""Artefacts of the engine's own that are no generators, and the commands that use them."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point, not imported yet.

    Attributes:
        name: name within the group.
        group: entry-point group.
        target: ``module:attribute``.
        distribution: name and version of the distribution that announces it.
    """

    name: str
    group: str
    target: str
    distribution: str

    def load(self) -> Any:
        """Import the object.

        Raises:
            PluginError: it cannot be imported.
        """
        entry = metadata.EntryPoint(name=self.name, value=self.target, group=self.group)
        try:
            return entry.load()
        except Exception as error:  # a foreign module may fail at import in any way
            raise PluginError(
                f"plug-in {self.name!r} cannot be loaded",
                where=f"{self.group} of {self.distribution}",
                expected=f"{self.target} can be imported",
                found=f"{type(error).__name__}: {error}",
                remedy=f"reinstall, update or uninstall {self.distribution.split()[0]}",
            ) from error


def plugins(group: str) -> dict[str, Plugin]:
    """All plug-ins of one group by name, none of them imported.

    Raises:
        PluginError: two distributions announce different objects under one name.
    """
    found: dict[str, Plugin] = {}
    for entry in metadata.entry_points(group=group):
        name = "unknown distribution" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        plugin = Plugin(name=entry.name, group=group, target=entry.value, distribution=name)
        other = found.setdefault(entry.name, plugin)
        if other.target != plugin.target:
            raise PluginError(
                f"two plug-ins are called {entry.name!r}",
                where=group,
                found=f"{other.target} of {other.distribution} and {plugin.target} of {plugin.distribution}",
                remedy="uninstall one of the two distributions",
            )
    return dict(sorted(found.items()))


def plugin(group: str, name: str) -> Plugin:
    """One plug-in of a group, not imported yet.

    Raises:
        ConfigError: there is none of that name; the message names the nearest and all there are.
    """
    there = plugins(group)
    if name in there:
        return there[name]
    from hepflows.config import did_you_mean

    kind = group.rpartition(".")[2].removesuffix("s")
    raise ConfigError(
        f"no {kind} is called {name!r}{did_you_mean(name, there)}",
        expected=f"one of {', '.join(there)}" if there else f"an installed package that brings a {kind}",
        remedy=None if there else "install hepflows (`pip install hepflows`, or `pip install -e .` in its repository)",
    )


def tasks() -> dict[str, AnyTask]:
    """All tasks by name, imported."""
    return {name: task(name) for name in plugins("hepflows.tasks")}


def task(name: str) -> AnyTask:
    """The task called `name`.

    Raises:
        ConfigError: no installed package brings it.
        PluginError: the package is broken.
    """
    from hepflows.task import Task

    found = plugin("hepflows.tasks", name)
    loaded = found.load()
    # isinstance() would evaluate the properties, and so import what they need
    absent = [m for m in vars(Task) if not m.startswith("_") and getattr_static(loaded, m, _ABSENT) is _ABSENT]
    if absent or loaded.name != name:
        raise PluginError(
            f"plug-in {name!r} is not a task of this name",
            where=f"hepflows.tasks of {found.distribution}",
            expected=f"an object with the members of hepflows.task.Task and name = {name!r}",
            found=f"{found.target}: {type(loaded).__name__}, name = {getattr(loaded, 'name', None)!r}"
            + (f", without {', '.join(absent)}" if absent else ""),
        )
    checked: AnyTask = loaded
    return checked


def task_for_file(path: str | os.PathLike[str]) -> AnyTask:
    """The task that can read a data file, by asking each task's `sniff`.

    Raises:
        DataError: the file does not exist, no task knows it, or several do.
        PluginError: no task knows it and one of them is broken.
    """
    from hepflows.file_content import describe_content
    from hepflows.files import require_file

    file = require_file(path)
    takers: dict[str, AnyTask] = {}
    broken: list[PluginError] = []
    for name in plugins("hepflows.tasks"):
        try:
            candidate = task(name)
        except PluginError as error:
            broken.append(error)
            continue
        if candidate.sniff(file):
            takers[name] = candidate
    if len(takers) == 1:
        return next(iter(takers.values()))
    if not takers and broken:
        raise broken[0]
    names = ", ".join(plugins("hepflows.tasks")) or "none"
    raise DataError(
        "the format of this file is not known" if not takers else "several tasks can read this file",
        where=file,
        expected=f"a data file of one of the installed tasks ({names})",
        found=", ".join(takers) or describe_content(file),
        remedy="name the task with --task" if takers else "check that this is the data file and that it is complete",
    )


def require_own_file(task: AnyTask, path: str | os.PathLike[str]) -> None:
    """Refuse a file of another task, which its reader would call damaged.

    Raises:
        DataError: another task knows the file, and this one does not.
    """
    file = Path(path)
    if task.sniff(file):
        return
    if others := [name for name, other in tasks().items() if name != task.name and other.sniff(file)]:
        raise DataError(
            "the file has events of another task",
            where=file,
            expected=f"events of {task.name}",
            found=f"events of {', '.join(others)}",
            remedy=f"name a file that {task.name} reads",
        )


def exporters() -> dict[str, Callable[..., Any]]:
    """All exporters by name, imported."""
    return {name: found.load() for name, found in plugins("hepflows.exporters").items()}


def exporter(name: str) -> Callable[..., Any]:
    """The exporter called `name`: a callable taking a generator and a path."""
    loaded: Callable[..., Any] = plugin("hepflows.exporters", name).load()
    return loaded


def runtime(name: str) -> Callable[[Path], AnyGenerator]:
    """The runtime for exported files with the suffix ``.name``: a callable giving a generator for a path."""
    loaded: Callable[[Path], AnyGenerator] = plugin("hepflows.runtimes", name).load()
    return loaded


def metric(name: str) -> Callable[..., Any]:
    """The metric or comparison called `name`."""
    loaded: Callable[..., Any] = plugin("hepflows.metrics", name).load()
    return loaded


def commands() -> dict[str, Plugin]:
    """All commands of installed packages by name, not imported, so that one broken package hides no other."""
    return plugins("hepflows.commands")


def load(path: str | os.PathLike[str], *, device: str = "cpu") -> AnyGenerator:
    """Load a generator: an artefact directory, or an exported file such as ``student.onnx``.

    Args:
        path: what `hepflows train` or `hepflows export` wrote.
        device: torch device for an artefact.

    Raises:
        ArtefactError: the artefact is incomplete, altered or of another schema version.
    """
    from hepflows.artefact import read_document

    path = Path(path)
    suffix = path.suffix.removeprefix(".").lower()
    if path.is_file() and suffix in plugins("hepflows.runtimes"):
        return runtime(suffix)(path)
    document = read_document(path)
    name = document.task
    if name in _APPLIED_BY:
        raise ArtefactError(
            "this artefact generates no events",
            where=path,
            expected="a generator",
            found=f"task {name}",
            remedy=f"use it with `{_APPLIED_BY[name]}`",
        )
    if name not in plugins("hepflows.tasks"):
        raise ArtefactError(
            "no installed package can load this artefact",
            where=path,
            expected=f"one of the tasks {', '.join(plugins('hepflows.tasks'))}",
            found=f"task {name}",
            remedy="install the package that brings the task",
        )
    generator: AnyGenerator
    if "refinement" in document.extra:
        from hepflows.refine.artefact import load_refined

        generator = load_refined(path, device=device)
    else:
        generator = task(name).load(path, device=device)
    return generator
